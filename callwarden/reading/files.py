"""The one file that was asked for: 0600, and named only when it is whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from callwarden.door import Source
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
    taken = CallwardenError(
        "environment.exists",
        "there is a file already",
        hint="take another name, or move the file away",
        where=str(target),
    )
    if target.exists():
        raise taken
    temp = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
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
