"""A language folder as it is written: WAV files, manifest.toml, script.toml. Blocking file I/O."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge import durable
from edge.errors import CallwardenError
from edge.prompts.audio import duration_ms, loudness, samples
from edge.prompts.manifest import Manifest, PromptEntry, parse_manifest, render_manifest
from edge.prompts.script import Script, Spoken, parse_script, render_script

#: Silence before the first word (RTP's first packets get lost) and after the last, milliseconds.
LEAD_MS = 150
TAIL_MS = 120


def entry_of(spoken: Spoken, data: bytes, mark: int, voice: str, licence: str) -> PromptEntry:
    """The manifest's entry for a WAV file whose keys count from `mark` milliseconds, measured."""
    name = f"{spoken.id}.wav"
    pcm = samples(data, name)
    sound = loudness(pcm)
    return PromptEntry(
        id=spoken.id,
        version=spoken.version,
        text=spoken.text,
        file=name,
        sha256=hashlib.sha256(data).hexdigest(),
        duration_ms=duration_ms(pcm),
        answerable_from_ms=mark,
        rms_db=sound.rms_db,
        peak_db=sound.peak_db,
        says=spoken.says,
        voice=voice,
        licence=licence,
    )


def write_pack(folder: Path, language: str, made: list[tuple[PromptEntry, bytes]]) -> Manifest:
    """Write the audio, then manifest.toml. A kill between the two leaves audio that the old manifest does not vouch for:
    such a folder is refused at load, and writing it again mends it."""
    manifest = Manifest(language=language, prompt=tuple(entry for entry, _ in made))
    text = render_manifest(manifest)
    assert parse_manifest(text, folder / "manifest.toml") == manifest, "what we write is what is read"
    for entry, data in made:
        durable.write_file(str(folder / entry.file), data, mode=0o644)
    durable.write_file(str(folder / "manifest.toml"), text.encode(), mode=0o644)
    return manifest


def write_script(folder: Path, script: Script) -> None:
    """Write `folder`/script.toml in one step."""
    durable.write_file(str(folder / "script.toml"), render_script(script).encode(), mode=0o644)


def read_script(folder: Path) -> Script:
    """`folder`/script.toml. Raises CallwardenError prompt.script."""
    file = folder / "script.toml"
    try:
        return parse_script(file.read_text(encoding="utf-8"), file)
    except (OSError, UnicodeDecodeError) as e:
        hint = "a language folder has a script.toml: copy the shipped one of that language"
        raise CallwardenError("prompt.script", f"it cannot be read: {e}", hint=hint, where=str(file)) from e
