"""Passphrases of identity files: asked for at the terminal, or read from a file; never from the command line, which
every user of the host can read in the list of processes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click

from callwarden.options import Invocation
from edge.errors import CallwardenError

#: Longest passphrase file, bytes: one line.
_LONGEST = 1024


def passphrase_for(where: Path, *, new: bool = False) -> str:
    """The passphrase of the identity file `where`: the first line of `--passphrase-file`, else what is typed (twice where
    it is `new`). Raises usage.passphrase where neither is to be had, environment.file, config.file_mode."""
    context = click.get_current_context(silent=True)
    file = context.ensure_object(Invocation).passphrase_file if context is not None else None
    return _from_file(file) if file is not None else _typed(where, new)


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be read: {error.strerror}", where=str(path)) from error
    if stat.S_ISREG(mode) and mode & 0o077:
        raise CallwardenError(
            "config.file_mode", "others may read this passphrase", hint=f"chmod 600 {path}", where=str(path)
        )
    try:
        line = data.decode("utf-8").splitlines()[:1] if len(data) <= _LONGEST else []
    except UnicodeDecodeError:
        line = []
    if not line or not line[0]:
        raise CallwardenError(
            "usage.passphrase",
            "the passphrase file holds none",
            hint="one line of text, 1 KiB at most",
            where=str(path),
        )
    return line[0]


def _typed(where: Path, new: bool) -> str:
    import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))  # getpass would fall back to stdin, and echo
    except OSError:
        raise CallwardenError(
            "usage.passphrase",
            "a passphrase is needed and there is no terminal to ask at",
            hint="--passphrase-file FILE (mode 0600) names a file with it",
            where=str(where),
        ) from None
    text = getpass.getpass(f"Passphrase for {where}: ")
    if not text:
        raise CallwardenError("usage.passphrase", "an empty passphrase protects nothing", where=str(where))
    if new and getpass.getpass("Again: ") != text:
        raise CallwardenError("usage.passphrase", "the two passphrases differ", where=str(where))
    return text
