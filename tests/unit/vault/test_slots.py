"""The slot file: put, read, shred, release, sweep; what it refuses; what lies on the disk afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import stat
import subprocess
from pathlib import Path

import pytest

from edge.errors import CallwardenError
from edge.vault import disk
from edge.vault.slotfile import SLOT, SlotFile
from edge.vault.slots import ShredSlots

OWNER = "0" * 31 + "1"


def open_slots(path: Path, count: int = 64) -> ShredSlots:
    return ShredSlots.open(str(path), owner=OWNER, count=count)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shred.keys"


async def test_a_secret_comes_back_until_it_is_shredded(path: Path) -> None:
    slots = open_slots(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 64 * SLOT
    secret = secrets.token_bytes(32)
    number = await slots.put(secret)
    assert number > 0
    assert await slots.read(number) == secret
    assert secret in path.read_bytes()
    await slots.shred([number])
    await slots.shred([number])
    assert secret not in path.read_bytes()
    with pytest.raises(CallwardenError) as gone:
        await slots.read(number)
    assert gone.value.code == "vault.slot_shredded"
    await slots.release([number])
    await slots.release([number])
    assert slots.counts() == {"live": 0, "destroyed": 0, "free": 63}
    await slots.close()


async def test_a_shredded_number_is_not_given_out_until_released(path: Path) -> None:
    slots = open_slots(path, count=4)
    numbers = [await slots.put(secrets.token_bytes(32)) for _ in range(3)]
    await slots.shred(numbers[:1])
    grown = await slots.put(secrets.token_bytes(32))
    assert grown not in numbers
    assert path.stat().st_size == 8 * SLOT
    await slots.close()


async def test_concurrent_puts_share_a_sync_and_never_a_slot(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = open_slots(path, count=512)
    syncs = 0
    real = SlotFile.sync

    def counting(self: SlotFile) -> None:
        nonlocal syncs
        syncs += 1
        real(self)

    monkeypatch.setattr(SlotFile, "sync", counting)
    wanted = [secrets.token_bytes(32) for _ in range(200)]
    numbers = await asyncio.gather(*[slots.put(secret) for secret in wanted])
    assert len(set(numbers)) == 200
    assert syncs < 20
    assert await asyncio.gather(*[slots.read(n) for n in numbers]) == wanted
    await slots.close()


async def test_it_grows_and_everything_survives_a_restart(path: Path) -> None:
    slots = open_slots(path, count=8)
    kept = {await slots.put(secret): secret for secret in (secrets.token_bytes(32) for _ in range(100))}
    await slots.close()
    slots = open_slots(path)
    assert slots.sweep(list(kept)) == 0
    for number, secret in kept.items():
        assert await slots.read(number) == secret
    await slots.close()


async def test_sweep_destroys_what_no_row_names_and_frees_it(path: Path) -> None:
    slots = open_slots(path)
    wanted = [secrets.token_bytes(32) for _ in range(5)]
    numbers = [await slots.put(secret) for secret in wanted]
    await slots.shred([numbers[3], numbers[4]])
    await slots.close()
    slots = open_slots(path)
    # 0 and 3 are named; 1 and 2 are live and unnamed; 4 is destroyed and unnamed: it only becomes free.
    assert slots.sweep([numbers[0], numbers[3]]) == 2
    assert slots.counts() == {"live": 1, "destroyed": 1, "free": 61}
    data = path.read_bytes()
    assert [secret in data for secret in wanted] == [True, False, False, False, False]
    assert await slots.read(numbers[0]) == wanted[0]
    await slots.close()


async def test_a_file_that_was_made_anew_is_refused(path: Path) -> None:
    slots = open_slots(path)
    number = await slots.put(secrets.token_bytes(32))
    await slots.close()
    path.unlink()
    slots = open_slots(path)
    for named in ([number], [number, number + 1], [number, 1000]):
        with pytest.raises(CallwardenError) as lost:
            slots.sweep(named)
        assert lost.value.code == "vault.missing_keys"
    await slots.close()


async def test_row_59_an_older_journal_does_not_get_slots_back_or_given_twice(path: Path) -> None:
    """A journal from a backup names a slot that was erased and freed since."""
    slots = open_slots(path)
    kept = await slots.put(secrets.token_bytes(32))
    erased = await slots.put(secrets.token_bytes(32))
    await slots.release([erased])
    await slots.close()
    slots = open_slots(path)
    assert slots.sweep([kept, erased]) == 0
    with pytest.raises(CallwardenError) as gone:
        await slots.read(erased)
    assert gone.value.code == "vault.slot_shredded"
    given = [await slots.put(secrets.token_bytes(32)) for _ in range(100)]
    assert erased not in given
    await slots.close()


async def test_another_journals_file_is_refused(path: Path) -> None:
    slots = open_slots(path)
    await slots.close()
    with pytest.raises(CallwardenError) as foreign:
        ShredSlots.open(str(path), owner="f" * 32)
    assert foreign.value.code == "vault.foreign"


async def test_two_processes_cannot_have_it(path: Path) -> None:
    slots = open_slots(path)
    with pytest.raises(CallwardenError) as locked:
        open_slots(path)
    assert locked.value.code == "vault.locked"
    await slots.close()


async def test_planted_and_damaged_files_are_refused(path: Path, tmp_path: Path) -> None:
    slots = open_slots(path)
    number = await slots.put(secrets.token_bytes(32))
    await slots.close()
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(CallwardenError) as planted:
        open_slots(link)
    assert planted.value.code == "vault.io"
    path.chmod(0o640)
    with pytest.raises(CallwardenError) as rights:
        open_slots(path)
    assert rights.value.code == "vault.rights"
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[number * SLOT + 20] ^= 1
    path.write_bytes(data)
    slots = open_slots(path)
    with pytest.raises(CallwardenError) as damaged:
        await slots.read(number)
    assert damaged.value.code == "vault.damaged"
    await slots.close()
    data[21] ^= 1
    path.write_bytes(data)
    with pytest.raises(CallwardenError) as header:
        open_slots(path)
    assert header.value.code == "vault.damaged"


async def test_numbers_that_are_no_slots(path: Path) -> None:
    slots = open_slots(path)
    for number in (0, -1, 64, 10**9):
        with pytest.raises(CallwardenError) as refused:
            await slots.read(number)
        assert refused.value.code == "vault.slot"
        with pytest.raises(CallwardenError):
            await slots.shred([number])
    with pytest.raises(ValueError, match="32 bytes"):
        await slots.put(b"short")
    with pytest.raises(CallwardenError) as free:
        await slots.read(5)
    assert free.value.code == "vault.slot_shredded"
    await slots.close()


async def test_a_device_that_keeps_the_old_bytes_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = open_slots(path)
    number = await slots.put(secrets.token_bytes(32))
    before = path.read_bytes()[number * SLOT :][:SLOT]
    monkeypatch.setattr("edge.vault.slotfile.read_uncached", lambda *_: before)
    with pytest.raises(CallwardenError) as lying:
        await slots.shred([number])
    assert lying.value.code == "vault.shred"
    assert lying.value.retryable
    monkeypatch.undo()
    await slots.shred([number])
    await slots.close()


async def test_a_copy_on_write_disk_is_refused_unless_waived(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "file_system", lambda fd: 0x9123683E)
    with pytest.raises(CallwardenError) as refused:
        open_slots(path)
    assert refused.value.code == "vault.copy_on_write"
    assert "btrfs" in refused.value.message
    assert not path.exists()
    slots = ShredSlots.open(str(path), owner=OWNER, count=64, allow_copy_on_write=True)
    await slots.close()


def test_the_magic_of_a_real_overlay_is_known(tmp_path: Path) -> None:
    """overlayfs for real, where mounting is allowed; tmpfs is told apart either way."""
    fd = os.open("/dev/shm", os.O_RDONLY)
    assert disk.file_system(fd) == 0x01021994
    os.close(fd)
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    mount = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(tmp_path / "merged")], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"an overlay cannot be mounted here: {mount.stderr.strip()}")
    try:
        with pytest.raises(CallwardenError) as refused:
            open_slots(tmp_path / "merged" / "shred.keys")
        assert refused.value.code == "vault.copy_on_write"
        assert "overlayfs" in refused.value.message
    finally:
        subprocess.run(["umount", str(tmp_path / "merged")], check=True)


async def test_a_full_disk_is_slots_full_and_nothing_is_lost(path: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(small)], capture_output=True)
    if mount.returncode:
        pytest.skip("a small tmpfs cannot be mounted here (not root)")
    try:
        slots = open_slots(small / "shred.keys", count=128)  # 8 KiB: doubling once is all that fits
        kept = {}
        for _ in range(255):
            secret = secrets.token_bytes(32)
            kept[await slots.put(secret)] = secret
        with pytest.raises(CallwardenError) as full:
            await slots.put(secrets.token_bytes(32))
        assert full.value.code == "vault.slots_full"
        for number, secret in kept.items():
            assert await slots.read(number) == secret
        await slots.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


async def test_random_operations_agree_with_a_model(path: Path) -> None:
    """Linearizable: concurrent tasks, each on numbers of its own, against a dictionary; then a restart and a sweep."""
    slots = open_slots(path, count=16)
    live: dict[int, bytes] = {}
    dead: set[int] = set()

    async def worker(seed: int) -> None:
        rng = random.Random(seed)
        mine: list[int] = []
        for _ in range(120):
            choice = rng.random()
            if choice < 0.5 or not mine:
                secret = rng.randbytes(32)
                number = await slots.put(secret)
                assert number not in live
                assert number not in dead
                live[number] = secret
                mine.append(number)
            elif choice < 0.7:
                number = rng.choice(mine)
                assert await slots.read(number) == live[number]
            elif choice < 0.85:
                number = mine.pop(rng.randrange(len(mine)))
                del live[number]
                dead.add(number)
                await slots.shred([number])
            else:
                number = mine.pop(rng.randrange(len(mine)))
                del live[number]  # before the await: another task may be given the number at once
                await slots.release([number])

    await asyncio.gather(*[worker(seed) for seed in range(8)])
    assert slots.counts()["live"] == len(live)
    assert slots.counts()["destroyed"] == len(dead)
    await slots.close()
    slots = open_slots(path)
    assert slots.sweep(list(live)) == 0
    for number, secret in live.items():
        assert await slots.read(number) == secret
    await slots.close()
