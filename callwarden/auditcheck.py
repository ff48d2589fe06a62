"""Recompute an audit log from its entries and hold it against signed checkpoints. Uses nothing the writer stored but
the entries and the notes: leaf hashes and roots are computed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.errors import CallwardenError
from formats.checkpoint import Checkpoint, Witnessed, open_checkpoint
from formats.errors import FormatError
from formats.keyset import KeySet
from formats.merkle import TreeFrontier, leaf_hash
from formats.note import COSIGNATURE, ED25519, Note, NoteKey


@dataclass
class Verdict:
    """What was verified. size: entries read; root: over all of them, hex; signed: entries under the edge's newest
    checkpoint; cosigned: entries under the newest checkpoint that a witness signed too; witnesses: name -> time it
    states (seconds since 1970); unsigned: newest entries no checkpoint covers yet."""

    origin: str
    size: int
    root: str
    signed: int
    cosigned: int
    unsigned: int
    witnesses: Mapping[str, int] = field(default_factory=dict)


def verify_log(entries: Iterable[Mapping[str, Any]], heads: Mapping[str, Any], trust: KeySet) -> Verdict:
    """Raises CallwardenError audit.* naming the index or the checkpoint where the log does not hold.

    entries: all of them from index 0, as the desk gives them. heads: the desk's checkpoints.
    """
    opened = [_open(heads[name]["note"], trust) for name in ("checkpoint", "cosigned") if heads.get(name)]
    roots, size, root = _recompute(entries, {w.checkpoint.size for w in opened})
    for witnessed in opened:
        _hold(witnessed.checkpoint, roots, size)
    seen = [w for w in opened if w.witnesses]
    signed = max((w.checkpoint.size for w in opened), default=0)
    newest = max(seen, key=lambda w: w.checkpoint.size, default=None)
    return Verdict(
        origin=opened[0].checkpoint.origin if opened else "",
        size=size,
        root=root.hex(),
        signed=signed,
        cosigned=newest.checkpoint.size if newest else 0,
        unsigned=size - signed,
        witnesses=newest.witnesses if newest else {},
    )


def _recompute(entries: Iterable[Mapping[str, Any]], sizes: set[int]) -> tuple[dict[int, bytes], int, bytes]:
    """(root at each of `sizes` that is reached, number of entries, root over all)."""
    tree = TreeFrontier()
    roots = {0: tree.root()} if 0 in sizes else {}
    size = 0
    for row in entries:
        if row["index"] != size:
            raise CallwardenError(
                "audit.gap", f"entry {size} is missing: {row['index']} follows", where=f"entry {size}", hint=_HINT
            )
        leaf = leaf_hash(row["entry"].encode())
        if leaf.hex() != row["leaf"]:
            message = "the entry is not the one that was hashed when it was written"
            raise CallwardenError("audit.entry", message, where=f"entry {size}", hint=_HINT)
        tree.append(leaf)
        size += 1
        if size in sizes:
            roots[size] = tree.root()
    return roots, size, tree.root()


def _hold(checkpoint: Checkpoint, roots: Mapping[int, bytes], size: int) -> None:
    if checkpoint.size > size:
        raise CallwardenError(
            "audit.rollback",
            f"{checkpoint.size} entries were signed, only {size} are there",
            where=f"entry {size}",
            hint=_HINT,
        )
    if roots[checkpoint.size] != checkpoint.root:
        raise CallwardenError(
            "audit.root",
            f"the first {checkpoint.size} entries do not give the root that was signed: one of them was changed",
            where=f"entries 0 to {checkpoint.size - 1}",
            hint=_HINT,
        )


_HINT = "keep this journal as it is, and compare with central's mirror of the log"


def _open(note: str, trust: KeySet) -> Witnessed:
    """A checkpoint signed by a trusted edge key; every trusted witness whose line stands on it is held to it."""
    try:
        parsed = Note.parse(note)
        origin = Checkpoint.parse(parsed.text).origin
        names = {line.name for line in parsed.signatures}
        witnesses = [NoteKey(n, COSIGNATURE, e.key) for e in trust.with_role("witness") for n in names]
        logs = [NoteKey(origin, ED25519, e.key) for e in trust.with_role("edge") if _is_edge_of(origin, e.edge_id)]
        ids = {(line.name, line.key_id) for line in parsed.signatures}
        log = next((k for k in logs if (k.name, k.key_id) in ids), None)
        if log is None:
            raise CallwardenError(
                "audit.unknown_key",
                f"the checkpoint of {origin} is not signed by a trusted edge key",
                hint="--trust names the key set with this edge's key",
                where=origin,
            )
        return open_checkpoint(note, log, witnesses)
    except FormatError as error:
        raise CallwardenError(error.code, error.message, where="checkpoint") from error


def _is_edge_of(origin: str, edge_id: str | None) -> bool:
    """Origins are callwarden/EDGE/INCARNATION: an edge's key speaks for its own log only."""
    return origin.split("/")[:2] == ["callwarden", edge_id]
