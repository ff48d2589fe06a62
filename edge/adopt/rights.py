"""Whose rights a pass over foreign files has: never root's."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import CallwardenError


def step_down(folder: str, socket: Path) -> None:
    """As root become the folder's owner for good, in its group and in that of the daemon's socket; else do nothing.

    Raises CallwardenError environment.root where the folder is root's own, environment.file where it is not there.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = os.stat(folder, follow_symlinks=False)
        group = os.stat(socket).st_gid
    except OSError as error:
        where = str(error.filename or folder)
        raise CallwardenError("environment.file", error.strerror or str(error), where=where) from error
    if owner.st_uid == 0:
        raise CallwardenError(
            "environment.root", "files of others are not read as root, and this folder belongs to root", where=folder,
            hint="give it to the user whose recordings they are (chown -R asterisk: FOLDER), or run as that user",
        )  # fmt: skip
    os.setgroups(sorted({owner.st_gid, group} - {0}))
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
