"""Studio recordings into a language folder: decoded in a child, resampled, trimmed, levelled, hashed.

A recording is `<id>.wav` (or another ending in ENDINGS), or one file per part of the script, `<id>.1.wav`,
`<id>.2.wav` …: then the moment from which a key counts is measured. From a single file it cannot be known, so a key
counts from the end of the audio, which is safe.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import CallwardenError
from edge.prompts.audio import LONGEST_MS, RATE, WIDTH, duration_ms, levelled, loudness, wav_file
from edge.prompts.manifest import Manifest, PromptEntry, parse_manifest
from edge.prompts.pack import LEAD_MS, TAIL_MS, entry_of, write_pack
from edge.prompts.script import Script, Spoken

ENDINGS: Final = (".wav", ".flac", ".aiff", ".aif", ".ogg", ".mp3")
#: A recording under this is too quiet to be raised without its noise, dB of full scale.
QUIETEST_DB: Final = -40.0
#: Most the child may answer: two minutes of PCM and its header, bytes; and how long it may take, seconds.
_MOST: Final = 121 * RATE * WIDTH + 4096
_DEADLINE_S: Final = 90.0
#: The child leaves this head room (`edge.prompts.decode`), dB.
_HEAD_ROOM_DB: Final = 6.0
#: Kept before the first and after the last loud window, so that soft sounds are not cut, milliseconds.
_MARGIN_BEFORE_MS, _MARGIN_AFTER_MS = 30, 60


@dataclass(frozen=True, slots=True)
class Take:
    """What was found for one prompt: a file per part, or one file."""

    spoken: Spoken
    files: tuple[Path, ...]


def find_takes(folder: Path, script: Script) -> list[Take]:
    """The recordings in `folder`, in the script's order.

    Raises CallwardenError prompt.none, prompt.unknown (a file that no prompt is called by) or prompt.parts.
    """
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in ENDINGS and f.is_file())
    by_name: dict[str, Path] = {}
    for file in files:
        if other := by_name.get(file.stem):
            message = f"{other.name} and {file.name} are the same prompt"
            raise CallwardenError("prompt.parts", message, hint="keep one of them", where=str(folder))
        by_name[file.stem] = file
    takes = []
    for spoken in script.prompt:
        numbered = [f"{spoken.id}.{n}" for n in range(1, len(spoken.parts) + 1)]
        parts = [by_name.pop(name) for name in numbered if name in by_name]
        whole = by_name.pop(spoken.id, None)
        if whole and parts:
            message = f"{whole.name} and {parts[0].name} are both there"
            raise CallwardenError("prompt.parts", message, hint="keep the parts, or the whole", where=str(folder))
        if parts and len(parts) < len(spoken.parts):
            message = f'prompt "{spoken.id}" has {len(spoken.parts)} parts in the script, {len(parts)} were recorded'
            raise CallwardenError("prompt.parts", message, hint=f"they are {', '.join(numbered)}", where=str(folder))
        if found := tuple(parts) or ((whole,) if whole else ()):
            takes.append(Take(spoken, found))
    if by_name:
        file = next(iter(by_name.values()))
        ids = ", ".join(p.id for p in script.prompt)
        hint = f"call it by its prompt, or add it to a script.toml in {folder}; the script has {ids}"
        raise CallwardenError("prompt.unknown", "no prompt is called so", hint=hint, where=str(file))
    if not takes:
        hint = f"name the files by their prompts, for example ask.wav or ask.1.wav ({', '.join(ENDINGS)})"
        raise CallwardenError("prompt.none", "there is no recording", hint=hint, where=str(folder))
    return takes


def import_takes(
    takes: Iterable[Take],
    script: Script,
    target: Path,
    *,
    voice: str,
    licence: str,
    done: Callable[[PromptEntry], None] = lambda _: None,
) -> Manifest:
    """Make the recordings prompts of `target` (a language folder); its other prompts stay. `done` hears of each.

    Nothing is written before every recording has been taken, so an interrupted or refused import changes nothing.
    Raises CallwardenError prompt.* or environment.studio, naming the file.
    """
    made: dict[str, tuple[PromptEntry, bytes]] = {}
    for take in takes:
        pieces = [trimmed(decode(file), file) for file in take.files]
        data, mark = _join(pieces, script.pause_ms, take.spoken, take.files[0])
        made[take.spoken.id] = entry_of(take.spoken, data, mark, voice, licence), data
        done(made[take.spoken.id][0])
    target.mkdir(parents=True, exist_ok=True)
    order = [p.id for p in script.prompt]
    kept = [(entry, data) for entry, data in _there(target) if entry.id not in made]
    every = sorted((*kept, *made.values()), key=lambda m: order.index(m[0].id) if m[0].id in order else len(order))
    return write_pack(target, script.language, every)


def decode(file: Path) -> bytes:
    """The recording as 8 kHz mono PCM with head room, from a child process (`edge.prompts.decode`)."""
    command = [sys.executable, "-m", "edge.prompts.decode"]
    try:
        with file.open("rb") as sound:
            answer = subprocess.run(command, stdin=sound, capture_output=True, timeout=_DEADLINE_S, check=False)
    except OSError as e:
        raise CallwardenError("prompt.missing", f"it cannot be read: {e.strerror}", where=str(file)) from e
    except subprocess.TimeoutExpired as e:
        raise CallwardenError("prompt.format", "decoding it takes too long", hint=_PLAIN, where=str(file)) from e
    head, _, pcm = answer.stdout[:_MOST].partition(b"\n")
    try:
        told = json.loads(head)
    except ValueError as e:
        message = f"the decoder ended with exit code {answer.returncode}"
        raise CallwardenError("prompt.format", message, hint=_PLAIN, where=str(file)) from e
    if "error" in told:
        code, message = told["error"]
        hint = "pip install 'callwarden[studio]'" if code == "environment.studio" else _PLAIN
        raise CallwardenError(code, message, hint=hint, where=str(file))
    if told["clipped"]:
        message = f"it is clipped at {told['clipped']} places: what is cut off cannot be mended"
        raise CallwardenError("prompt.clipped", message, hint="record it at a lower level", where=str(file))
    return pcm


_PLAIN: Final = "save it as WAV or FLAC, 16 or 24 bit, and try again"


def trimmed(pcm: bytes, file: Path) -> bytes:
    """The speech without the silence around it. Raises prompt.quiet, prompt.length."""
    heard = loudness(pcm)
    level = heard.rms_db + _HEAD_ROOM_DB
    if heard.silent or level < QUIETEST_DB:
        said = "it is silent" if heard.silent else f"it is too quiet: {level:.1f} dB"
        message = f"{said}; from {QUIETEST_DB:g} dB on it can be raised without its noise"
        raise CallwardenError("prompt.quiet", message, hint="record it louder, nearer the microphone", where=str(file))
    sound = loudness(levelled(pcm))
    per_ms = RATE // 1000 * WIDTH
    first = max(0, sound.lead_ms - _MARGIN_BEFORE_MS) * per_ms
    last = len(pcm) - max(0, sound.tail_ms - _MARGIN_AFTER_MS) * per_ms
    speech = pcm[first : last // WIDTH * WIDTH]
    if duration_ms(speech) + LEAD_MS + TAIL_MS > LONGEST_MS:
        message = f"it is {duration_ms(speech)} ms of speech; a prompt is at most {LONGEST_MS} ms"
        raise CallwardenError("prompt.length", message, hint="say it in fewer words", where=str(file))
    return speech


def _join(pieces: list[bytes], pause_ms: int, spoken: Spoken, file: Path) -> tuple[bytes, int]:
    """The WAV file's bytes, and the millisecond from which a key counts."""
    per_ms = RATE // 1000 * WIDTH
    # each part at one level first: a speaker leans back between takes
    even = [levelled(piece) for piece in pieces]
    pcm = bytes(LEAD_MS * per_ms) + bytes(pause_ms * per_ms).join(even) + bytes(TAIL_MS * per_ms)
    length = duration_ms(pcm)
    if length > LONGEST_MS:
        message = f"together it is {length} ms; a prompt is at most {LONGEST_MS} ms"
        raise CallwardenError("prompt.length", message, hint="say it in fewer words", where=str(file))
    if not spoken.answerable_after:
        return wav_file(levelled(pcm)), 0
    if len(pieces) == 1 and len(spoken.parts) > 1:
        return wav_file(levelled(pcm)), length
    ends = itertools.accumulate(len(piece) for piece in pieces)
    before = list(ends)[spoken.answerable_after - 1] // per_ms + pause_ms * (spoken.answerable_after - 1)
    return wav_file(levelled(pcm)), min(length, LEAD_MS + before)


def _there(target: Path) -> list[tuple[PromptEntry, bytes]]:
    """The prompts that `target` has already, with their audio."""
    file = target / "manifest.toml"
    try:
        entries = parse_manifest(file.read_text(encoding="utf-8"), file).prompt
        return [(entry, (target / entry.file).read_bytes()) for entry in entries]
    except FileNotFoundError as e:
        if e.filename == str(file):
            return []
        hint = "put it back, or import into a new folder"
        raise CallwardenError("prompt.missing", "the prompt's file is not there", hint=hint, where=e.filename) from e
