"""The capture spool on a real tmpfs: creation, planted files, holes, leases."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge.errors import CallwardenError
from edge.recorder.spool import Spool

NAME = "ab" * 16 + ".raw"


@pytest.fixture
def spool(shm: Path) -> Spool:
    return Spool(shm, None)


def test_a_file_is_made_once_and_not_world_readable(spool: Spool) -> None:
    inode = spool.create(NAME)
    mode = os.stat(spool.path(NAME))
    assert (mode.st_ino, stat.S_IMODE(mode.st_mode)) == (inode, 0o660)
    with pytest.raises(CallwardenError) as refused:
        spool.create(NAME)
    assert refused.value.code == "spool.unwritable"


def test_an_unwritable_spool_says_where_and_how_to_fix() -> None:
    with pytest.raises(CallwardenError) as refused:
        Spool(Path("/proc/nowhere"), None).create(NAME)
    assert "/proc/nowhere" in str(refused.value)
    assert "hint:" in str(refused.value)


def test_planted_things_are_refused_and_left_alone(spool: Spool, shm: Path) -> None:
    (shm / "target").write_bytes(b"x")
    os.symlink(shm / "target", shm / "link.raw")
    os.mkfifo(shm / "fifo.raw")
    os.link(shm / "target", shm / "hard.raw")
    for name in ("link.raw", "fifo.raw", "hard.raw"):
        with pytest.raises(CallwardenError) as refused:
            spool.status(name)
        assert refused.value.code == "spool.foreign"
        assert (shm / name).exists()
    with pytest.raises(OSError):
        spool.open("link.raw")
    os.symlink("/etc/passwd", shm / NAME)
    with pytest.raises(CallwardenError):
        spool.create(NAME)


def test_punching_frees_memory_and_leaves_a_hole(spool: Spool) -> None:
    spool.create(NAME)
    with open(spool.path(NAME), "r+b") as writer:
        writer.write(os.urandom(300_000))
    assert spool.resident(NAME) >= 300_000
    spool.punch(NAME, 2 * 65536)
    assert spool.resident(NAME) <= 300_000 - 2 * 65536 + 8192
    assert spool.status(NAME) is not None
    assert spool.status(NAME)[1] == 300_000  # type: ignore[index]
    fd = spool.open(NAME)
    try:
        assert spool.has_hole(fd, 0, 4096)
        assert spool.has_hole(fd, 65536, 3 * 65536)
        assert not spool.has_hole(fd, 2 * 65536, 300_000)
        assert spool.has_hole(fd, 300_000, 300_001)
    finally:
        os.close(fd)


def test_the_kernel_knows_whether_somebody_still_writes(spool: Spool) -> None:
    spool.create(NAME)
    child_says, we_say = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        fd = os.open(spool.path(NAME), os.O_WRONLY)
        os.write(child_says[1], b"o")
        os.read(we_say[0], 1)
        os.close(fd)
        os.write(child_says[1], b"c")
        os.read(we_say[0], 1)
        os._exit(0)
    os.read(child_says[0], 1)
    assert not spool.writer_gone(NAME)
    os.write(we_say[1], b"x")
    os.read(child_says[0], 1)
    assert spool.writer_gone(NAME)
    assert spool.writer_gone(NAME)  # the lease was given back
    os.write(we_say[1], b"x")
    os.waitpid(pid, 0)


def test_a_killed_writer_is_gone_too(spool: Spool) -> None:
    spool.create(NAME)
    ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.open(spool.path(NAME), os.O_WRONLY)
        os.write(ready[1], b"o")
        while True:
            os.read(0, 1)
    os.read(ready[0], 1)
    assert not spool.writer_gone(NAME)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert spool.writer_gone(NAME)
