"""The Merkle tree against RFC 6962's definition, certificate transparency's published leaves, and pymerkle."""

from __future__ import annotations

import hashlib
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats import merkle
from formats.errors import ProofError
from formats.merkle import TreeFrontier, leaf_hash, node_hash


class Stored:
    """A tree kept as the journal keeps it: nodes by (level, index)."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.frontier = TreeFrontier()
        for leaf in leaves:
            for level, idx, digest in self.frontier.append(leaf):
                assert (level, idx) not in self.nodes
                self.nodes[level, idx] = digest

    def read(self, level: int, idx: int) -> bytes:
        return self.nodes[level, idx]


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(defined_root(leaves[:k]), defined_root(leaves[k:]))


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(b"entry %d" % n) for n in range(count)]


def test_certificate_transparency_roots() -> None:
    # The eight leaves and roots every RFC 6962 implementation publishes in its tests.
    entries = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    hashes = [leaf_hash(bytes.fromhex(entry)) for entry in entries]
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [merkle.root_of(hashes[: n + 1]).hex() for n in range(8)] == roots


@pytest.mark.parametrize("size", range(34))
def test_every_proof_of_small_trees(size: int) -> None:
    leaves = leaves_of(size)
    tree = Stored(leaves)
    root = defined_root(leaves)
    assert tree.frontier.root() == merkle.root(size, tree.read) == root
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, tree.read)
        merkle.verify_inclusion(leaves[index], index, size, proof, root)
        for wrong in (index + 1, index - 1, size):
            with pytest.raises(ProofError):
                merkle.verify_inclusion(leaves[index], wrong, size, proof, root)
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
    for first in range(size + 1):
        old = defined_root(leaves[:first])
        proof = merkle.consistency_proof(first, size, tree.read)
        merkle.verify_consistency(first, size, old, root, proof)
        with pytest.raises(ProofError):
            merkle.verify_consistency(first, size, leaf_hash(b"x"), root, proof)
        if 0 < first < size:
            for changed in (proof[:-1], [*proof, old], [leaf_hash(b"x"), *proof[1:]]):
                with pytest.raises(ProofError):
                    merkle.verify_consistency(first, size, old, root, changed)
            with pytest.raises(ProofError):
                merkle.verify_consistency(first, size, old, leaf_hash(b"x"), proof)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 13, 31, 32, 33])
def test_pymerkle_agrees(size: int) -> None:
    pymerkle = pytest.importorskip("pymerkle", reason="the oracle pymerkle is not installed (extra `oracles`)")
    foreign = pymerkle.InmemoryTree()
    for n in range(size):
        foreign.append_entry(b"entry %d" % n)
    leaves = leaves_of(size)
    tree = Stored(leaves)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert foreign.get_state() == tree.frontier.root()
    for index in range(size):
        assert foreign.prove_inclusion(index + 1, size).path == [  # it counts from one
            leaves[index],
            *merkle.inclusion_proof(index, size, tree.read),
        ]
    for first in range(1, size):
        # Its consistency proofs have another shape than RFC 6962's, so the two meet in the roots.
        old, new = merkle.root(first, tree.read), tree.frontier.root()
        foreign.prove_consistency(first, size).verify(old, new, prior_size=first, later_size=size)


def test_rfc_6962_example() -> None:
    # RFC 6962, section 2.1.3: the tree of seven leaves d0 to d6 and the proofs it lists.
    tree = Stored(leaves_of(7))
    a, b, c, d, e, f, j = leaves_of(7)
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l7 = node_hash(g, h), node_hash(i, j)
    assert tree.frontier.root() == node_hash(k, l7)
    assert merkle.inclusion_proof(0, 7, tree.read) == [b, h, l7]
    assert merkle.inclusion_proof(3, 7, tree.read) == [c, g, l7]
    assert merkle.inclusion_proof(4, 7, tree.read) == [f, j, k]
    assert merkle.inclusion_proof(6, 7, tree.read) == [i, k]
    assert merkle.consistency_proof(3, 7, tree.read) == [c, d, g, l7]
    assert merkle.consistency_proof(4, 7, tree.read) == [l7]
    assert merkle.consistency_proof(6, 7, tree.read) == [i, j, k]


@settings(max_examples=60)
@given(st.integers(1, 3000), st.data())
def test_large_trees(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    tree = Stored(leaves)
    first = data.draw(st.integers(0, size))
    index = data.draw(st.integers(0, size - 1))
    old, new = merkle.root(first, tree.read), tree.frontier.root()
    merkle.verify_consistency(first, size, old, new, merkle.consistency_proof(first, size, tree.read))
    merkle.verify_inclusion(leaves[index], index, size, merkle.inclusion_proof(index, size, tree.read), new)
    again = TreeFrontier.load(first, tree.read)
    assert again.root() == old
    again.extend(leaves[first:])
    assert again.root() == new


@pytest.mark.parametrize(
    ("first", "second", "proof"),
    [(3, 2, []), (-1, 2, []), (1, 2, [b"short"]), (1, 2, [bytes(32)] * 200), (2, 2, [bytes(32)])],
)
def test_malformed_consistency(first: int, second: int, proof: list[bytes]) -> None:
    leaves = leaves_of(3)
    with pytest.raises(ProofError):
        merkle.verify_consistency(first, second, defined_root(leaves[:2]), defined_root(leaves[:2]), proof)


def test_proofs_that_cannot_be() -> None:
    tree = Stored(leaves_of(3))
    with pytest.raises(ValueError, match="leaf"):
        merkle.inclusion_proof(3, 3, tree.read)
    with pytest.raises(ValueError, match="shrink"):
        merkle.consistency_proof(3, 2, tree.read)


def test_a_path_longer_than_the_tree_is_refused() -> None:
    """The last leaf of a tree of four must not pass for the last leaf of a tree of two with the same root."""
    tree = Stored(leaves_of(4))
    path = merkle.inclusion_proof(3, 4, tree.read)
    with pytest.raises(ProofError, match="long"):
        merkle.verify_inclusion(leaf_hash(b"entry 3"), 1, 2, path, tree.frontier.root())
