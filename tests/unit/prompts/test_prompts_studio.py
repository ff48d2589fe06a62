"""Studio recordings become prompts: any rate and format in, what Asterisk plays out; a bad take changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.errors import CallwardenError
from edge.prompts import pack
from edge.prompts.audio import RATE, loudness, samples
from edge.prompts.catalogue import Catalogue
from edge.prompts.check import check_audio, check_scripts
from edge.prompts.manifest import Manifest, PromptEntry, parse_manifest
from edge.prompts.script import Script, Spoken, merged, parse_script
from edge.prompts.studio import decode, find_takes, import_takes
from tests.unit.cli.cli_makers import process

ROOT = Path(__file__).parents[3]
SCRIPT = Script(
    language="en",
    pause_ms=160,
    prompt=(
        Spoken(id="ask", version="2.0", parts=("May we?", "You may stop it.", "Press one."), answerable_after=2),
        Spoken(id="withdrawn", version="1.0", parts=("It has stopped.",), says=("stopped",)),
    ),
)


def sound(ms: int, level: float = 0.2, rate: int = 48_000, hz: int = 440) -> Any:
    """A hum with the rhythm of syllables, 4 a second."""
    t = np.arange(rate * ms // 1000) / rate
    return level * np.sin(2 * np.pi * hz * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))


def hush(ms: int, rate: int = 48_000) -> Any:
    return np.zeros(rate * ms // 1000)


def take(folder: Path, name: str, data: Any, rate: int = 48_000, subtype: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    soundfile.write(folder / name, data, rate, subtype=subtype)
    return folder / name


def run(folder: Path, target: Path, script: Script = SCRIPT) -> Manifest:
    return import_takes(find_takes(folder, script), script, target, voice="A voice", licence="ours")


def entry(manifest: Manifest, prompt_id: str) -> PromptEntry:
    return next(e for e in manifest.prompt if e.id == prompt_id)


def refused(act: Callable[[], object]) -> CallwardenError:
    with pytest.raises(CallwardenError) as caught:
        act()
    assert caught.value.where
    return caught.value


@pytest.mark.parametrize(
    ("name", "rate", "subtype", "channels"),
    [
        ("ask.wav", 48_000, "PCM_24", 2),
        ("ask.wav", 44_100, "FLOAT", 1),
        ("ask.flac", 96_000, "PCM_24", 1),
        ("ask.wav", 8_000, "ULAW", 1),
        ("ask.ogg", 22_050, None, 1),
        ("ask.aiff", 11_025, "PCM_16", 2),
    ],
)
def test_any_format_becomes_what_asterisk_plays(
    tmp_path: Path, name: str, rate: int, subtype: str | None, channels: int
) -> None:
    wave = np.concatenate([hush(900, rate), sound(2000, 0.3, rate), hush(1300, rate)])
    take(tmp_path / "rec", name, np.column_stack([wave] * channels), rate, subtype)
    one = entry(run(tmp_path / "rec", tmp_path / "en"), "ask")
    pcm = samples((tmp_path / "en" / "ask.wav").read_bytes(), "ask.wav")
    measured = loudness(pcm)
    assert measured.rms_db == pytest.approx(-19, abs=0.5)
    assert (one.rms_db, one.voice, one.licence) == (measured.rms_db, "A voice", "ours")
    assert 100 <= measured.lead_ms <= 300
    assert measured.tail_ms <= 400
    assert one.duration_ms == pytest.approx(2000 + 150 + 120 + 90, abs=60)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2").astype(float)))
    assert np.argmax(spectrum) * RATE / (len(pcm) // 2) == pytest.approx(440, abs=5), "still the same pitch"


def test_resampling_folds_nothing_into_the_band(tmp_path: Path) -> None:
    """6 kHz does not exist at 8 kHz; without a filter it would come out as 2 kHz."""
    file = take(tmp_path, "ask.wav", sound(1500, 0.3, hz=500) + sound(1500, 0.3, hz=6000))
    spectrum = np.abs(np.fft.rfft(np.frombuffer(decode(file), "<i2").astype(float)))
    hz = np.arange(len(spectrum)) * RATE / (2 * (len(spectrum) - 1))
    folded = spectrum[(hz > 1900) & (hz < 2100)].max()
    assert 20 * np.log10(folded / spectrum.max()) < -80


def test_mark_is_measured_from_parts_and_else_the_end(tmp_path: Path) -> None:
    for number, ms in enumerate((1000, 700, 500), 1):
        take(tmp_path / "parts", f"ask.{number}.wav", np.concatenate([hush(400), sound(ms), hush(400)]))
    one = entry(run(tmp_path / "parts", tmp_path / "a" / "en"), "ask")
    kept = 90  # margins left around each part
    assert one.answerable_from_ms == pytest.approx(150 + 1000 + kept + 160 + 700 + kept, abs=60)
    assert one.duration_ms == pytest.approx(one.answerable_from_ms + 160 + 500 + kept + 120, abs=60)
    take(tmp_path / "whole", "ask.wav", sound(2500))
    whole = entry(run(tmp_path / "whole", tmp_path / "b" / "en"), "ask")
    assert whole.answerable_from_ms == whole.duration_ms, "nobody measured it: a key counts from the end"


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (lambda: np.clip(sound(2000, 3.0), -1, 1), "prompt.clipped", "clipped at"),
        (lambda: sound(2000, 0.0009), "prompt.quiet", "silent"),
        (lambda: sound(2000, 0.013), "prompt.quiet", "too quiet: -4"),
        (lambda: hush(2000), "prompt.quiet", "silent"),
        (lambda: sound(61_000), "prompt.length", "at most 60000 ms"),
        (lambda: sound(121_000, rate=8000), "prompt.format", "121 s long"),
        (lambda: sound(0), "prompt.empty", "no audio"),
        (lambda: np.column_stack([sound(300)] * 9), "prompt.format", "9 channels"),
    ],
)
def test_bad_take_is_refused_by_name_and_changes_nothing(
    tmp_path: Path, data: Callable[[], Any], code: str, words: str
) -> None:
    take(tmp_path / "good", "withdrawn.wav", sound(1000))
    run(tmp_path / "good", tmp_path / "en")
    before = {f.name: f.read_bytes() for f in (tmp_path / "en").iterdir()}
    take(tmp_path / "rec", "withdrawn.wav", sound(2000))
    rate = 8000 if words.startswith("121") else 48_000
    bad = take(tmp_path / "rec", "ask.wav", data(), rate)
    error = refused(lambda: run(tmp_path / "rec", tmp_path / "en"))
    assert (error.code, error.where) == (code, str(bad))
    assert words in error.message
    assert error.hint
    assert {f.name: f.read_bytes() for f in (tmp_path / "en").iterdir()} == before


@pytest.mark.parametrize(
    ("data", "code"),
    [(os.urandom(5000), "prompt.format"), (b"", "prompt.format"), (b"RIFF\xff\xff\xff\x7fWAVEfmt ", "prompt.format")],
)
def test_file_that_is_no_sound(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "ask.wav").write_bytes(data)
    error = refused(lambda: run(tmp_path / "rec", tmp_path / "en"))
    assert (error.code, error.where) == (code, str(tmp_path / "rec" / "ask.wav"))
    assert not (tmp_path / "en").exists()


def test_names_that_do_not_fit(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    assert refused(lambda: find_takes(folder, SCRIPT)).code == "prompt.none"
    take(folder, "greeting.wav", sound(500))
    unknown = refused(lambda: find_takes(folder, SCRIPT))
    assert (unknown.code, "ask, withdrawn" in unknown.hint) == ("prompt.unknown", True)
    (folder / "greeting.wav").rename(folder / "ask.2.wav")
    assert "3 parts in the script, 1 were recorded" in refused(lambda: find_takes(folder, SCRIPT)).message
    take(folder, "ask.wav", sound(500))
    assert "both there" in refused(lambda: find_takes(folder, SCRIPT)).message
    (folder / "ask.2.wav").unlink()
    take(folder, "ask.flac", sound(500))
    assert "same prompt" in refused(lambda: find_takes(folder, SCRIPT)).message


def test_other_prompts_of_the_language_stay(tmp_path: Path) -> None:
    take(tmp_path / "one", "withdrawn.wav", sound(900))
    first = run(tmp_path / "one", tmp_path / "en")
    take(tmp_path / "two", "ask.wav", sound(1500))
    both = run(tmp_path / "two", tmp_path / "en")
    assert [e.id for e in both.prompt] == ["ask", "withdrawn"], "in the script's order"
    assert entry(both, "withdrawn") == entry(first, "withdrawn")
    catalogue = Catalogue.load(tmp_path, tmp_path / "cache")
    assert [f for f in check_audio(catalogue) if f.code != "prompt.unreadable"] == []
    (tmp_path / "en" / "withdrawn.wav").unlink()
    assert refused(lambda: run(tmp_path / "two", tmp_path / "en")).code == "prompt.missing"


def test_own_words_come_before_the_shipped_ones() -> None:
    own = Script(language="en", prompt=(Spoken(id="withdrawn", version="2.0", parts=("Stopped.",)),))
    assert [(p.id, p.version) for p in merged(own, SCRIPT).prompt] == [("withdrawn", "2.0"), ("ask", "2.0")]
    assert merged(own, None) == own


def test_decoder_may_write_no_file(tmp_path: Path) -> None:
    """The limits hold in the child that meets the foreign file."""
    code = (
        "import os, sys, edge.prompts.decode as d\n"
        "d._decode = lambda: (os.write(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), b'x'), b'')\n"
        "d.main()"
    )
    target = tmp_path / "written"
    done = subprocess.run([sys.executable, "-c", code, str(target)], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, b"File too large" in done.stderr) == (1, True)
    assert target.stat().st_size == 0


def test_interrupted_import_changes_nothing(tmp_path: Path) -> None:
    take(tmp_path / "rec", "ask.wav", sound(1000))
    take(tmp_path / "rec", "withdrawn.wav", sound(1000))

    def stop(_: PromptEntry) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_takes(find_takes(tmp_path / "rec", SCRIPT), SCRIPT, tmp_path / "en", voice="v", licence="", done=stop)
    assert not (tmp_path / "en").exists()


def test_kill_between_audio_and_manifest_is_seen_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take(tmp_path / "one", "ask.wav", sound(1000))
    run(tmp_path / "one", tmp_path / "pack" / "en")
    take(tmp_path / "two", "ask.wav", sound(1500))
    write = pack.durable.write_file

    def die(path: str, data: bytes, *, mode: int) -> None:
        if path.endswith("manifest.toml"):
            raise KeyboardInterrupt
        write(path, data, mode=mode)

    with monkeypatch.context() as patch:
        patch.setattr(pack.durable, "write_file", die)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "two", tmp_path / "pack" / "en")
    assert refused(lambda: Catalogue.load(tmp_path / "pack", tmp_path / "cache")).code == "prompt.hash"
    run(tmp_path / "two", tmp_path / "pack" / "en")
    Catalogue.load(tmp_path / "pack", tmp_path / "cache")


def test_command_imports_and_check_agrees(tmp_path: Path) -> None:
    take(tmp_path / "rec", "ask.wav", sound(3000), 48_000)
    own = '[[prompt]]\nid = "ask"\nversion = "2.0"\nparts = ["May we record?", "Press one."]\nsays = ["recording", "key:1"]\n'
    (tmp_path / "rec" / "script.toml").write_text('language = "en"\n' + own)
    into = tmp_path / "pack"
    command = ("prompts", "import", str(tmp_path / "rec"), "--language", "en", "--into", str(into), "--voice", "Me")
    done = process(*command)
    assert (done.code, done.err.startswith("not there yet: ask_again, ")) == (0, True), done.err
    assert done.out.startswith("1 of 1: en/ask: ")
    file = into / "en" / "manifest.toml"
    (only,) = parse_manifest(file.read_text(), file).prompt
    assert (only.version, only.text, only.says) == ("2.0", "May we record? Press one.", ("recording", "key:1"))
    assert check_scripts(Catalogue.load(into, tmp_path / "cache")) == []
    script = into / "en" / "script.toml"
    assert parse_script(script.read_text(), script).find("notice") is not None, (
        "the shipped words are there to go on with"
    )
    looked = process("prompts", "check", str(into))
    assert (looked.code, "en\task\t2.0" in looked.out) == (0, True), looked.err
    (into / "en" / "ask.wav").write_bytes(b"RIFF")
    broken = process("prompts", "check", str(into))
    assert broken.code == 3
    assert "ask.wav" in broken.err


@pytest.mark.parametrize(("language", "code"), [("../x", "usage.language"), ("pl", "prompt.script")])
def test_command_refuses_a_language_it_has_no_words_for(tmp_path: Path, language: str, code: str) -> None:
    take(tmp_path / "rec", "ask.wav", sound(1000))
    into = tmp_path / "pack"
    done = process(
        "prompts", "import", str(tmp_path / "rec"), "--language", language, "--into", str(into), "--voice", "x"
    )
    assert (done.code, f"[{code}]" in done.err) == ({"usage.language": 2, "prompt.script": 3}[code], True), done.err
    assert not into.exists()
