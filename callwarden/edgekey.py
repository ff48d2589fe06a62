"""A new signing key for this edge, while its daemon is stopped.

Write order: new key beside the old one (`edge_key.made`), intent in the audit log (`edge_key.intended`), central told
(`edge_key.told`), trust file (`edge_key.trusted`), the new key in the old one's place (`edge_key.replaced`), outcome in the
audit log. A kill before the last step leaves the old key in its place and the new one beside it: the repeat takes that one
and goes through every step again, each of which is harmless twice.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from callwarden import keyfiles
from callwarden.offline import acting_as
from edge.audit.log import AuditLog
from edge.clock import SystemClock
from edge.config import EdgeConfig
from edge.durable import sync_folder, write_file
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.store.journal import Journal
from edge.sync.uplink import Uplink
from formats.credentials import is_away
from formats.errors import FormatError
from formats.keychange import read_key_change, sign_key_change, with_new_key
from formats.keys import SigningKey


@dataclass(frozen=True, slots=True)
class Changed:
    """`told`: whether there is a central that knows it now; `finished`: an earlier run had begun it."""

    old: str
    new: str
    told: bool
    finished: bool


def change(config: EdgeConfig) -> Changed:
    """Raises CallwardenError journal.locked while the daemon runs, auth.*, sync.*, environment.file."""
    path = config.edge.signing_key_file
    if is_away(path):
        raise CallwardenError(
            "environment.file",
            "this edge's key comes from systemd, and only systemd's store can hold another",
            where=str(path),
            hint="name a file in [edge] signing_key_file for the change, then store that file as the credential",
        )
    info = config.edge.journal.stat()
    owner = (info.st_uid, info.st_gid)
    with asyncio.Runner() as runner:
        with acting_as(owner):
            journal = _open(config)
        try:
            return runner.run(_change(config, path, journal))
        finally:
            with acting_as(owner):
                runner.run(journal.close())


def _open(config: EdgeConfig) -> Journal:
    """The journal under the daemon's own lock: while it is ours, nothing is signed. Raises CallwardenError journal.*."""
    try:
        return Journal.open(config.edge.journal, audit=AuditLog(), clock=SystemClock(), edge_id=config.edge.id)
    except CallwardenError as error:
        if error.code != "journal.locked":
            raise
        raise CallwardenError(
            "journal.locked",
            "this edge's daemon runs (or another command that holds its journal): nothing was changed",
            hint="stop the daemon, run this again, start the daemon",
            where=error.where,
        ) from error


async def _change(config: EdgeConfig, path: Path, journal: Journal) -> Changed:
    old, fresh = keyfiles.read_signing_key(path), path.with_name(path.name + ".next")
    finished = fresh.exists()
    if not finished:
        _write(fresh, keyfiles.jwk_text(keyfiles.new_signing_key()), like=path)
        hit("edge_key.made")
    new = keyfiles.read_signing_key(fresh)
    said = {"old": old.kid, "new": new.kid}
    await journal.note_audit("edge_key.intended", body=said)
    hit("edge_key.intended")
    statement = sign_key_change(config.edge.id, old, new, SystemClock().wall_text())
    told = bool(config.central.url and config.central.enabled)
    if told:
        await _tell(config, new, statement)
        hit("edge_key.told")
    try:
        trust = with_new_key(keyfiles.read_trust(config.edge.trust_file), read_key_change(statement))
    except FormatError as error:
        raise CallwardenError(error.code, error.message, where=str(config.edge.trust_file)) from error
    _write(config.edge.trust_file, trust.dump(), like=config.edge.trust_file)
    hit("edge_key.trusted")
    os.replace(fresh, path)
    sync_folder(str(path.parent))
    hit("edge_key.replaced")
    await journal.note_audit("edge_key.changed", body=said)
    return Changed(old.kid, new.kid, told, finished)


async def _tell(config: EdgeConfig, new: SigningKey, statement: dict[str, object]) -> None:
    """Raises CallwardenError sync.*; Refusal."""
    pem = config.central.ca_file.read_bytes() if config.central.ca_file else None
    uplink = Uplink(config.central.url, config.edge.id, new, ca_pem=pem, clock=SystemClock(), random_bytes=os.urandom)
    try:
        await uplink.post(uplink.edge_path("key"), {"statement": statement}, bare=True)
    finally:
        await uplink.close()


def _write(path: Path, content: bytes, *, like: Path) -> None:
    """Whole or as it was, with owner and mode of `like`. Raises CallwardenError environment.file."""
    try:
        info = like.stat()
        write_file(str(path), content, mode=stat.S_IMODE(info.st_mode))
        if os.geteuid() == 0:
            os.chown(path, info.st_uid, info.st_gid)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be written: {error.strerror}", where=str(path)) from error
