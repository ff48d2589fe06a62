"""`central check`: what a valid central.toml names, looked at on this host and beside a central that runs. It changes nothing.

Every look is that of central's start, where that one changes nothing either; the database is read, the keeper is not opened
(it is one process's), a folder that is not there is not made.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

from central import sqlite, tls
from central.config import CentralConfig, load, place
from central.errors import CentralError
from central.fleet.issuing import authority
from central.hooks.duty import secret
from central.hooks.signing import read_keys
from central.keyfiles import read_key
from central.media.folder import private_folder
from central.media.store import open_store
from central.minimise.ring import read_ring
from central.servercert import AHEAD, ends
from formats.credentials import is_away
from formats.ids import format_time

_INIT: Final = "run `callwarden central init`"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. severity: "fine", "warning" (central runs) or "error" (central does not start, or a part of it
    fails). where: "file:line: key". code and hint: "" where it is fine."""

    severity: Literal["fine", "warning", "error"]
    code: str
    message: str
    hint: str
    where: str


async def check(path: Path, now: datetime) -> list[Finding]:
    """Everything that `path` names. The configuration itself is one finding when it cannot be read: nothing else is known then."""
    try:
        config = load(path)
    except CentralError as error:
        return [Finding("error", error.code, error.message, error.hint, error.where)]
    look = _Look(path, await asyncio.to_thread(path.read_text, "utf-8"))
    look.fine("central", f"it can be read; central is {config.url}, fleet {config.fleet}")
    await _files(look, config)
    if config.tls:
        await look.at("central.certificate", partial(_certificate, config, now))
    await look.at("central.postgres" if config.postgres else "central.database", partial(_database, config))
    await _media(look, config)
    for hook in config.outgoing.webhooks:
        key = f"central.webhooks.{hook.name}"
        await look.at(f"{key}.secret", partial(_signs, hook.secret))
        look.fine(key, f"its messages go to {hook.url}")
    if (mail := config.outgoing.mail) is not None:
        if mail.password is not None:
            await look.at("central.mail.password", partial(_readable, mail.password))
        look.fine("central.mail", f"letters go by {mail.host}, port {mail.port}, {mail.security}, to {len(mail.to)}")
    return look.found


class _Look:
    """The findings, and where in the file each key stands."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text
        self.found: list[Finding] = []

    def fine(self, key: str, message: str) -> None:
        self.found.append(Finding("fine", "", message, "", place(self._path, self._text, key)))

    async def at(self, key: str, looking: Callable[[], str | Awaitable[str]]) -> None:
        """File what a look says, or its error."""
        where = place(self._path, self._text, key)
        try:
            said = looking()
            message = said if isinstance(said, str) else await said
        except _Soon as soon:
            self.found.append(Finding("warning", soon.code, soon.message, soon.hint, where))
        except CentralError as error:
            message = (
                error.message if error.where.startswith("[") or not error.where else f"{error.where}: {error.message}"
            )
            hint = error.hint or "docs/central-configuration.md says what belongs there"
            self.found.append(Finding("error", error.code, message, hint, where))
        except OSError as error:
            hint = "run the check as central's user; is the file there?"
            self.found.append(Finding("error", "config.file", str(error), hint, where))
        else:
            self.fine(key, message)


class _Soon(CentralError):
    """What has to be done, though central runs."""


async def _files(look: _Look, config: CentralConfig) -> None:
    for name, file in (("store_key", config.store_key), ("witness_key", config.witness_key)):
        await look.at(f"central.{name}", partial(_key, file))
    if config.search_keys.exists() or is_away(config.search_keys):
        await look.at("central.search_keys", partial(_ring, config.search_keys))
    if config.keeper_socket is not None:
        await look.at(
            "central.keeper_socket", partial(_kind, config.keeper_socket, stat.S_ISSOCK, "start the keeper first")
        )
    else:
        await look.at("central.keeper", partial(_kind, config.keeper, stat.S_ISREG, _INIT))


def _key(path: Path) -> str:
    return f"{path}, key {read_key(path).kid}"


def _ring(path: Path) -> str:
    return f"{path}, {len(read_ring(path).keys)} keys"


def _kind(path: Path, is_one: Callable[[int], bool], hint: str) -> str:
    try:
        info = path.lstat()
    except FileNotFoundError:
        raise CentralError("config.file", "is not there", where=str(path), hint=hint) from None
    if not is_one(info.st_mode) or not os.access(path, os.R_OK | os.W_OK):
        hint = "run the check as central's user; another kind of file does not serve"
        raise CentralError("config.file", "cannot be used by this user", where=str(path), hint=hint)
    return str(path)


def _certificate(config: CentralConfig, now: datetime) -> str:
    tls.server_context(config.certificate, config.certificate_key, authority(config))
    until = ends(config.certificate)
    if now >= until:
        raise CentralError(
            "config.certificate", f"ended at {format_time(until)}", where=str(config.certificate), hint="a new one"
        )
    if now >= until - AHEAD:
        raise _Soon(
            "config.certificate",
            f"{config.certificate} ends at {format_time(until)}",
            hint="put a new one in its place",
        )
    return f"{config.certificate}, good until {format_time(until)}"


def _database(config: CentralConfig) -> str:
    if config.postgres:
        from central.postgres import known  # its driver is installed where it is wanted

        version = known(config.postgres)
        where = "PostgreSQL can be reached"
    else:
        version = sqlite.known(config.database)
        where = str(config.database)
    return f"{where}, schema {version}" if version else f"{where}; its tables are made when central starts"


async def _media(look: _Look, config: CentralConfig) -> None:
    media = config.media
    if media.store == "none":
        return
    await look.at("central.media.incoming", partial(_folder, media.incoming))
    if media.store == "folder":
        await look.at("central.media.folder", partial(_folder, media.folder))
        return

    async def bucket() -> str:
        store = open_store(media)
        assert store is not None
        try:
            await store.check()
        finally:
            await store.close()
        return f"bucket {media.bucket} at {media.endpoint} answers"

    await look.at("central.media.bucket", bucket)


def _folder(path: Path) -> str:
    if path.exists():
        private_folder(path)
        if not os.access(path, os.W_OK | os.X_OK):
            raise CentralError(
                "config.media", "cannot be written by this user", where=str(path), hint="give it to central's user"
            )
        return f"{path} can be written"
    above = path.parent
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise CentralError(
            "config.media", f"cannot be made in {above}", where=str(path), hint="make it, mode 0700, for central's user"
        )
    return f"{path} is made when central starts"


def _readable(path: Path) -> str:
    if not secret(path):
        raise CentralError("config.secret", "is empty", where=str(path), hint="the password, in one line")
    return str(path)


def _signs(path: Path) -> str:
    return f"{path}, {len(read_keys(secret(path), str(path)))} in use"
