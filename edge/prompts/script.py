"""A language's script.toml: the sentences a voice or a person speaks, in parts. Pure.

Each part is spoken by itself, so that the moment from which a key counts (`answerable_after`) is measured, not guessed.
"""

from __future__ import annotations

import tomllib
from pathlib import PurePath

import msgspec

from edge.errors import CallwardenError
from edge.prompts.manifest import quoted
from formats.tomlplaces import places


class Tone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A sine instead of words. hz: 200 to 3400 (what a telephone carries); ms: 50 to 2000."""

    hz: int
    ms: int


class Spoken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[prompt]]` of script.toml. answerable_after: so many parts must have been said before a key counts."""

    id: str
    version: str
    parts: tuple[str, ...]
    says: tuple[str, ...] = ()
    answerable_after: int = 0
    tone: Tone | None = None

    @property
    def text(self) -> str:
        """Every word of it, as the manifest has it."""
        return " ".join(self.parts)


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A language's script.toml. pause_ms: between two parts."""

    language: str
    prompt: tuple[Spoken, ...]
    pause_ms: int = 220

    def find(self, prompt_id: str) -> Spoken | None:
        """The prompt of this id."""
        return next((p for p in self.prompt if p.id == prompt_id), None)


def merged(own: Script, shipped: Script | None) -> Script:
    """`own`, and what only `shipped` has after it."""
    if shipped is None:
        return own
    more = tuple(p for p in shipped.prompt if own.find(p.id) is None)
    return msgspec.structs.replace(own, prompt=own.prompt + more)


def render_script(script: Script) -> str:
    """The script as TOML."""
    out = [f"language = {quoted(script.language)}", f"pause_ms = {script.pause_ms}"]
    for spoken in script.prompt:
        out += ["", "[[prompt]]", f"id = {quoted(spoken.id)}", f"version = {quoted(spoken.version)}"]
        if spoken.says:
            out.append(f"says = [{', '.join(map(quoted, spoken.says))}]")
        if spoken.answerable_after:
            out.append(f"answerable_after = {spoken.answerable_after}")
        out += ["parts = [", *(f"  {quoted(part)}," for part in spoken.parts), "]"]
        if spoken.tone:
            out.append(f"tone = {{ hz = {spoken.tone.hz}, ms = {spoken.tone.ms} }}")
    return "\n".join(out) + "\n"


def parse_script(text: str, file: PurePath) -> Script:
    """Read one. `file` names it in errors. Raises CallwardenError prompt.script with file and line."""
    hint = "docs/prompts.md describes the script"
    try:
        tree = tomllib.loads(text)
        script = msgspec.convert(tree, Script)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as e:
        raise CallwardenError("prompt.script", str(e), hint=hint, where=str(file)) from e
    lines = places(text)
    seen: set[str] = set()
    for number, spoken in enumerate(script.prompt):
        line = lines.get(("prompt", number), 1)
        problem = ""
        if not spoken.parts or not all(part.strip() for part in spoken.parts):
            problem = f'prompt "{spoken.id}" has a part without words'
        elif not 0 <= spoken.answerable_after <= len(spoken.parts):
            problem = f'answerable_after of "{spoken.id}" counts more parts than there are'
        elif spoken.id in seen:
            problem = f'prompt "{spoken.id}" is there twice'
        elif spoken.tone and not (200 <= spoken.tone.hz <= 3400 and 50 <= spoken.tone.ms <= 2000):
            problem = f'tone of "{spoken.id}" lies outside 200 to 3400 Hz and 50 to 2000 ms'
        if problem:
            raise CallwardenError("prompt.script", problem, hint=hint, where=f"{file}:{line}")
        seen.add(spoken.id)
    return script
