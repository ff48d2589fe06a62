"""Checkpoints of a log (C2SP tlog-checkpoint), and an entry's offline proof (C2SP tlog-proof, file `.tlog-proof`)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from formats.errors import ProofError
from formats.merkle import HASH, leaf_hash, verify_inclusion
from formats.note import ED25519, Note, NoteKey, b64, number, unb64

_PROOF = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True)
class Checkpoint:
    """A log's head: its origin, its number of entries and the root over them. We write no extension lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text."""
        lines = (self.origin, str(self.size), b64(self.root), *self.extensions)
        if any(not line or "\n" in line for line in lines):
            raise ProofError("audit.checkpoint", "a checkpoint's lines must not be empty")
        return "\n".join(lines) + "\n"

    def note(self) -> Note:
        """The unsigned note: `checkpoint.note().sign(checkpoint.origin, key)`."""
        return Note(self.text())

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """From a note's text, NOT verified. Raises ProofError `audit.checkpoint` or `audit.note`."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines) or not text.endswith("\n"):
            raise ProofError("audit.checkpoint", "a checkpoint has at least three lines, none of them empty")
        root = unb64(lines[2])
        if len(root) != HASH:
            raise ProofError("audit.checkpoint", "a checkpoint's root has 32 bytes")
        return cls(lines[0], number(lines[1]), root, tuple(lines[3:]))


@dataclass(frozen=True)
class Witnessed:
    """A checkpoint that its log signed, and who cosigned it when (seconds since 1970)."""

    checkpoint: Checkpoint
    witnesses: dict[str, int]

    @property
    def self_witnessed(self) -> bool:
        """Whether nobody but the log itself vouches for it: a log verified only by its writer proves nothing."""
        return not self.witnesses


def open_checkpoint(data: str | bytes, log: NoteKey, witnesses: Collection[NoteKey] = ()) -> Witnessed:
    """The checkpoint in a signed note whose log is `log`.

    Raises ProofError: not signed by the log, a known witness's line that does not verify, or an origin other than the
    log's key name.
    """
    note = Note.parse(data)
    signed = note.verify([log, *witnesses])
    if log.kind != ED25519 or log not in signed:
        raise ProofError("audit.signature", "the checkpoint is not signed by its log")
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != log.name:
        raise ProofError("audit.checkpoint", f"the checkpoint is of {checkpoint.origin}, not of {log.name}")
    return Witnessed(checkpoint, {key.name: at for key, at in signed.items() if at is not None})


@dataclass(frozen=True)
class EntryProof:
    """That an entry is in a log: its index, its audit path and the checkpoint's note, verbatim."""

    index: int
    path: tuple[bytes, ...]
    note: str

    def __str__(self) -> str:
        return "\n".join([_PROOF, f"index {self.index}", *map(b64, self.path), "", self.note])

    @classmethod
    def parse(cls, text: str) -> EntryProof:
        """From a `.tlog-proof` file, NOT verified. Raises ProofError `audit.note`."""
        head, gap, note = text.partition("\n\n")
        lines = head.split("\n")
        if not gap or lines.pop(0) != _PROOF:
            raise ProofError("audit.note", f"the file does not begin with {_PROOF}")
        if lines and lines[0].startswith("extra "):
            unb64(lines.pop(0).removeprefix("extra "))
        if not lines or not lines[0].startswith("index "):
            raise ProofError("audit.note", "the proof names no index")
        index = number(lines.pop(0).removeprefix("index "))
        return cls(index, tuple(unb64(line) for line in lines), note)

    def verify(self, entry: bytes, log: NoteKey, witnesses: Collection[NoteKey] = ()) -> Witnessed:
        """The checkpoint that contains `entry`. Raises ProofError."""
        seen = open_checkpoint(self.note, log, witnesses)
        verify_inclusion(leaf_hash(entry), self.index, seen.checkpoint.size, self.path, seen.checkpoint.root)
        return seen
