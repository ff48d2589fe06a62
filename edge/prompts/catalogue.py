"""The prompts a daemon can play: hashed at load, copied to a folder of its own by hash, checked again at play.

What a caller heard is evidence, so the file that is played is the daemon's own copy in `prompt_cache/<sha256>/`, and
the hash in the evidence is taken from the bytes that lie there.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edge import durable
from edge.consent.prompt import Prompt
from edge.errors import CallwardenError
from edge.prompts.audio import duration_ms, loudness, samples
from edge.prompts.manifest import PromptEntry, parse_manifest

_Stamp = tuple[int, int, int, int, int]
#: How far a level that was measured by other means may be off, dB.
_LEVEL_SLACK_DB = 0.5
_HINT = "put the file back and reload, or render it anew: callwarden prompts build"


class Catalogue:
    """Prompts of every language found below `folder`. Blocking file I/O; small (a few MB for six languages)."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self._cache = cache
        self._prompts: dict[tuple[str, str], Prompt] = {}
        self._checked: dict[str, _Stamp] = {}

    @classmethod
    def load(cls, folder: Path, cache: Path) -> Catalogue:
        """Read `folder`/<lang>/manifest.toml and audio, copy each file to `cache`/<sha256>/<lang>-<id>.<ext>.

        Raises CallwardenError `prompt.*` naming the file and the fix: missing, empty, wrong codec, cut; hash, length or
        level not as the manifest says.
        """
        found = cls(folder, cache.absolute())
        manifests = sorted(folder.glob("*/manifest.toml"))
        if not manifests:
            hint = "name the folder that holds en/manifest.toml as prompts in [edge]"
            raise CallwardenError("prompt.none", "there are no prompts", hint=hint, where=str(folder))
        for file in manifests:
            manifest = parse_manifest(_read(file).decode("utf-8", "replace"), file)
            for entry in manifest.prompt:
                found._take(file.parent / entry.file, manifest.language, entry)
        return found

    def become(self, other: Catalogue) -> None:
        """Play what `other` has from now on. Prompts that a conversation holds stay playable: copies are never removed."""
        self._prompts, self._checked = other._prompts, other._checked

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that have any prompt, sorted."""
        return tuple(sorted({language for _, language in self._prompts}))

    @property
    def all(self) -> tuple[Prompt, ...]:
        """Every prompt, by language and id."""
        return tuple(sorted(self._prompts.values(), key=lambda p: (p.language, p.id)))

    def resolve(self, prompt_id: str, language: str) -> Prompt:
        """The prompt of this id in exactly this language. Raises prompt.no_language or prompt.unknown."""
        if prompt := self._prompts.get((prompt_id, language)):
            return prompt
        others = sorted(lang for pid, lang in self._prompts if pid == prompt_id)
        if others:
            message = f'prompt "{prompt_id}" is not there in language "{language}"'
            hint = f"it is there in {', '.join(others)}; add {language}/manifest.toml with it"
            raise CallwardenError("prompt.no_language", message, hint=hint, where=f"{language}/{prompt_id}")
        ids = ", ".join(sorted({pid for pid, _ in self._prompts}))
        message = f'there is no prompt "{prompt_id}"'
        raise CallwardenError("prompt.unknown", message, hint=f"there are: {ids}", where=f"{language}/{prompt_id}")

    def verify(self, prompt: Prompt) -> None:
        """Just before it is played: the copy is there and has the hash that evidence will name.

        The bytes are read again only when the file's identity, size or times changed. Raises prompt.missing,
        prompt.empty or prompt.changed; then the prompt does not count as played.
        """
        try:
            stamp = _stamp(prompt.file)
            if self._checked.get(prompt.file) == stamp:
                return
            data = Path(prompt.file).read_bytes()
        except OSError as e:
            self._checked.pop(prompt.file, None)
            message = f"the prompt cannot be read: {e.strerror}"
            raise CallwardenError("prompt.missing", message, hint=_HINT, where=prompt.file) from e
        if hashlib.sha256(data).hexdigest() != prompt.sha256:
            self._checked.pop(prompt.file, None)
            if not data:
                raise CallwardenError("prompt.empty", "the prompt's file is empty", hint=_HINT, where=prompt.file)
            message = "the prompt is not the audio that was loaded"
            raise CallwardenError("prompt.changed", message, hint=_HINT, where=prompt.file)
        self._checked[prompt.file] = stamp

    def _take(self, file: Path, language: str, entry: PromptEntry) -> None:
        data = _read(file)
        pcm = samples(data, str(file))
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry.sha256:
            message = f"the audio's SHA-256 is {digest}, the manifest says {entry.sha256}"
            hint = "put the right file back; for a new recording write its hash, length and a new version into the manifest"
            raise CallwardenError("prompt.hash", message, hint=hint, where=str(file))
        if duration_ms(pcm) != entry.duration_ms:
            message = f"the audio is {duration_ms(pcm)} ms long, the manifest says {entry.duration_ms}"
            raise CallwardenError("prompt.length", message, hint="correct duration_ms", where=str(file))
        level = loudness(pcm).rms_db
        if entry.rms_db is not None and abs(level - entry.rms_db) > _LEVEL_SLACK_DB:
            message = f"the audio is at {level} dB, the manifest says {entry.rms_db}"
            raise CallwardenError("prompt.loudness", message, hint="correct rms_db", where=str(file))
        copy = self._cache / digest / f"{language}-{entry.id}{file.suffix}"
        _copy(data, copy)
        self._checked[str(copy)] = _stamp(str(copy))
        self._prompts[entry.id, language] = Prompt(
            id=entry.id,
            version=entry.version,
            language=language,
            sha256=digest,
            path=str(copy.with_suffix("")),
            file=str(copy),
            duration_ms=entry.duration_ms,
            answerable_from_ms=entry.answerable_from_ms,
            text=entry.text,
            says=entry.says,
        )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as e:
        message = f"the prompt's file cannot be read: {e.strerror}"
        raise CallwardenError("prompt.missing", message, hint=_HINT, where=str(file)) from e


def _stamp(file: str) -> _Stamp:
    state = os.stat(file)
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def _copy(data: bytes, target: Path) -> None:
    """Put `data` there in one step (temp file, fsync, rename), readable by all: Asterisk is another user."""
    try:
        for folder in (target.parent.parent, target.parent):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
        if target.is_file() and not target.is_symlink() and target.read_bytes() == data:
            target.chmod(0o644)
            return
        durable.write_file(str(target), data, mode=0o644)
    except OSError as e:
        hint = "the daemon's user must own prompt_cache"
        message = f"the prompt cannot be copied: {e.strerror}"
        raise CallwardenError("prompt.cache", message, hint=hint, where=str(target)) from e
