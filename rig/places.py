"""Where the rig keeps things, and under which numbers it runs.

As root each program gets an id of its own, so every folder here must be one that another id may walk into; as an
ordinary user everything runs under that user.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent

#: Numeric ids without a passwd entry, above the range Debian hands out to system users (100-999) and people
#: (1000-59999), and inside 60000-64999, which policy leaves to packages.
SHARED_GID = 64100
ASTERISK_UID = 64101
EDGE_UID = 64102
CENTRAL_UID = 64103


@dataclass(frozen=True)
class Identity:
    """Who a program runs as: numbers when we are root, nothing (the present user) otherwise."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()

    def popen(self) -> dict[str, Any]:
        """Keyword arguments for subprocess.Popen and asyncio.create_subprocess_exec."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}

    def own(self, path: Path) -> None:
        """Give a file or folder to this identity."""
        if self.uid is not None:
            os.chown(path, self.uid, -1 if self.gid is None else self.gid)


def identity(uid: int) -> Identity:
    """The identity for one of the numbers above; the present user when we are not root."""
    if os.geteuid() != 0:
        return Identity()
    return Identity(uid, uid, (SHARED_GID,))


def reachable_by_others(path: Path) -> bool:
    """Whether an id that owns nothing may walk into `path` (it and every folder above carry o+x)."""
    path = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def cache_folder() -> Path:
    """The cache of unpacked programs, made if missing: $CALLWARDEN_CACHE, else one per user or per host."""
    named = os.environ.get("CALLWARDEN_CACHE")
    if named:
        folder = Path(named)
    elif os.geteuid() == 0:
        folder = Path("/var/cache/callwarden")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "callwarden"
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        folder.chmod(0o755)
    return folder.resolve()


def project_mark() -> str:
    """Eight hex digits that tell this checkout from another one on the same host."""
    return hashlib.sha256(str(PROJECT).encode()).hexdigest()[:8]


def state_folder() -> Path:
    """Persistent state of the rig: `.rig/` in the project, or under /var/tmp when other ids cannot walk there."""
    if os.geteuid() == 0 and not reachable_by_others(PROJECT):
        folder = Path(f"/var/tmp/callwarden-rig-{project_mark()}")
    else:
        folder = PROJECT / ".rig"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def memory_folder(name: str) -> Path:
    """A folder on the tmpfs every Linux has, for capture spools: /dev/shm/callwarden-<project>-<name>."""
    folder = Path(f"/dev/shm/callwarden-{project_mark()}-{name}")
    folder.mkdir(mode=0o755, exist_ok=True)
    return folder
