"""The capture spool on a real tmpfs: creation, planted files, holes, leases."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge.errors import CallwardenError
from edge.recorder.spool import Spool, files_of

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


# ---------------------------------------------------------------- two files a capture

PAIR = "cd" * 16 + ".sln.pair"


def test_two_files_read_as_one_run_of_samples(spool: Spool, shm: Path) -> None:
    number = spool.create(PAIR)
    left, right = (shm / name for name in files_of(PAIR))
    assert sorted(os.listdir(shm)) == sorted([left.name, right.name])
    left.write_bytes(b"Aa" * 6)
    right.write_bytes(b"Bb" * 4 + b"B")
    assert spool.status(PAIR) == (number, 16), "what is on one side only, or half a sample, is not there yet"
    assert spool.read(PAIR, 0, 16) == b"AaBb" * 4
    assert spool.read(PAIR, 3, 9) == b"bAaBbA"
    assert spool.take(PAIR, 4, 12) == b"AaBb" * 2
    assert spool.last_sound(PAIR, 0, 16) == 16
    spool.unlink(PAIR)
    assert os.listdir(shm) == []


def test_two_files_are_freed_together(spool: Spool, shm: Path) -> None:
    spool.create(PAIR)
    for name in files_of(PAIR):
        (shm / name).write_bytes(b"x" * 100_000)
    spool.punch(PAIR, 65536)
    assert spool.take(PAIR, 0, 4096) is None
    assert spool.take(PAIR, 65536, 200_000) == b"x" * (200_000 - 65536)
    assert spool.next_data(PAIR, 0) == 65536
    spool.punch(PAIR, 70_000, whole=False)
    assert spool.first_sound(PAIR, 0, 200_000) == 70_000


def test_one_of_two_files_replaced_or_gone_is_seen(spool: Spool, shm: Path) -> None:
    number = spool.create(PAIR)
    left, right = (shm / name for name in files_of(PAIR))
    keep = right.open()  # so that its inode is not given again
    right.unlink()
    assert spool.status(PAIR) is None
    right.touch()
    found = spool.status(PAIR)
    assert found is not None
    assert found[0] != number
    keep.close()
    left.unlink()
    os.symlink(right, left)
    with pytest.raises(CallwardenError):
        spool.status(PAIR)


def test_a_pair_that_cannot_be_made_leaves_nothing(spool: Spool, shm: Path) -> None:
    (shm / files_of(PAIR)[1]).touch()
    with pytest.raises(CallwardenError):
        spool.create(PAIR)
    assert os.listdir(shm) == [files_of(PAIR)[1]]
