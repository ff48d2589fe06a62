"""What people state (`register.toml`) and what central's own configuration says about who gets data."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

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


def setting(conn: Conn, config: CentralConfig) -> Setting:
    """Job: the level, and whom recordings were handed to before a policy was erased."""
    places = []
    rows = conn.execute("SELECT target, jws FROM orders WHERE cmd='erase' AND target_kind='policy' ORDER BY at, jti")
    for row in rows:
        if to := read_order(row["jws"]).exported_to:
            places.append(Place("export", to, row["target"], row["target"]))
    return Setting(config.level, tuple(dict.fromkeys(places)))
