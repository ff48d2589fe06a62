"""Payload files: append and re-append, planted names, removal."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from pathlib import Path

import pytest

from edge import durable
from edge.errors import CallwardenError
from edge.vault.payloads import PayloadVault


def new_id() -> str:
    return secrets.token_hex(16)


@pytest.fixture
def vault(tmp_path: Path) -> PayloadVault:
    return PayloadVault(str(tmp_path / "vault"))


def test_create_append_hash_list(vault: PayloadVault) -> None:
    recording, segment = new_id(), new_id()
    vault.create(recording, segment)
    data = secrets.token_bytes(3_000_000)
    vault.append(recording, segment, 0, data[:16])
    vault.append(recording, segment, 16, data[16:])
    path = Path(vault.path(recording, segment))
    assert path == Path(vault.root) / recording[:2] / recording / f"{segment}.payload"
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, Path(vault.root)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert vault.sha512(recording, segment) == hashlib.sha512(data).digest()
    assert vault.length(recording, segment) == len(data)
    assert vault.listing() == [(recording, segment, len(data))]
    with pytest.raises(CallwardenError) as twice:
        vault.create(recording, segment)
    assert twice.value.code == "vault.exists"


def test_a_waveform_that_was_not_finished_goes(vault: PayloadVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its segment after a kill, at once where the disk is full."""
    recording, segment = new_id(), new_id()
    vault.create(recording, segment)
    folder = Path(vault.path(recording, segment)).parent
    (folder / f"{segment}.waveform.new").write_bytes(b"half")
    assert vault.unlink_segment(recording, segment)
    assert list(folder.iterdir()) == []

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge.vault.beside.write_all", full)
    with pytest.raises(CallwardenError, match="No space left"):
        vault.put_waveform(recording, segment, b"sealed")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("there", [0, 1, 50, 99, 100])
def test_appending_again_after_a_crash_writes_only_what_is_missing(vault: PayloadVault, there: int) -> None:
    recording, segment = new_id(), new_id()
    vault.create(recording, segment)
    head, piece = secrets.token_bytes(16), secrets.token_bytes(100)
    vault.append(recording, segment, 0, head)
    vault.append(recording, segment, 16, piece[:there])
    vault.append(recording, segment, 16, piece)
    assert Path(vault.path(recording, segment)).read_bytes() == head + piece


def test_bytes_beyond_the_piece_are_left_for_the_next(vault: PayloadVault) -> None:
    recording, segment = new_id(), new_id()
    vault.create(recording, segment)
    vault.append(recording, segment, 0, b"abcdef")
    vault.append(recording, segment, 0, b"abc")
    assert Path(vault.path(recording, segment)).read_bytes() == b"abcdef"


@pytest.mark.parametrize("at", [0, 7, 9])
def test_different_bytes_are_refused_before_anything_is_written(vault: PayloadVault, at: int) -> None:
    recording, segment = new_id(), new_id()
    vault.create(recording, segment)
    there = bytearray(10)
    there[at] = 1
    vault.append(recording, segment, 0, bytes(there))
    with pytest.raises(CallwardenError) as differs:
        vault.append(recording, segment, 0, bytes(20))
    assert differs.value.code == "vault.differs"
    assert Path(vault.path(recording, segment)).read_bytes() == bytes(there)
    with pytest.raises(CallwardenError) as gap:
        vault.append(recording, segment, 11, b"x")
    assert gap.value.code == "vault.short"


def test_truncate_and_missing(vault: PayloadVault) -> None:
    recording, segment = new_id(), new_id()
    assert vault.length(recording, segment) == 0
    with pytest.raises(CallwardenError) as missing:
        vault.append(recording, segment, 0, b"x")
    assert missing.value.code == "vault.missing"
    vault.create(recording, segment)
    vault.append(recording, segment, 0, b"0123456789")
    vault.truncate(recording, segment, 4)
    vault.truncate(recording, segment, 8)
    assert Path(vault.path(recording, segment)).read_bytes() == b"0123"


def test_unlink_removes_everything_and_may_be_repeated(vault: PayloadVault) -> None:
    recording, other = new_id(), new_id()
    for segment in (new_id(), new_id(), new_id()):
        vault.create(recording, segment)
    kept = new_id()
    vault.create(other, kept)
    assert vault.unlink(recording) == 3
    assert vault.unlink(recording) == 0
    assert not os.path.exists(os.path.dirname(vault.path(recording, kept)))
    assert vault.listing() == [(other, kept, 0)]
    assert vault.unlink(new_id()) == 0


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n", "/" * 32]
)
def test_row_34_names_that_are_no_ids(vault: PayloadVault, name: str) -> None:
    good = new_id()
    for call in (
        lambda: vault.create(name, good),
        lambda: vault.create(good, name),
        lambda: vault.append(good, name, 0, b""),
        lambda: vault.unlink(name),
        lambda: vault.path(name, good),
    ):
        with pytest.raises(CallwardenError) as refused:
            call()
        assert refused.value.code == "vault.name"


def test_row_35_planted_links_and_pipes_are_not_followed(vault: PayloadVault, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    recording, segment = new_id(), new_id()
    vault.create(recording, segment)
    path = Path(vault.path(recording, segment))
    for plant in (
        lambda: path.symlink_to(victim),
        lambda: os.mkfifo(path),
        lambda: os.link(victim, path),
        lambda: path.mkdir(),
    ):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
        plant()
        with pytest.raises(CallwardenError) as refused:
            vault.append(recording, segment, 0, b"overwritten")
        assert refused.value.code in ("vault.io", "vault.planted")
    assert victim.read_bytes() == b"untouched"


def test_row_35_a_planted_folder_link_is_not_followed(vault: PayloadVault, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    recording = new_id()
    (Path(vault.root) / recording[:2]).symlink_to(elsewhere)
    with pytest.raises(CallwardenError):
        vault.create(recording, new_id())
    assert list(elsewhere.iterdir()) == []
    assert vault.listing() == []


def test_a_vault_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(CallwardenError) as refused:
        PayloadVault(str(folder))
    assert refused.value.code == "vault.rights"


def test_durable_write_replaces_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    old = os.umask(0)
    try:
        durable.write_file(str(path), b"one")
        durable.write_file(str(path), b"two", mode=0o640)
    finally:
        os.umask(old)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def fail(fd: int) -> None:
        raise OSError(5, "EIO")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="EIO"):
        durable.write_file(str(path), b"three")
    monkeypatch.undo()
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
