"""What the kernel says about mounts and swap, read from the texts of /proc. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

#: File systems that write elsewhere instead of over the old bytes, so that an overwritten key may survive.
COPY_ON_WRITE = frozenset({"btrfs", "zfs", "bcachefs", "overlay", "nilfs2", "f2fs", "aufs"})
#: File systems that keep their files in memory and may swap (tmpfs) or never do (ramfs).
IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo: where, which file system, and its options (mount's and super block's)."""

    point: str
    kind: str
    options: frozenset[str]


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Lines of /proc/self/mountinfo (proc(5)), in their order: a later mount hides an earlier one."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if len(before) >= 6 and len(after) >= 3:
            options = frozenset((*before[5].split(","), *after[2].split(",")))
            found.append(Mount(_unescape(before[4]), after[0], options))
    return tuple(found)


def mount_of(path: str, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount a resolved absolute path lies on; the last of equals, because it hides the others."""
    best: Mount | None = None
    for mount in mounts:
        if PurePosixPath(path).is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def plain_swaps(proc_swaps: str) -> tuple[str, ...]:
    """Swap areas in /proc/swaps that may put memory on a disk in the clear: all but zram and device-mapper ones (whose
    encryption `doctor` looks at; the kernel does not say it here)."""
    areas = [line.split()[0] for line in proc_swaps.splitlines()[1:] if line.startswith("/")]
    return tuple(area for area in areas if not re.match(r"/dev/(zram|dm-|mapper/)", area))


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)
