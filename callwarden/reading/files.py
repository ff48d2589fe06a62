"""What was asked for: one file, 0600, or a folder of them, 0700; named only when it is whole."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from callwarden.door import Source
from edge.durable import sync_folder
from edge.errors import CallwardenError

#: Bytes moved at a time.
PIECE = 256 * 1024


def copy(source: Source, target: IO[bytes]) -> int:
    """Everything of `source`; how many bytes it was."""
    size = 0
    while piece := source.read(PIECE):
        size += target.write(piece)
    return size


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file of mode 0600 that gets the name `target` when the block ends well, and leaves nothing when not.

    Raises environment.exists where there is a file, environment.file where none can be made.
    """
    taken = _taken(target, "file")
    if target.exists():
        raise taken
    temp = _unnamed(target)
    try:
        handle = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be written: {error.strerror}", where=str(target)) from error
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temp, target)  # unlike rename, link refuses a name that was taken meanwhile
        except FileExistsError as error:
            raise taken from error
    finally:
        temp.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder of mode 0700 that gets the name `target` when the block ends well, and leaves nothing when not. Who fills it syncs
    the files.

    Raises environment.exists where the name is taken, environment.file where no folder can be made.
    """
    temp = _unnamed(target)
    if os.path.lexists(target):
        raise _taken(target, "file or folder")
    try:
        temp.mkdir(mode=0o700)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be made: {error.strerror}", where=str(target)) from error
    try:
        yield temp
        try:
            sync_folder(str(temp))
            temp.rename(target)  # refused by what was put there meanwhile, unless it is an empty folder
            sync_folder(str(target.parent))
        except OSError as error:
            raise CallwardenError("environment.file", f"cannot be made: {error.strerror}", where=str(target)) from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _unnamed(target: Path) -> Path:
    """Where it lies until it is whole: beside its name."""
    return target.with_name(f".{target.name}.{secrets.token_hex(8)}")


def _taken(target: Path, what: str) -> CallwardenError:
    return CallwardenError(
        "environment.exists",
        f"there is a {what} already",
        hint=f"take another name, or move the {what} away",
        where=str(target),
    )
