"""Rendering the prompts: script.toml and a voice in, 8 kHz WAV files and manifest.toml out. Run by prompts/build.sh.

Each sentence is spoken by itself, so the moment from which a key counts is measured, not guessed. sox resamples
(pydub's resampling has no anti-alias filter); pydub cuts, joins and sets the level, WAV to WAV.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from pydub import AudioSegment
from pydub.silence import detect_leading_silence

from edge.prompts.audio import LONGEST_MS, RATE, duration_ms, loudness, samples
from edge.prompts.manifest import Manifest, PromptEntry, parse_manifest, render_manifest
from edge.prompts.voices import Voice, open_voice

#: Level of speech that is aimed at, and the peak that is never passed, dB of full scale.
TARGET_RMS_DB = -19.0
PEAK_DB = -1.5
#: Silence before the first word (RTP's first packets get lost) and after the last, milliseconds.
LEAD_MS = 150
TAIL_MS = 120
#: What counts as silence around a sentence, dB of full scale, before the level is set.
QUIET_DB = -58.0


class Spoken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[prompt]]` of script.toml. answerable_after: so many parts must have been said before a key counts."""

    id: str
    version: str
    parts: tuple[str, ...]
    says: tuple[str, ...] = ()
    answerable_after: int = 0


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A language's script.toml. pause_ms: between two parts."""

    language: str
    prompt: tuple[Spoken, ...]
    pause_ms: int = 220


def build(folder: Path, voice: Voice) -> Manifest:
    """Render `folder`/script.toml; writes `folder`/<id>.wav and manifest.toml, returns the manifest."""
    script = msgspec.convert(tomllib.loads((folder / "script.toml").read_text(encoding="utf-8")), Script)
    entries = []
    for spoken in script.prompt:
        with tempfile.TemporaryDirectory() as work:
            said = [_say(voice, text, Path(work) / f"{n}.wav") for n, text in enumerate(spoken.parts)]
        data, mark = _assemble(said, script.pause_ms, spoken.answerable_after)
        name = f"{spoken.id}.wav"
        (folder / name).write_bytes(data)
        entries.append(
            PromptEntry(
                id=spoken.id,
                version=spoken.version,
                text=" ".join(spoken.parts),
                file=name,
                sha256=hashlib.sha256(data).hexdigest(),
                duration_ms=duration_ms(samples(data, name)),
                answerable_from_ms=mark,
                says=spoken.says,
                voice=voice.name,
                licence=voice.licence,
            )
        )
    manifest = Manifest(language=script.language, prompt=tuple(entries))
    text = render_manifest(manifest)
    assert parse_manifest(text, folder / "manifest.toml") == manifest, "what we write is what is read"
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    return manifest


def _say(voice: Voice, text: str, wav: Path) -> Any:
    """One sentence as 8 kHz mono, without the silence around it."""
    voice.speak(text, wav)
    slow = wav.with_name(f"8k-{wav.name}")
    # -6 dB of head room: filters overshoot; the high-pass keeps hum out that phones cannot carry anyway
    effects = ["gain", "-6", "highpass", "100", "rate", "-v", str(RATE)]
    subprocess.run(["sox", "-D", str(wav), "-b", "16", "-c", "1", str(slow), *effects], check=True)
    sound = AudioSegment.from_wav(slow)
    lead = detect_leading_silence(sound, silence_threshold=QUIET_DB, chunk_size=5)
    tail = detect_leading_silence(sound.reverse(), silence_threshold=QUIET_DB, chunk_size=5)
    return sound[max(0, lead - 30) : len(sound) - max(0, tail - 60)].fade_in(5).fade_out(15)


def _assemble(said: list[Any], pause_ms: int, answerable_after: int) -> tuple[bytes, int]:
    """The WAV file's bytes, and the millisecond from which a key counts."""
    silence = AudioSegment.silent(duration=pause_ms, frame_rate=RATE)
    whole = AudioSegment.silent(duration=LEAD_MS, frame_rate=RATE)
    mark = 0
    for number, part in enumerate(said):
        whole = whole + (silence if number else AudioSegment.empty()) + part
        if number + 1 == answerable_after:
            mark = len(whole)
    whole = (whole + AudioSegment.silent(duration=TAIL_MS, frame_rate=RATE)).set_channels(1).set_sample_width(2)
    assert len(whole) <= LONGEST_MS, "a prompt this long is a lecture"
    sound = loudness(whole.raw_data)
    whole = whole.apply_gain(min(TARGET_RMS_DB - sound.rms_db, PEAK_DB - sound.peak_db))
    out = io.BytesIO()
    whole.export(out, format="wav")
    return out.getvalue(), mark


def main() -> None:
    """build.py FOLDER LANGUAGE=ENGINE:VOICE… [--styles FOLDER]."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("voices", nargs="+", metavar="LANGUAGE=ENGINE:VOICE")
    parser.add_argument("--styles", type=Path, help="folder with Kokoro's style vectors")
    given = parser.parse_args()
    for item in given.voices:
        language, _, spec = item.partition("=")
        for entry in build(given.folder / language, open_voice(spec, styles=given.styles)).prompt:
            sound = loudness(samples((given.folder / language / entry.file).read_bytes(), entry.file))
            measured = f"{sound.rms_db} dB, peak {sound.peak_db} dB, clipped {sound.clipped}, lead {sound.lead_ms} ms"
            print(f"{language}/{entry.id}: {entry.duration_ms} ms, keys from {entry.answerable_from_ms} ms, {measured}")


if __name__ == "__main__":
    main()
