"""The signed list of a backup: what is in the folder, with hashes. Normative page: docs/spec/backup.md.

A list is a General JWS (`typ` callwarden-backup+json) by the edge's key, or by central's store key for a backup of central.
Paths are relative and made of plain names, so that a list cannot point out of its folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from formats import canonical
from formats.errors import FormatError
from formats.jws import sign_general, verify_general
from formats.keys import SigningKey
from formats.keyset import KeySet
from formats.roles import Role

TYP: Final = "callwarden-backup+json"
#: A part of a path in a list. A leading dot is for files that are not finished.
_PART: Final = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9._@+-]{0,199}")

Kind = Literal["edge", "central"]
FileKind = Literal["database", "vault", "configuration", "prompt"]


class BackupFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: `path` below the folder, `bytes` long, `sha512` in hex; `source`: where it came from, below the vault for
    `vault`, else an absolute path (for a person to read; nothing is written there)."""

    path: str
    kind: FileKind
    bytes: int
    sha512: str
    source: str


class BackupGap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payload that a row names and that is not in this backup; `why`: `missing` or `damaged` where it was looked for."""

    recording_id: str
    segment_id: str
    why: Literal["missing", "damaged"]


class BackupList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds. `owner`: the edge's id, or central's fleet; `instance_id` of the database; `schema`: its number;
    `log_size`: entries of its log; `made_at`: when its database was copied, RFC 3339."""

    backup_id: str
    kind: Kind
    owner: str
    instance_id: str
    schema: int
    log_size: int
    made_at: str
    files: tuple[BackupFile, ...]
    gaps: tuple[BackupGap, ...] = ()

    @property
    def database(self) -> BackupFile:
        """The one file of kind `database`."""
        return next(one for one in self.files if one.kind == "database")


def check_path(path: str) -> None:
    """Raises FormatError backup.path for a path that is not plain names."""
    parts = path.split("/")
    if not 0 < len(parts) <= 8 or not all(_PART.fullmatch(part) for part in parts):
        raise FormatError("backup.path", f"not a path of a backup: {path[:80]!r}")


def sign_list(made: BackupList, key: SigningKey) -> bytes:
    """The list as it lies in the folder."""
    _check(made)
    return canonical.dumps(sign_general(canonical.dumps(msgspec.to_builtins(made)), [(key, key.kid)], TYP))


def read_list(data: bytes, trust: KeySet) -> BackupList:
    """The list, its signature checked: an edge's own key, or a store key for central's.

    Raises FormatError backup.list, backup.path, auth.*, json.*.
    """
    demands: list[Counter[Role]] = [Counter({"edge": 1}), Counter({"store": 1})]
    verified = verify_general(data, trust, TYP, demands)
    try:
        made = msgspec.convert(canonical.loads(verified.payload), BackupList)
    except msgspec.ValidationError as error:
        raise FormatError("backup.list", f"not a list of a backup: {error}") from error
    signer = verified.signers[0]
    if (signer.role == "edge") != (made.kind == "edge") or (made.kind == "edge" and signer.edge_id != made.owner):
        raise FormatError("backup.list", f"the list of {made.owner} is signed by somebody else's key")
    _check(made)
    return made


def _check(made: BackupList) -> None:
    seen: set[str] = set()
    for one in made.files:
        check_path(one.path)
        if one.kind == "vault":
            check_path(one.source)
        if one.path in seen or one.bytes < 0 or not re.fullmatch(r"[0-9a-f]{128}", one.sha512):
            raise FormatError("backup.list", f"the entry of {one.path} is malformed or doubled")
        seen.add(one.path)
    if sum(one.kind == "database" for one in made.files) != 1:
        raise FormatError("backup.list", "a backup has exactly one database")


def facts(made: BackupList) -> Mapping[str, Any]:
    """What a person wants to know of it, without the files."""
    return {
        "backup_id": made.backup_id,
        "kind": made.kind,
        "owner": made.owner,
        "made_at": made.made_at,
        "files": len(made.files),
        "bytes": sum(one.bytes for one in made.files),
        "gaps": [msgspec.to_builtins(one) for one in made.gaps],
    }
