"""The catalogue on real files: the shipped prompts load, damaged ones are refused by name, what is played is checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import CallwardenError
from edge.prompts.catalogue import Catalogue

SHIPPED = Path(__file__).parents[3] / "prompts"
NEEDED = {"ask", "ask_again", "thanks_recorded", "thanks_not_recorded", "unavailable_notice", "withdrawn"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "en", tmp_path / "prompts" / "en")
    return tmp_path / "prompts"


def wav(pcm: bytes, *, codec: int = 1, rate: int = 8000, channels: int = 1, bits: int = 16) -> bytes:
    form = struct.pack("<HHIIHH", codec, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", len(body)) + body


def refused(act: Callable[[], object]) -> CallwardenError:
    with pytest.raises(CallwardenError) as caught:
        act()
    assert caught.value.hint
    assert caught.value.where
    return caught.value


def test_shipped_prompts_load_in_both_languages(tmp_path: Path) -> None:
    catalogue = Catalogue.load(SHIPPED, tmp_path / "cache")
    assert {"en", "cs"} <= set(catalogue.languages)
    for language in ("en", "cs"):
        assert {p.id for p in catalogue.all if p.language == language} >= NEEDED
        ask = catalogue.resolve("ask", language)
        assert 0 < ask.answerable_from_ms < ask.duration_ms < 12_000
        assert ask.major == 1


def test_copy_is_named_by_hash_and_readable_by_all(folder: Path, tmp_path: Path) -> None:
    previous = os.umask(0o077)
    try:
        prompt = Catalogue.load(folder, tmp_path / "cache").resolve("ask", "en")
    finally:
        os.umask(previous)
    copy = tmp_path / "cache" / prompt.sha256 / "en-ask.wav"
    assert (prompt.file, prompt.path) == (str(copy), str(copy.with_suffix("")))
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == prompt.sha256
    assert copy.read_bytes() == (folder / "en" / "ask.wav").read_bytes()
    modes = [oct(p.stat().st_mode & 0o777) for p in (copy, copy.parent, copy.parent.parent)]
    assert modes == ["0o644", "0o755", "0o755"]
    assert [p.name for p in copy.parent.iterdir()] == ["en-ask.wav"], "no temporary file stays"


def test_loading_again_leaves_good_copies_and_heals_bad_ones(folder: Path, tmp_path: Path) -> None:
    first = Catalogue.load(folder, tmp_path / "cache").resolve("ask", "en")
    before = os.stat(first.file)
    assert Catalogue.load(folder, tmp_path / "cache").resolve("ask", "en") == first
    assert os.stat(first.file).st_ino == before.st_ino
    Path(first.file).write_bytes(b"something else")
    Catalogue.load(folder, tmp_path / "cache").verify(first)


def test_new_recording_lies_beside_the_old_one(folder: Path, tmp_path: Path) -> None:
    old = Catalogue.load(folder, tmp_path / "cache").resolve("ask", "en")
    file = folder / "en" / "ask.wav"
    data = bytearray(file.read_bytes())
    data[-2:] = b"\x01\x00"
    file.write_bytes(data)
    manifest = folder / "en" / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(old.sha256, hashlib.sha256(data).hexdigest()))
    new = Catalogue.load(folder, tmp_path / "cache").resolve("ask", "en")
    assert new.sha256 != old.sha256
    assert Path(old.file).exists(), "a call that began with it may still be asking"


def test_headerless_audio_is_taken(folder: Path, tmp_path: Path) -> None:
    pcm = (folder / "en" / "withdrawn.wav").read_bytes()[44:]
    (folder / "en" / "withdrawn.sln").write_bytes(pcm)
    manifest = folder / "en" / "manifest.toml"
    text = manifest.read_text().replace("withdrawn.wav", "withdrawn.sln")
    old = hashlib.sha256((folder / "en" / "withdrawn.wav").read_bytes()).hexdigest()
    manifest.write_text(text.replace(old, hashlib.sha256(pcm).hexdigest()))
    prompt = Catalogue.load(folder, tmp_path / "cache").resolve("withdrawn", "en")
    assert prompt.file.endswith("/en-withdrawn.sln")


SECOND = b"\x00\x10" * 8000


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "prompt.empty", "empty"),
        (wav(b""), "prompt.empty", "no audio"),
        (b"\x13\x37" * 2500, "prompt.format", "not a WAV"),
        (wav(SECOND, codec=7), "prompt.format", "wrong codec: codec 7"),
        (wav(SECOND, rate=44100), "prompt.format", "44100 Hz"),
        (wav(SECOND, channels=2), "prompt.format", "2 channels"),
        (wav(SECOND, bits=8), "prompt.format", "8 bits"),
        (wav(SECOND)[:-100], "prompt.damaged", "cut"),
        (wav(SECOND)[:30], "prompt.damaged", "no audio"),
        (wav(SECOND + b"\x00"), "prompt.damaged", "within a sample"),
        (wav(SECOND[:100]), "prompt.length", "ms long"),
        (wav(SECOND * 61), "prompt.length", "61000 ms"),
        (wav(SECOND), "prompt.hash", "SHA-256"),
    ],
)
def test_wrong_audio_is_refused_by_name(folder: Path, tmp_path: Path, data: bytes, code: str, words: str) -> None:
    file = folder / "en" / "ask.wav"
    file.write_bytes(data)
    error = refused(lambda: Catalogue.load(folder, tmp_path / "cache"))
    assert (error.code, error.where) == (code, str(file))
    assert words in error.message


def test_missing_audio_and_missing_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "en" / "ask.wav").unlink()
    error = refused(lambda: Catalogue.load(folder, tmp_path / "cache"))
    assert (error.code, error.where) == ("prompt.missing", str(folder / "en" / "ask.wav"))
    assert refused(lambda: Catalogue.load(tmp_path / "nowhere", tmp_path / "cache")).code == "prompt.none"


def test_unwritable_cache(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands in the way")
    assert refused(lambda: Catalogue.load(folder, tmp_path / "cache")).code == "prompt.cache"


def test_unknown_id_and_language_say_what_there_is(folder: Path, tmp_path: Path) -> None:
    catalogue = Catalogue.load(folder, tmp_path / "cache")
    unknown = refused(lambda: catalogue.resolve("sing", "en"))
    assert (unknown.code, "ask_again" in unknown.hint) == ("prompt.unknown", True)
    foreign = refused(lambda: catalogue.resolve("ask", "cs"))
    assert (foreign.code, "there in en" in foreign.hint) == ("prompt.no_language", True)


def test_verify_sees_every_change(folder: Path, tmp_path: Path) -> None:
    catalogue = Catalogue.load(folder, tmp_path / "cache")
    prompt = catalogue.resolve("ask", "en")
    copy = Path(prompt.file)
    good = copy.read_bytes()
    catalogue.verify(prompt)

    state = copy.stat()
    copy.write_bytes(bytes(reversed(good)))
    os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert refused(lambda: catalogue.verify(prompt)).code == "prompt.changed", "same size, same mtime"

    copy.write_bytes(b"")
    assert refused(lambda: catalogue.verify(prompt)).code == "prompt.empty"
    copy.unlink()
    assert refused(lambda: catalogue.verify(prompt)).code == "prompt.missing"
    copy.write_bytes(good)
    catalogue.verify(prompt)


def test_unchanged_file_is_not_read_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue.load(folder, tmp_path / "cache")
    prompt = catalogue.resolve("ask", "en")
    read: list[Path] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self) or real(self))
    for _ in range(3):
        catalogue.verify(prompt)
    assert read == []
    os.utime(prompt.file)
    catalogue.verify(prompt)
    catalogue.verify(prompt)
    assert read == [Path(prompt.file)]
