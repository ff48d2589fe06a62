"""Looks for plaintext, or a key, in every file on disk that the programs could have written since a moment."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rig.stack import Stack
from rig.tones import Pcm, encode

#: Where programs keep things on a Debian host, besides the stack's own folders. /run is a tmpfs, and looked at if not.
_PLACES = ("/tmp", "/var/tmp", "/var/spool", "/var/log", "/var/lib", "/run")
#: File systems that live in memory only, by their names in /proc/self/mountinfo.
_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
_NOT_FILES = {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "debugfs", "tracefs", "securityfs", "bpf"}
#: A needle's length in bytes: 2 ms of stereo. Random bytes match one once in 2^512 tries.
NEEDLE = 64
_BLOCK = 4 << 20


@dataclass(frozen=True)
class Found:
    """What a search saw: files and bytes looked at, and the files that hold a needle."""

    files: int
    bytes: int
    hits: tuple[str, ...]


def speech_needles(stereo: bytes, every_s: float = 0.25, rate: int = 8000) -> list[bytes]:
    """Pieces of a recording (s16le, caller left) as it could lie on a disk: as it is, and each channel alone, as linear
    samples and as µ-law; one of each every `every_s` seconds, so any longer span of it contains one."""
    both = np.frombuffer(stereo[: len(stereo) // 4 * 4], dtype="<i2").reshape(-1, 2)
    left: Pcm = np.ascontiguousarray(both[:, 0])
    law = encode(left)
    step = int(rate * every_s)
    needles = []
    for at in range(0, len(left) - NEEDLE, step):
        if not np.any(left[at : at + NEEDLE]):
            continue  # silence is everywhere and nobody's
        needles += [both[at : at + NEEDLE // 4].tobytes(), left[at : at + NEEDLE // 2].tobytes(), law[at : at + NEEDLE]]
    return [n for n in needles if len(set(n)) > 8]


def search(stack: Stack, needles: list[bytes], since: float, mine: Iterable[Path] = ()) -> Found:
    """Search every persistent file changed since `since` (Unix seconds), and every file the stack's programs have open,
    deleted ones included. mine: files to leave out. Reading blocks: run it in a thread."""
    left_out = {str(path.resolve()) for path in mine}
    seen: set[tuple[int, int]] = set()
    files, size, hits = 0, 0, []
    for path, shown in _candidates(stack, since):
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in seen or shown in left_out:
                    continue
                seen.add((status.st_dev, status.st_ino))
                files += 1
                size += status.st_size
                if _holds(file.fileno(), needles):
                    hits.append(shown)
        except OSError:
            continue  # it went away, or it is nobody's to read
    return Found(files, size, tuple(hits))


def _candidates(stack: Stack, since: float) -> Iterator[tuple[str, str]]:
    """(path to open, name to show)"""
    memory = _devices(_MEMORY | _NOT_FILES)
    roots = [stack.state, *map(Path, _PLACES)]
    for root in dict.fromkeys(str(r.resolve()) for r in roots if r.is_dir()):
        for path in _changed(root, since, memory):
            yield path, path
    for name in ("edge", "guard", "central", "asterisk", "agent"):
        process = stack.process(name)
        folder = f"/proc/{process.pid}/fd" if process else ""
        for fd in os.listdir(folder) if folder and os.access(folder, os.R_OK) else ():
            link = f"{folder}/{fd}"
            try:
                status, target = os.stat(link), os.readlink(link)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_dev not in memory and status.st_mtime >= since:
                yield link, target


def _changed(root: str, since: float, skip: set[int]) -> Iterator[str]:
    """Regular files below `root`, except on the devices `skip`."""
    folders = [root] if os.stat(root).st_dev not in skip else []
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                if status.st_dev not in skip:
                    folders.append(entry.path)
            elif stat.S_ISREG(status.st_mode) and max(status.st_ctime, status.st_mtime) >= since:
                yield entry.path


def _holds(fd: int, needles: list[bytes]) -> bool:
    at, longest = 0, max(map(len, needles))
    while block := os.pread(fd, _BLOCK, at):
        if any(needle in block for needle in needles):
            return True
        if len(block) < _BLOCK:
            return False
        at += len(block) - longest
    return False


def _devices(kinds: set[str]) -> set[int]:
    """Device numbers of the mounts of these kinds."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        major, minor = before.split()[2].split(":")
        if after.split()[0] in kinds:
            found.add(os.makedev(int(major), int(minor)))
    return found
