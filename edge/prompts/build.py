"""Rendering the prompts: script.toml and a voice in, 8 kHz WAV files and manifest.toml out. Run by `callwarden prompts build`.

Each sentence is spoken by itself, so the moment from which a key counts is measured, not guessed. sox resamples
(pydub's resampling has no anti-alias filter); pydub cuts, joins and sets the level, WAV to WAV.
"""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.errors import CallwardenError
from edge.prompts.audio import LONGEST_MS, RATE, levelled, wav_file
from edge.prompts.manifest import Manifest, PromptEntry
from edge.prompts.pack import LEAD_MS, TAIL_MS, entry_of, read_script, write_pack
from edge.prompts.script import Spoken
from edge.prompts.voices import Voice

with warnings.catch_warnings():  # pydub looks for ffmpeg, which we never ask it for
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.generators import Sine
    from pydub.silence import detect_leading_silence

#: What counts as silence around a sentence, dB of full scale, before the level is set.
QUIET_DB = -58.0
#: Who made a tone: nobody spoke, and a sine belongs to nobody.
TONE_VOICE, TONE_LICENCE = "sine", "Apache-2.0"


def build(folder: Path, voice: Voice, *, done: Callable[[PromptEntry], None] = lambda _: None) -> Manifest:
    """Render `folder`/script.toml; writes `folder`/<id>.wav and manifest.toml, returns the manifest.

    `done` hears of each prompt. Nothing is written before everything is rendered. Raises CallwardenError prompt.script.
    """
    script = read_script(folder)
    made: list[tuple[PromptEntry, bytes]] = []
    for spoken in script.prompt:
        data, mark = _render(spoken, voice, script.pause_ms)
        speaker = (TONE_VOICE, TONE_LICENCE) if spoken.tone else (voice.name, voice.licence)
        made.append((entry_of(spoken, data, mark, *speaker), data))
        done(made[-1][0])
    return write_pack(folder, script.language, made)


def _render(spoken: Spoken, voice: Voice, pause_ms: int) -> tuple[bytes, int]:
    if spoken.tone:
        sine = Sine(spoken.tone.hz, sample_rate=RATE).to_audio_segment(spoken.tone.ms).fade_in(10).fade_out(10)
        return assemble([sine], pause_ms, 0)
    with tempfile.TemporaryDirectory() as work:
        said = [_say(voice, text, Path(work) / f"{n}.wav") for n, text in enumerate(spoken.parts)]
    return assemble(said, pause_ms, spoken.answerable_after)


def _say(voice: Voice, text: str, wav: Path) -> Any:
    """One sentence as 8 kHz mono, without the silence around it."""
    slow = wav.with_name(f"8k-{wav.name}")
    # -6 dB of head room: filters overshoot; the high-pass keeps hum out that phones cannot carry anyway
    effects = ["gain", "-6", "highpass", "100", "rate", "-v", str(RATE)]
    try:
        voice.speak(text, wav)
        subprocess.run(["sox", "-D", str(wav), "-b", "16", "-c", "1", str(slow), *effects], check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        hint = "docs/prompts.md says what the engines need; espeak:LANG works everywhere"
        raise CallwardenError("prompt.voice", f"{voice.name} cannot say {text!r}: {e}", hint=hint) from e
    sound = AudioSegment.from_wav(slow)
    lead = detect_leading_silence(sound, silence_threshold=QUIET_DB, chunk_size=5)
    tail = detect_leading_silence(sound.reverse(), silence_threshold=QUIET_DB, chunk_size=5)
    return sound[max(0, lead - 30) : len(sound) - max(0, tail - 60)].fade_in(5).fade_out(15)


def assemble(said: list[Any], pause_ms: int, answerable_after: int) -> tuple[bytes, int]:
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
    return wav_file(levelled(whole.raw_data)), mark
