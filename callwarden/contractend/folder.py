"""The folder with what was taken out, as `FOLDER/EDGE/`: files, and a signed manifest that names each with its hash.

Order: everything of one call goes into a folder whose name begins with a dot; it is synced and gets its name; when all calls are
there the manifest is written. A kill leaves calls that are whole, at most one that begins with a dot and is made anew, and no
manifest: the next run goes on. A folder with a manifest is complete and is never written again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from callwarden.keyfiles import read_signing_key
from edge.errors import CallwardenError
from formats import canonical
from formats.errors import FormatError
from formats.jws import sign_general, verify_general
from formats.keys import SigningKey
from formats.keyset import KeySet, entry

TYP: Final = "callwarden-contract-export+json"
MANIFEST: Final = "manifest.json"
#: What an edge's or a policy's name may be before it is a folder's.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")


class FileFact(msgspec.Struct, frozen=True):
    """name: below the edge's folder, with slashes."""

    name: str
    size: int
    sha256: str


class Taken(msgspec.Struct, frozen=True):
    """What is in the folder. as_of: calls that began later are not; recordings: those whose audio is here; without_audio: those
    that have none any more."""

    edge_id: str
    policy: str
    as_of: str
    calls: tuple[str, ...]
    recordings: tuple[str, ...]
    without_audio: tuple[str, ...]
    files: tuple[FileFact, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One edge's part of a folder."""

    path: Path

    @property
    def manifest(self) -> Path:
        """The signed manifest; it is there once everything else is."""
        return self.path / MANIFEST

    @property
    def complete(self) -> bool:
        """Whether the export has come to its end."""
        return self.manifest.exists()

    def call(self, call_id: str) -> Path:
        """Where a call's files are once they are whole."""
        return self.path / call_id

    def put_call(self, call_id: str, fill: Callable[[Path], None]) -> None:
        """Have `fill` make the call's files, and give them their name. Nothing is done where they have it already."""
        target = self.call(call_id)
        if target.exists():
            return
        temp = self.path / f".{call_id}"
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir(mode=0o700, parents=True)
        fill(temp)
        _sync(temp)
        temp.rename(target)
        _sync(self.path)

    def facts(self) -> tuple[FileFact, ...]:
        """Every file but the manifest, sorted by name. Raises export.foreign for what is none."""
        return tuple(sorted(self._facts(), key=lambda one: one.name))

    def _facts(self) -> Iterator[FileFact]:
        for path in self.path.rglob("*"):
            if path == self.manifest or (path.is_dir() and not path.is_symlink()):
                continue
            if path.is_symlink() or not path.is_file():
                raise CallwardenError("export.foreign", "neither a file nor a folder", where=str(path))
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield FileFact(path.relative_to(self.path).as_posix(), path.stat().st_size, digest)

    def finish(self, taken: Taken, key: SigningKey) -> None:
        """Write the signed manifest, in one step."""
        document = sign_general(canonical.dumps(msgspec.to_builtins(taken)), [(key, key.kid)], TYP)
        temp = self.path / f".{MANIFEST}"
        temp.write_bytes(canonical.dumps(document))
        with temp.open("rb") as file:
            os.fsync(file.fileno())
        temp.rename(self.manifest)
        _sync(self.path)

    def taken(self, keys: KeySet) -> Taken:
        """What the manifest says, if one of `keys` signed it. Raises export.manifest."""
        try:
            document = canonical.loads(self.manifest.read_bytes())
            payload = verify_general(document, keys, TYP, Counter({"dpo": 1})).payload
            return msgspec.convert(canonical.loads(payload), Taken)
        except (OSError, FormatError, msgspec.ValidationError) as error:
            raise CallwardenError(
                "export.manifest", f"the manifest does not prove itself: {error}", where=str(self.manifest),
                hint="it must be signed with one of the keys that sign the erasure",
            ) from error  # fmt: skip


def places(folder: Path) -> list[Place]:
    """The parts of all edges in a folder, sorted."""
    if not folder.is_dir():
        return []
    return [Place(one) for one in sorted(folder.iterdir()) if one.is_dir() and NAME.fullmatch(one.name)]


def signers(paths: tuple[Path, ...]) -> tuple[list[SigningKey], KeySet]:
    """The people's keys, and the set of their public halves. Raises auth.key, environment.file."""
    keys = [read_signing_key(path) for path in paths]
    return keys, KeySet.of(entry(key.verify_key, "dpo", "signer") for key in keys)


def named(text: str, what: str) -> str:
    """A name that may become a folder's. Raises usage.name."""
    if not NAME.fullmatch(text):
        raise CallwardenError("usage.name", f"the {what}'s name cannot be a folder's", where=text[:64])
    return text


def write(path: Path, value: Any) -> None:
    """A JSON file of the call's folder."""
    path.write_bytes(canonical.dumps(value))


def _sync(folder: Path) -> None:
    """The files of a folder, and the folder."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
