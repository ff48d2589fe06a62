"""Row 65: after an erasure, with the raw image of the file system in hand (freed blocks, databases, WALs, slot files of edge
and keeper) and the operator's identity too, an erased recording does not open. A recording that was kept does, by the
same search: so the search works.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from callwarden import keyfiles
from edge.vault.slotfile import SLOT
from formats.age import open_header
from formats.shred import NONCE, SHRED_KEY, unseal_header
from formats.shred import _bound_to as bound_to
from rig.callers import place_call
from rig.invariants import check, snapshot
from rig.places import state_folder
from rig.plaintext import VoiceSearch
from rig.stack import Stack, open_stack
from tests.asterisk.sweep_kit import PRESS_AT_S, close, wait_for

pytestmark = pytest.mark.asterisk

IMAGE_BYTES = 96 << 20
ERASED = 4
#: Two calls more are recorded and kept.
KEPT = 2


@dataclass
class Secrets:
    """What could open one recording's segment, noted before the erasure."""

    recording_id: str
    segment_id: str
    shred_key: bytes
    sealed_header: bytes
    header: bytes
    file_key: bytes
    payload: bytes


@dataclass
class Disk:
    """The stack whose durable files all lie on one file system, and how to look at that from below."""

    stack: Stack
    image: Path | None

    def raw(self) -> bytes:
        """Every byte of the file system once it is unmounted; without an image, every file's."""
        var = self.stack.state / "var"
        if self.image is not None:
            subprocess.run(["umount", var], check=True)
            return self.image.read_bytes()
        return b"".join(path.read_bytes() for path in sorted(var.rglob("*")) if path.is_file())


@pytest.fixture
def disk() -> Iterator[Disk]:
    home = Path(tempfile.mkdtemp(prefix="callwarden-remnants-"))
    if (state_folder() / "remnants").exists():  # what an interrupted run left
        subprocess.run(["umount", "-q", state_folder() / "remnants" / "var"], check=False)
        close(open_stack("remnants", home=home))
    stack = open_stack("remnants", home=home)
    var = stack.state / "var"
    var.mkdir()
    image: Path | None = home / "disk.img"
    assert image is not None
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    why = _mounted(image, var)
    if why:
        print(f"not on a raw image but on files, since {why}")
        image = None
    try:
        stack.up()
        yield Disk(stack, image)
    finally:
        stack.down()
        subprocess.run(["umount", "-q", var], check=False)
        close(stack)
        shutil.rmtree(home)


def _mounted(image: Path, var: Path) -> str:
    """Make and mount an ext4 there; the reason when that cannot be."""
    if os.geteuid() != 0:
        return "only root may mount one"
    for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop,nodiscard", str(image), str(var)]):
        if shutil.which(command[0]) is None:
            return f"{command[0]} is not installed"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return done.stderr.strip()
    return ""


async def _calls(stack: Stack, count: int) -> None:
    pbx = stack.pbx()
    calls = (place_call(pbx, "1001", prompt_s=PRESS_AT_S, seconds=5) for _ in range(count))
    assert all(call.exit_code == 0 for call in await asyncio.gather(*calls))


def _secrets(stack: Stack) -> list[Secrets]:
    identities = keyfiles.read_identities(stack.identity_file)
    slots = (stack.journal.parent / "shred.keys").read_bytes()
    found = []
    with snapshot(stack.journal) as conn:
        rows = conn.execute("SELECT * FROM segment JOIN header USING(segment_id)").fetchall()
    for row in rows:
        recording_id, segment_id = row["recording_id"], row["segment_id"]
        key = slots[row["slot"] * SLOT + 8 : row["slot"] * SLOT + 8 + SHRED_KEY]
        header = unseal_header(row["sealed_header"], key, recording_id, segment_id, 1)
        payload = (stack.vault / recording_id[:2] / recording_id / f"{segment_id}.payload").read_bytes()
        file_key = open_header(header, identities)
        found.append(Secrets(recording_id, segment_id, key, row["sealed_header"], header, file_key, payload))
    return found


def _could_be_keys(raw: bytes) -> list[bytes]:
    """Every 32 bytes at a multiple of 8 (a slot's key lies so) that could be random: 16 different values or more."""
    words = np.frombuffer(raw[: len(raw) // 4096 * 4096], np.uint8).reshape(-1, 4096)
    found: list[bytes] = []
    for number in np.flatnonzero(words.any(axis=1)):
        page = raw[number * 4096 : number * 4096 + 4096 + SHRED_KEY]
        for at in range(0, 4096, 8):
            window = page[at : at + SHRED_KEY]
            if len(window) == SHRED_KEY and len(set(window)) >= 16:
                found.append(window)
    return found


def _opened_by(keys: list[bytes], secret: Secrets) -> bytes | None:
    """The first of the keys that unseals the header."""
    nonce, sealed = secret.sealed_header[:NONCE], secret.sealed_header[NONCE:]
    bound = bound_to(secret.recording_id, secret.segment_id, 1)
    for key in keys:
        try:
            return ChaCha20Poly1305(key).decrypt(nonce, sealed, bound)
        except InvalidTag:
            continue
    return None


def test_row_65_nothing_opens_what_was_erased(disk: Disk) -> None:
    stack = disk.stack
    asyncio.run(_calls(stack, ERASED + KEPT))
    wait_for("central's copy of every key", lambda: _kept(stack) == ERASED + KEPT, 20)
    secrets = _secrets(stack)
    assert len(secrets) == ERASED + KEPT
    keeper = (stack.state / "var" / "central" / "keeper.keys").read_bytes()
    assert all(s.shred_key in keeper for s in secrets), "the keeper has copies"
    gone, kept = secrets[:ERASED], secrets[ERASED:]
    for secret in gone:
        stack.callwarden(
            "central", "erase", "--recording", secret.recording_id, "--reason", "test", "--dpo-key", str(stack.dpo_key)
        )  # fmt: skip
    assert check(stack) == []
    stack.down()
    raw = disk.raw()
    for secret in gone:
        assert secret.shred_key not in raw, "a shred key survived"
        assert secret.file_key not in raw
        assert secret.header not in raw
        assert secret.header[-60:] not in raw, "the end of an age header survived"
    for secret in kept:
        assert raw.count(secret.shred_key) == 2, "edge's slot and the keeper's, and no third copy"
        assert secret.file_key not in raw
        assert secret.header not in raw, "headers lie on disk under their shred keys only"
    if disk.image is not None:
        there = [s for s in gone if s.payload[16 : 16 + 4096] in raw]
        assert there, "no ciphertext is left in freed blocks: then this test shows nothing"
    # With every 32 bytes of the disk tried as a key: what was kept opens, what was erased does not.
    keys = _could_be_keys(raw)
    assert all(secret.shred_key in keys for secret in kept)
    assert [_opened_by(keys, secret) for secret in kept] == [secret.header for secret in kept]
    assert [_opened_by(keys, secret) for secret in gone] == [None] * ERASED
    assert not any(VoiceSearch().in_bytes(raw[at : at + (1 << 20) + 64]) for at in range(0, len(raw), 1 << 20))


def _kept(stack: Stack) -> int:
    """How many headers' keys central's keeper holds."""
    return sum(1 for r in stack.read("central", "recordings") for h in r["headers"] if h["kept"])
