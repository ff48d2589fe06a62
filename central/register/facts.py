"""What people state (`register.toml`) and what central's own configuration says about who gets data."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from central.config import CentralConfig
from central.conn import Conn
from central.errors import CentralError
from formats.errors import FormatError
from formats.orders import read_order
from formats.register import Answers, Place, Setting, parse_answers

#: A larger file is not one that a person wrote.
_LARGEST: Final = 1 << 20


def read_answers(path: Path | None) -> Answers:
    """The file; nothing stated where none is named. Blocking. Raises CentralError register.unreadable, register.answers,
    register.contradiction."""
    if path is None:
        return Answers()
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise CentralError("register.unreadable", "larger than 1 MiB", status=409, where=str(path))
        return parse_answers(tomllib.loads(raw.decode("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CentralError("register.unreadable", str(error), status=409, where=str(path)) from error
    except FormatError as error:
        raise CentralError(
            error.code, error.message, status=409, where=str(path), hint="docs/register.md shows every member"
        ) from error


def configured(config: CentralConfig) -> list[Place]:
    """Whom central's own configuration names; of an address the host alone, since a path may be a secret."""
    media, outgoing = config.media, config.outgoing
    found = []
    if media.store == "s3":
        found.append(Place("media", f"{urlsplit(media.endpoint).hostname}, {media.bucket}", "ciphertext"))
    elif media.store == "folder":
        found.append(Place("media", "central", "ciphertext"))
    for hook in outgoing.webhooks:
        found.append(Place("webhook", urlsplit(hook.url).hostname or hook.name, ", ".join(hook.events)))
    if outgoing.mail is not None:
        found.append(Place("mail", ", ".join(outgoing.mail.to), ", ".join(outgoing.mail.events)))
    return found


def setting(conn: Conn, config: CentralConfig) -> Setting:
    """Job: the level, and who gets data: the media store, webhooks, mail, and whom recordings were handed to before a policy
    was erased."""
    places = configured(config)
    rows = conn.execute("SELECT target, jws FROM orders WHERE cmd='erase' AND target_kind='policy' ORDER BY at, jti")
    for row in rows:
        if to := read_order(row["jws"]).exported_to:
            places.append(Place("export", to, row["target"], row["target"]))
    return Setting(config.level, tuple(dict.fromkeys(places)))
