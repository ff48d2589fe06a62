"""`callwarden backup verify FOLDER`: every file against the signed list, and the database against itself."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from callwarden.backup.folder import BackupFolder, hash_fd
from edge.errors import CallwardenError
from formats.backup import BackupFile, BackupList
from formats.keyset import KeySet

Say = Callable[[str, int, int], None]


@dataclass
class Checked:
    """What was found. `problems`: (path, what is wrong), none in a whole backup."""

    made: BackupList
    problems: list[tuple[str, str]] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"whole": not self.problems, "problems": [{"path": p, "what": w} for p, w in self.problems]}


def verify(folder: BackupFolder, trust: KeySet, say: Say) -> Checked:
    """Raises CallwardenError backup.*, auth.*, not_found.backup where there is no list to hold files against."""
    made = folder.read(trust)
    checked = Checked(made)
    for number, one in enumerate(made.files, 1):
        why = damaged(folder, one)
        if why or (one.kind == "database" and (why := _database(folder, made))):
            checked.problems.append((one.path, why))
        say("files", number, len(made.files))
    return checked


def damaged(folder: BackupFolder, one: BackupFile) -> str:
    """Why a file is not what the list says; empty when it is."""
    try:
        with folder.opened(one.path) as fd:
            size, sha512 = hash_fd(fd)
    except CallwardenError as error:
        return error.message
    if size != one.bytes:
        return f"{size} bytes instead of {one.bytes}"
    return "" if sha512 == one.sha512 else "its bytes are others"


def _database(folder: BackupFolder, made: BackupList) -> str:
    """The rows of an edge's journal must name payloads that are listed, or stand among the gaps."""
    path = folder.root / made.database.path
    try:
        conn = sqlite3.connect(f"file:{os.fspath(path)}?mode=ro&immutable=1", uri=True)
        try:
            if (found := conn.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                return str(found)
            if conn.execute("PRAGMA foreign_key_check").fetchone() is not None:
                return "a row names one that is missing"
            if made.kind != "edge":
                return ""
            named = {
                f"{row[0][:2]}/{row[0]}/{row[1]}.payload"
                for row in conn.execute(
                    "SELECT recording_id, segment_id FROM segment s JOIN recording r USING(recording_id) WHERE"
                    " r.state NOT IN ('erasing', 'erased') AND s.state<>'shredded' AND payload_bytes>0"
                )
            }
        finally:
            conn.close()
    except sqlite3.Error as error:
        return f"not a database: {error}"
    there = {one.source for one in made.files if one.kind == "vault"}
    there |= {f"{g.recording_id[:2]}/{g.recording_id}/{g.segment_id}.payload" for g in made.gaps}
    missing = named - there
    return f"{len(missing)} payloads that its rows name are not listed" if missing else ""
