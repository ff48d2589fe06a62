"""Row 65: patterns in the audio, the numbers and the channels of 20 calls, erased under kills, are nowhere on the raw disk.

Everything durable (journal, WAL, slots, vault, central's database and keeper) lies on one ext4 in a file. It is unmounted and
every byte is looked at: no pattern, no destroyed key, no header; with each 32 bytes of the disk tried as a key and the
operator's identity in hand no erased recording opens. The same after an old journal was put back with its WAL. The search
finds what was planted, and the keys of what was kept.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.asterisk.test_erasure_remnants import Secrets, _could_be_keys, _mounted, _opened_by
from tests.crash.canary_child import ERASED, KEPT

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
IMAGE_BYTES = 96 << 20
#: Where the erasure of the twenty dies, one after another.
KILLS = [
    "slots.shred_written:3", "slots.shred_checked:2", "erase.slots_shredded:2", "erase.keeper_answered:3", "vault.unlinked:2",
    "erase.finished:4", "journal.truncated:2", "journal.before_commit:9", "journal.wal_zeroed:2",
]  # fmt: skip


@dataclass
class Disk:
    mount: Path
    memory: Path
    image: Path | None

    def raw(self) -> bytes:
        """Every byte of the file system, unmounted meanwhile; without an image, every file's."""
        if self.image is None:
            return b"".join(p.read_bytes() for p in sorted(self.mount.rglob("*")) if p.is_file())
        subprocess.run(["umount", self.mount], check=True)
        data = self.image.read_bytes()
        subprocess.run(["mount", "-o", "loop,nodiscard", self.image, self.mount], check=True)
        return data

    def child(self, what: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.crash.canary_child", str(self.mount), str(self.memory), what],
            env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
            capture_output=True, text=True, cwd=ROOT, timeout=120,
        )  # fmt: skip


@pytest.fixture
def disk() -> Iterator[Disk]:
    home = Path(tempfile.mkdtemp(prefix="callwarden-canary-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="callwarden-canary-", dir="/dev/shm"))
    mount, image = home / "var", home / "disk.img"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    why = _mounted(image, mount)
    if why:
        print(f"not on a raw image but on files, since {why}")
    try:
        for folder in (mount / "edge" / "vault", memory / "spool", memory / "resume", memory / "kept"):
            folder.mkdir(parents=True, mode=0o700)
        (mount / "resume").symlink_to(memory / "resume")  # in memory, as it is on a real edge
        yield Disk(mount, memory, None if why else image)
    finally:
        if not why:
            subprocess.run(["umount", mount], check=False)
        shutil.rmtree(home)
        shutil.rmtree(memory)


def secret(one: dict[str, Any]) -> Secrets:
    named = {name: bytes.fromhex(one[name]) for name in ("shred_key", "sealed", "header", "file_key")}
    return Secrets(
        one["recording"], one["segment"], named["shred_key"], named["sealed"], named["header"], named["file_key"], b""
    )


def search(disk: Disk, calls: list[dict[str, Any]], *, tried: bool) -> None:
    """Nothing of what was erased; and the keys of what was kept, so the search works."""
    raw = disk.raw()
    gone, kept = calls[:ERASED], calls[ERASED:]
    for one in calls:
        assert bytes.fromhex(one["pattern"]) not in raw, "speech in the clear"
        assert bytes.fromhex(one["file_key"]) not in raw
        assert bytes.fromhex(one["header"]) not in raw
    left = [
        (one["recording"], name)
        for one in gone
        for name, data in (
            ("number", one["number"].encode()),
            ("channel", one["channel"].encode()),
            ("shred key", bytes.fromhex(one["shred_key"])),
        )
        if data in raw
    ]
    assert left == []
    for one in kept:
        assert one["number"].encode() in raw, "kept calls keep their number: the search finds it"
        assert raw.count(bytes.fromhex(one["shred_key"])) == 2, "edge's slot and the keeper's"
    if tried:
        opens_nothing(raw, calls)


def opens_nothing(raw: bytes, calls: list[dict[str, Any]]) -> None:
    """Each 32 bytes of the disk tried as a key: what was kept opens, what was erased does not."""
    keys = list(dict.fromkeys(_could_be_keys(raw)))
    assert [_opened_by(keys, secret(one)) is not None for one in calls] == [False] * ERASED + [True] * KEPT


def test_row_65_canary(disk: Disk) -> None:
    done = disk.child("record")
    assert done.returncode == 0, done.stderr[-3000:]
    calls = json.loads(done.stdout.splitlines()[-1])
    assert len(calls) == ERASED + KEPT
    if disk.image is not None:
        planted = b"planted" + os.urandom(64)
        (disk.mount / "planted").write_bytes(planted * 100)
        os.sync()
        (disk.mount / "planted").unlink()
        raw = disk.raw()
        assert planted in raw, "a file that was removed is found: the search sees freed blocks"
        assert all(one["number"].encode() in raw for one in calls), "and the numbers before the erasure"
    for point in KILLS:
        killed = disk.child("erase", point)
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr[-3000:])
    done = disk.child("erase")
    assert done.returncode == 0, done.stderr[-3000:]
    search(disk, calls, tried=False)
    done = disk.child("restore")
    assert done.returncode == 0, done.stderr[-3000:]
    search(disk, calls, tried=True)
