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
#: age's identities and plugins (age-encryption.org/v1), PEM (RFC 7468), and a webhook's secret of 24 bytes and more (Standard Webhooks).
_SECRET: Final = re.compile(
    r"AGE-SECRET-KEY-|AGE-PLUGIN-|-----BEGIN [A-Z0-9 ]*PRIVATE KEY|whsec_[A-Za-z0-9+/]{32,}", re.IGNORECASE
)
#: Members of a JWK that are private or symmetric (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1).
_JWK: Final = re.compile(r"""["'](d|k)["']\s*:""")


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


def is_secret(text: str) -> bool:
    """Whether a value holds a private key or a webhook's secret itself: in a configuration, which may only name the file of one."""
    return bool(_SECRET.search(text)) or ("kty" in text and bool(_JWK.search(text)))
