"""Unfinished uploads lie in one folder: where several processes work on one database, each goes on with what another took.

With two folders an upload whose pieces come to the processes in turn would be told at each piece to begin elsewhere, and never end.
So the folder has a name of its own, the database knows it, and a process whose folder has another one does not start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from functools import partial
from pathlib import Path
from typing import Final

from central.conn import Conn
from central.errors import CentralError
from central.media.folder import sync_folder
from central.state import Central

#: In the folder: 32 hex digits at random; and the key in `meta` under which the database knows them.
NAME: Final = "INCOMING-ID"
KEY: Final = "media_incoming"


async def one_folder(central: Central) -> None:
    """At start, where processes share a keeper and so may be several. Raises CentralError config.media."""
    if central.media is None or central.config.keeper_socket is None:
        return
    path = central.config.media.incoming / NAME
    try:
        known, found = await central.db.run(_known), await asyncio.to_thread(_read, path)
        if known is None:
            name = found if found is not None else await asyncio.to_thread(_make, path)
            known, found = await central.db.run(partial(_agree, name=name)), name
    except OSError as error:
        raise CentralError("config.media", f"cannot be used: {error.strerror}", where=str(path)) from error
    if found != known:
        raise CentralError(
            "config.media", "unfinished uploads of this central lie in another folder, and its processes share one",
            where=str(path.parent),
            hint=f"the same `incoming` for all processes; where it is a new one for all of them: echo {known} > {path}",
        )  # fmt: skip


def _known(conn: Conn) -> str | None:
    row = conn.execute("SELECT value FROM meta WHERE key=?", (KEY,)).fetchone()
    return None if row is None else str(row[0])


def _agree(conn: Conn, name: str) -> str:
    """The name that the database knows; the first one told stays."""
    conn.execute("INSERT INTO meta(key, value) VALUES (?,?) ON CONFLICT(key) DO NOTHING", (KEY, name))
    return _known(conn) or ""


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(100).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None


def _make(path: Path) -> str:
    """Order: bytes under another name, synced; then the name, unless another process was first; the folder synced."""
    new = path.with_name(f"{NAME}.{secrets.token_hex(4)}.new")
    with open(new, "xb", opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o600)) as file:
        file.write(f"{secrets.token_hex(16)}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(new, path)
    new.unlink()
    sync_folder(path.parent)
    return _read(path) or ""
