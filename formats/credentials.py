"""Secrets that systemd brings: a setting `credential:NAME` is the file NAME in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).

The folder is there for the service's processes alone. Elsewhere the name stays as it is written, a path that leads nowhere:
lists and `why` need no secret, and what needs one says which is missing. Edge and central hand in their environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PREFIX: Final = "credential:"
FOLDER: Final = "CREDENTIALS_DIRECTORY"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", re.ASCII)


def credential(text: str, environment: Mapping[str, str]) -> Path | None:
    """The file that `text` names, None where it is no `credential:NAME`. Raises ValueError for a name that cannot be one."""
    if not text.startswith(PREFIX):
        return None
    name = text.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a credential: letters, digits, _ . and -")
    folder = environment.get(FOLDER, "")
    return Path(folder) / name if folder.startswith("/") else Path(text)


def is_away(path: Path) -> bool:
    """Whether this is a credential of a service that this process does not belong to."""
    return str(path).startswith(PREFIX)


def too_open(path: Path, mode: int, environment: Mapping[str, str]) -> bool:
    """Whether `mode` (as `st_mode`) lets others use a secret file. On a credential the group's bits are the ACL by which systemd
    lets the service's user read it, so 0440 is right there."""
    folder = environment.get(FOLDER, "")
    allowed = 0o640 if folder and path.parent == Path(folder) else 0o600
    return bool(mode & 0o777 & ~allowed)
