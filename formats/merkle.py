"""The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1) over SHA-256.

A tree that grows is kept as its complete subtrees: node (level, index) covers the leaves from `index << level` up to
`(index + 1) << level`, and never changes once written. A reader of such nodes is all that proofs need.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from formats.errors import ProofError

#: Gives the 32-byte hash of a complete subtree: `read_node(level, index)`.
ReadNode = Callable[[int, int], bytes]
HASH = 32
#: The root of the tree without leaves (RFC 9162, section 2.1.1).
EMPTY_ROOT = hashlib.sha256(b"").digest()
#: More hashes than this prove nothing: trees end at 2^63 leaves.
MAX_PROOF = 2 * 63


class Node(NamedTuple):
    """A complete subtree to store."""

    level: int
    idx: int
    hash: bytes


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(size: int, leaf: bytes, read_node: ReadNode) -> list[Node]:
    """The nodes that one more leaf completes, itself first; `size` is the tree's size before it."""
    new = [Node(0, size, leaf)]
    while new[-1].idx & 1:
        level, index, right = new[-1]
        new.append(Node(level + 1, index >> 1, node_hash(read_node(level, index - 1), right)))
    return new


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (at least 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def _range(begin: int, end: int, read_node: ReadNode) -> bytes:
    """The hash of the leaves from `begin` up to `end`, a range that a recursive split of the tree reaches."""
    count = end - begin
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return read_node(level, begin >> level)
    middle = begin + _split(count)
    return node_hash(_range(begin, middle, read_node), _range(middle, end, read_node))


def root(size: int, read_node: ReadNode) -> bytes:
    """The root of the tree's first `size` leaves."""
    return _range(0, size, read_node) if size else EMPTY_ROOT


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes in hand."""
    frontier = TreeFrontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(index: int, size: int, read_node: ReadNode) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves. Raises ValueError where there is no such leaf."""
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    begin, end = 0, size
    path = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_range(middle, end, read_node))
            end = middle
        else:
            path.append(_range(begin, middle, read_node))
            begin = middle
    return path[::-1]


def consistency_proof(first: int, second: int, read_node: ReadNode) -> list[bytes]:
    """The proof that the tree of `second` leaves begins with the tree of `first`. Raises ValueError unless it can."""
    if not 0 <= first <= second:
        raise ValueError("a tree cannot shrink")
    if first in (0, second):
        return []
    begin, end = 0, second
    path = []
    while first != end:
        middle = begin + _split(end - begin)
        if first <= middle:
            path.append(_range(middle, end, read_node))
            end = middle
        else:
            path.append(_range(begin, middle, read_node))
            begin = middle
    if begin:  # the old tree's own root is known to the verifier, and left out, only where it is one whole subtree
        path.append(_range(begin, end, read_node))
    return path[::-1]


def _check_path(proof: Sequence[bytes]) -> None:
    if len(proof) > MAX_PROOF or any(len(one) != HASH for one in proof):
        raise ProofError("audit.proof", "the proof is malformed")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> None:
    """Raises ProofError `audit.proof` unless `leaf` is leaf `index` of the tree (RFC 9162, section 2.1.3.2)."""
    _check_path(proof)
    if not 0 <= index < size:
        raise ProofError("audit.proof", "the tree has no such leaf")
    at, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("audit.proof", "the proof is too long")
        if at & 1 or at == last:
            current = node_hash(sibling, current)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        at, last = at >> 1, last >> 1
    if last or not hmac.compare_digest(current, root_hash):
        raise ProofError("audit.proof", "the entry is not in the tree")


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Raises ProofError `audit.proof` unless the second tree begins with the first (RFC 9162, section 2.1.4.2)."""
    _check_path(proof)
    if not 0 <= first <= second:
        raise ProofError("audit.proof", "the log shrank")
    if first in (0, second):
        expected = second_root if first else EMPTY_ROOT
        if proof or not hmac.compare_digest(first_root, expected):
            raise ProofError("audit.proof", "the trees differ")
        return
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        raise ProofError("audit.proof", "the proof is empty")
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("audit.proof", "the proof is too long")
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    if last or not hmac.compare_digest(old, first_root) or not hmac.compare_digest(new, second_root):
        raise ProofError("audit.proof", "the second tree does not begin with the first: the log was rewritten")


@dataclass
class TreeFrontier:
    """The right edge of a growing tree: at most one complete subtree a level, enough to append and to give the root."""

    size: int = 0
    _nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)

    @classmethod
    def load(cls, size: int, read_node: ReadNode) -> TreeFrontier:
        """The frontier of a stored tree of `size` leaves."""
        places = [
            (level, size - (size & ((2 << level) - 1))) for level in range(size.bit_length()) if size >> level & 1
        ]
        return cls(size, {(level, begin >> level): read_node(level, begin >> level) for level, begin in places})

    def append(self, leaf: bytes) -> list[Node]:
        """Append a leaf hash; returns the nodes it completes, to be stored, the leaf first."""
        new = append(self.size, leaf, lambda level, index: self._nodes[level, index])
        for level, index, _ in new[:-1]:
            self._nodes.pop((level, index - 1), None)
        top = new[-1]
        self._nodes[top.level, top.idx] = top.hash
        self.size += 1
        return new

    def extend(self, leaves: Iterable[bytes]) -> list[Node]:
        """Append several; the nodes they complete, in order."""
        return [node for leaf in leaves for node in self.append(leaf)]

    def root(self) -> bytes:
        """The root of the tree so far."""
        hashes = [self._nodes[place] for place in sorted(self._nodes)]
        if not hashes:
            return EMPTY_ROOT
        current = hashes[0]
        for left in hashes[1:]:
            current = node_hash(left, current)
        return current
