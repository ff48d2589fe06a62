"""The manifest beside the audio of one language: what each file says, who spoke it, and its hash. Pure."""

from __future__ import annotations

import re
import tomllib
from pathlib import PurePath

import msgspec

from edge.errors import CallwardenError
from formats.tomlplaces import places

_VERSION = re.compile(r"[1-9][0-9]{0,3}\.[0-9]{1,4}")
_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\.(?:wav|sln)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PromptEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[prompt]]`."""

    id: str
    """What policies call it: lower-case words joined by "_"."""
    version: str
    """"major.minor"; a new major means that a remembered answer no longer counts."""
    text: str
    """Every word that is spoken."""
    file: str
    """Name of the audio beside the manifest: 8 kHz mono 16-bit, .wav or headerless .sln."""
    sha256: str
    """Of the whole file, lower-case hex."""
    duration_ms: int
    """Length of the audio."""
    answerable_from_ms: int = 0
    """A key pressed before this counts for nothing: what for, and that one may withdraw, have not been said yet."""
    rms_db: float | None = None
    """Level of the parts that are not silent, dB of full scale, measured; checked against the audio when it is there."""
    peak_db: float | None = None
    """The loudest sample, dB of full scale, measured."""
    says: tuple[str, ...] = ()
    """What the sentence states: "recording", "purpose:NAME", "withdrawal", "key:K" (agrees), "objection:K" (objects),
    "refusal", "legal", "stopped", "continues"."""
    voice: str = ""
    """Who spoke: engine, voice and version, or a person's name."""
    licence: str = ""
    """Under which licence the audio may be passed on (SPDX), with what it rests on."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A language's manifest.toml."""

    language: str
    """The language, as the folder is called."""
    prompt: tuple[PromptEntry, ...]
    """All prompts, ids unique."""


def parse_manifest(text: str, file: PurePath) -> Manifest:
    """Read one. `file` names it in errors. Raises CallwardenError prompt.manifest with file and line."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        at = re.search(r"\(at line (\d+)", str(e))
        place = f"{file}:{at[1]}" if at else str(file)
        raise CallwardenError(
            "prompt.manifest", f"not TOML: {e}", hint="callwarden prompts build writes it anew", where=place
        ) from e
    lines = places(text)

    def fail(key: tuple[str | int, ...], message: str) -> CallwardenError:
        line = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)
        hint = "docs/prompts.md describes the manifest; callwarden prompts build writes it anew"
        return CallwardenError("prompt.manifest", message, hint=hint, where=f"{file}:{line}")

    try:
        manifest = msgspec.convert(tree, Manifest)
    except msgspec.ValidationError as e:
        message, _, inner = str(e).partition(" - at `$")
        parts = inner.rstrip("`").strip(".").replace("[", ".").replace("]", "").split(".")
        raise fail(tuple(int(p) if p.isdecimal() else p for p in parts if p), message) from e
    seen: set[str] = set()
    for number, entry in enumerate(manifest.prompt):
        for field, pattern in (("id", _ID), ("version", _VERSION), ("file", _FILE), ("sha256", _SHA256)):
            value = getattr(entry, field)
            if not pattern.fullmatch(value):
                raise fail(("prompt", number, field), f"{value!r} is not a {field}")
        if entry.id in seen:
            raise fail(("prompt", number, "id"), f'prompt "{entry.id}" is there twice')
        if not 0 <= entry.answerable_from_ms <= entry.duration_ms:
            raise fail(("prompt", number, "answerable_from_ms"), "answerable_from_ms lies outside the audio")
        if not entry.text.strip():
            raise fail(("prompt", number, "text"), "a prompt without words")
        seen.add(entry.id)
    if PurePath(file).parent.name != manifest.language:
        raise fail(("language",), f'language "{manifest.language}" lies in folder "{PurePath(file).parent.name}"')
    return manifest


def render_manifest(manifest: Manifest) -> str:
    """The manifest as TOML, byte for byte the same for the same content."""
    out = [
        "# Made by `callwarden prompts build` (a voice speaks script.toml) or `callwarden prompts import` (a studio",
        "# recording). `callwarden prompts check` says what does not fit.",
        f"language = {quoted(manifest.language)}",
    ]
    for entry in manifest.prompt:
        out += ["", "[[prompt]]"]
        for field in entry.__struct_fields__:
            value = getattr(entry, field)
            if isinstance(value, tuple):
                out.append(f"{field} = [{', '.join(map(quoted, value))}]")
            elif value is not None:
                out.append(f"{field} = {value if isinstance(value, int | float) else quoted(value)}")
    return "\n".join(out) + "\n"


def quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
