"""Signed notes, checkpoints, cosignatures and entry proofs."""

from __future__ import annotations

from typing import Any

import pytest

from formats import merkle
from formats.checkpoint import Checkpoint, EntryProof, open_checkpoint
from formats.errors import FormatError, ProofError
from formats.keys import SigningKey
from formats.merkle import TreeFrontier, leaf_hash
from formats.note import COSIGNATURE, ED25519, Note, NoteKey

LOG, WITNESS, OTHER = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
ORIGIN = "callwarden.example/pbx-1"
LOG_KEY = NoteKey(ORIGIN, ED25519, LOG.verify_key)
WITNESS_KEY = NoteKey("central.example/witness", COSIGNATURE, WITNESS.verify_key)
AT = 1_790_000_000

# The example of Go's golang.org/x/mod/sumdb/note, signed by a foreign implementation.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def checkpoint(size: int = 7) -> Checkpoint:
    return Checkpoint(ORIGIN, size, merkle.root_of([leaf_hash(b"%d" % n) for n in range(size)]))


def signed() -> str:
    note = checkpoint().note().sign(ORIGIN, LOG).cosign("central.example/witness", WITNESS, AT)
    return str(note)


def test_a_foreign_note_verifies() -> None:
    key = NoteKey.parse(GO_KEY)
    assert str(key) == GO_KEY
    note = Note.parse(GO_NOTE)
    assert note.verify([key]) == {key: None}
    assert str(note) == GO_NOTE
    with pytest.raises(ProofError):
        Note.parse(GO_NOTE.replace("answer", "question")).verify([key])


def test_example_checkpoint_of_the_specification_parses() -> None:
    # C2SP tlog-cosignature, first example; its keys are not published.
    text = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zy"
        "WE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0"
        "xUe+mbIUBkBIfZ+qnA==\n"
    )
    note = Note.parse(text)
    assert str(note) == text
    head = Checkpoint.parse(note.text)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    # The specification's text names this time for its cosignature.
    assert int.from_bytes(note.signatures[1].signature[:8], "big") == 1679315147


def test_signed_and_cosigned() -> None:
    seen = open_checkpoint(signed(), LOG_KEY, [WITNESS_KEY])
    assert seen.checkpoint == checkpoint()
    assert seen.witnesses == {"central.example/witness": AT}
    assert not seen.self_witnessed
    assert open_checkpoint(signed(), LOG_KEY).self_witnessed
    assert NoteKey.parse(str(WITNESS_KEY)) == WITNESS_KEY


def test_the_log_must_sign() -> None:
    only_witness = str(checkpoint().note().cosign("central.example/witness", WITNESS, AT))
    with pytest.raises(ProofError, match="not signed by its log"):
        open_checkpoint(only_witness, LOG_KEY, [WITNESS_KEY])
    with pytest.raises(ProofError):
        open_checkpoint(signed(), NoteKey(ORIGIN, ED25519, OTHER.verify_key))
    with pytest.raises(ProofError):
        open_checkpoint(signed(), NoteKey(ORIGIN, COSIGNATURE, LOG.verify_key))


def test_another_origin_is_refused() -> None:
    note = str(Checkpoint("other.example", 7, bytes(32)).note().sign(ORIGIN, LOG))
    with pytest.raises(ProofError, match="is of"):
        open_checkpoint(note, LOG_KEY)


def test_a_plain_signature_is_not_a_cosignature() -> None:
    note = checkpoint().note().sign(ORIGIN, LOG).sign("central.example/witness", WITNESS)
    assert open_checkpoint(str(note), LOG_KEY, [WITNESS_KEY]).self_witnessed


def test_every_character_counts() -> None:
    whole = signed()
    for at, char in enumerate(whole):
        changed = whole[:at] + ("A" if char != "A" else "B") + whole[at + 1 :]
        try:
            seen = open_checkpoint(changed, LOG_KEY, [WITNESS_KEY])
        except FormatError:
            continue
        # A changed name or id makes a line unknown; the witness's line may vanish so, never say something else.
        assert seen.checkpoint == checkpoint()
        assert seen.self_witnessed


@pytest.mark.parametrize(
    "data",
    [
        "",
        "text\n",
        "text\n\n",
        signed()[:-1],
        signed().replace("—", "-"),
        signed().replace("\n\n", "\n"),
        signed() + "\r\n",
        signed().replace("central", "cen\ttral"),
        signed().replace(" ", "  "),
        b"\xff" + signed().encode(),
        "text\n\n— name AAAA\n",
        "text\n\n" + "— name AAAAAAA=\n" * 65,
    ],
)
def test_malformed_notes(data: Any) -> None:
    with pytest.raises(ProofError):
        Note.parse(data)


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n",
        "o\n01\n" + "A" * 43 + "=\n",
        "o\n-1\n" + "A" * 43 + "=\n",
        "o\n1\nAAAA\n",
        "o\n1\n" + "A" * 43 + "=",
        "\n1\n" + "A" * 43 + "=\n",
        "o\n9223372036854775808\n" + "A" * 43 + "=\n",
        "o\n1\n" + "A" * 43 + "=\n\nx\n",
    ],
)
def test_malformed_checkpoints(text: str) -> None:
    with pytest.raises(ProofError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "vkey", ["", "a", "a+b", "a+00000000+AQ==", GO_KEY.replace("c74f20a3", "c74f20a4"), GO_KEY.replace("+AR", "+CR")]
)
def test_malformed_vkeys(vkey: str) -> None:
    with pytest.raises(ProofError):
        NoteKey.parse(vkey)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\n"])
def test_names(name: str) -> None:
    with pytest.raises(ProofError):
        NoteKey(name, ED25519, LOG.verify_key)


def test_entry_proof() -> None:
    nodes: dict[tuple[int, int], bytes] = {}
    frontier = TreeFrontier()
    for n in range(7):
        nodes.update({(level, idx): digest for level, idx, digest in frontier.append(leaf_hash(b"%d" % n))})
    path = merkle.inclusion_proof(4, 7, lambda level, idx: nodes[level, idx])
    text = str(EntryProof(4, tuple(path), signed()))
    proof = EntryProof.parse(text)
    assert proof.verify(b"4", LOG_KEY, [WITNESS_KEY]).witnesses
    assert EntryProof.parse(text.replace("@v1\n", "@v1\nextra AAAA\n", 1)) == proof
    with pytest.raises(ProofError):
        proof.verify(b"5", LOG_KEY)
    for bad in (text.replace("@v1", "@v2"), text.replace("index 4", "index 04"), text.replace("index", "at"), "x\n\n"):
        with pytest.raises(ProofError):
            EntryProof.parse(bad)
    with pytest.raises(ProofError):
        EntryProof.parse(text.replace("index 4", "index 5")).verify(b"4", LOG_KEY)
