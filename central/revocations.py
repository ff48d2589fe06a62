"""Revocations once more, outside the database: one that is put back as it was before must not let in again who was shut out.

The list lies beside the keeper, 0600, and is in no backup. It is on disk before the row is; what was noted and then not
committed is revoked by the next restore only, which errs on the right side.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from central.conn import Conn

#: Alarm: a revocation could not be noted, or there was no list when the database was put back.
UNNOTED: Final = "central.revocation_unnoted"
REASON: Final = "revoked before central's database was put back"
_LINE: Final = re.compile(r"(edge|token) (\S+) (\S+) (\d{4}-\d\d-\d\dT[0-9:.]+Z)")


@dataclass(frozen=True)
class Again:
    """What a restore revoked once more. edges: names; tokens: their public ids; listed: whether there was a list at all."""

    edges: list[str]
    tokens: list[str]
    listed: bool


def place(keeper: Path) -> Path:
    """Where the list of a keeper's slot file lies."""
    return keeper.with_suffix(".revoked")


def note_edge(keeper: Path, edge_id: str, kid: str, at: str) -> str | None:
    """Why it is not on disk (blocking); None where it is."""
    return _note(place(keeper), f"edge {edge_id} {kid} {at}")


def note_token(keeper: Path, token_id: str, role: str, at: str) -> str | None:
    """As `note_edge`, of a bearer token by its public id."""
    return _note(place(keeper), f"token {token_id} {role} {at}")


def revoke_again(conn: Conn, keeper: Path) -> Again:
    """Job on a database that was put back: what the list names is revoked as of then. Raises OSError for a list that is
    there and cannot be read."""
    try:
        lines = place(keeper).read_text("ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return Again([], [], False)
    edges, tokens = [], []
    for kind, name, more, at in (found.groups() for line in lines if (found := _LINE.fullmatch(line))):
        if kind == "edge":  # the name too: the key of the row may be one it had before
            for row in conn.execute(
                "UPDATE edge SET state='revoked', state_at=?, state_reason=? WHERE (edge_id=? OR kid=?) AND state<>'revoked'"
                " RETURNING edge_id",
                (at, REASON, name, more),
            ).fetchall():
                conn.execute("DELETE FROM episode WHERE edge_id=?", (row["edge_id"],))
                edges.append(str(row["edge_id"]))
        elif conn.execute(
            "UPDATE admin_token SET revoked_at=? WHERE substr(token_sha256, 1, 16)=? AND revoked_at IS NULL", (at, name)
        ).rowcount:
            tokens.append(name)
    return Again(edges, tokens, True)


def _note(path: Path, line: str) -> str | None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            if os.geteuid() == 0:  # a command of root's beside a central that is not
                owner = path.parent.stat()
                os.fchown(fd, owner.st_uid, owner.st_gid)
            # A line of its own, also behind one that was torn.
            whole = f"\n{line}\n".encode("ascii")
            if os.write(fd, whole) != len(whole):
                return f"{path}: the disk is full"
            os.fsync(fd)
        finally:
            os.close(fd)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None


__all__ = ["UNNOTED", "Again", "note_edge", "note_token", "place", "revoke_again"]
