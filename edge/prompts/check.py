"""Do the prompts fit the policies: every language there, every required sentence said, loud enough, readable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.config.check import Finding
from edge.config.schema import EdgeConfig
from edge.consent.policy import Policy
from edge.consent.prompt import Prompt
from edge.errors import CallwardenError
from edge.prompts.audio import loudness, samples
from edge.prompts.catalogue import Catalogue
from edge.prompts.manifest import parse_manifest
from edge.prompts.needs import Need, needs
from edge.prompts.script import parse_script

#: Speech on the phone sits near -20 dB; outside this window people strain to hear it or hold the phone away.
RMS_DB = (-28.0, -12.0)
#: Silence before the first word, milliseconds: longer and callers think the line is dead.
LONGEST_LEAD_MS = 700
#: Silence after the last, milliseconds: the answer window begins behind it.
LONGEST_TAIL_MS = 1500


def check_policies(config: EdgeConfig, catalogue: Catalogue) -> list[Finding]:
    """Every prompt that a policy's calls can come to need (`needs`), in every language it names: is it there, does it
    say what it must, can it be heard.

    Findings of severity "error" forbid recording under that policy; the app asks at start and at each reload.
    """
    found: dict[Finding, None] = {}
    for name, policy in config.policies.items():
        for need in needs(policy):
            place = _place(config, policy, need.language)
            found |= dict.fromkeys(_judge(f'policy "{name}"', place, need, catalogue))
    return list(found)


def _place(config: EdgeConfig, policy: Policy, language: str) -> str:
    """Where the policy names the language."""
    if language in policy.languages:
        return config.where("policy", policy.name, "languages", policy.languages.index(language))
    for key in ("language_did", "language_choice"):
        for word, named in getattr(policy, key).items():
            if named == language:
                return config.where("policy", policy.name, key, word)
    return config.where("policy", policy.name)


def _judge(who: str, place: str, need: Need, catalogue: Catalogue) -> Iterator[Finding]:
    manifest = catalogue.folder / need.language / "manifest.toml"
    try:
        prompt = catalogue.resolve(need.prompt_id, need.language)
    except CallwardenError as e:
        hint = (
            f"{e.hint}; {manifest} is where it belongs: callwarden prompts import, or copy it from the shipped prompts"
        )
        yield Finding(e.code, "error", f"{who}: {e.message}", hint, place)
        return
    if missing := sorted(need.says - set(prompt.says)):
        message = f"{who}: prompt {need.language}/{prompt.id} does not say {', '.join(missing)}"
        hint = f"record one that says it and list it in says in {manifest}, or change the policy's purposes and keys"
        yield Finding("prompt.says", "error", message, hint, place)
    for finding in _sound(prompt):
        if finding.severity == "error":
            yield Finding(finding.code, "error", f"{who}: {finding.message}", finding.hint, place)


def check_audio(catalogue: Catalogue) -> list[Finding]:
    """How the prompts sound, measured, and whether another user (Asterisk) can reach them."""
    return [finding for prompt in catalogue.all for finding in (*_sound(prompt), *_reach(prompt))]


def check_scripts(catalogue: Catalogue) -> list[Finding]:
    """Where a script.toml lies beside a manifest: do both have the same words. Raises prompt.script, prompt.manifest."""
    found = []
    for file in sorted(catalogue.folder.glob("*/script.toml")):
        script = parse_script(file.read_text(encoding="utf-8"), file)
        beside = file.with_name("manifest.toml")
        if not beside.exists():
            continue
        hint = "render or record it anew (callwarden prompts build, import), or correct the one that is wrong"
        for entry in parse_manifest(beside.read_text(encoding="utf-8"), beside).prompt:
            spoken = script.find(entry.id)
            if spoken is None:
                continue
            for what, ours, theirs in (
                ("text", entry.text, spoken.text),
                ("version", entry.version, spoken.version),
                ("says", sorted(entry.says), sorted(spoken.says)),
            ):
                if ours != theirs:
                    message = f"{what} of prompt {script.language}/{entry.id} is {ours!r}, its script says {theirs!r}"
                    found.append(Finding("prompt.script", "error", message, hint, str(beside)))
    return found


def _sound(prompt: Prompt) -> Iterator[Finding]:
    sound = loudness(samples(Path(prompt.file).read_bytes(), prompt.file))
    name = f"prompt {prompt.language}/{prompt.id}"
    if not RMS_DB[0] <= sound.rms_db <= RMS_DB[1]:
        too = "too loud" if sound.rms_db > RMS_DB[1] else "too quiet"
        message = f"{name} is {too}: {sound.rms_db} dB; {RMS_DB[0]:g} to {RMS_DB[1]:g} dB is easy to hear"
        hint = "callwarden prompts import sets the level"
        yield Finding("prompt.loudness", "error", message, hint, prompt.file)
    if sound.clipped:
        message = f"{name} is clipped at {sound.clipped} places"
        yield Finding("prompt.clipped", "error", message, "record it at a lower level", prompt.file)
    for part, measured, longest in (
        ("begins", sound.lead_ms, LONGEST_LEAD_MS),
        ("ends", sound.tail_ms, LONGEST_TAIL_MS),
    ):
        if measured > longest and not sound.silent:
            message = f"{name} {part} with {measured} ms of silence"
            yield Finding("prompt.silence", "warning", message, "callwarden prompts import trims it", prompt.file)


def _reach(prompt: Prompt) -> Iterator[Finding]:
    if closed := _closed_folder(Path(prompt.file)):
        message = (
            f"{closed} cannot be entered by other users, so Asterisk cannot play prompt {prompt.language}/{prompt.id}"
        )
        yield Finding("prompt.unreadable", "error", message, f"chmod o+x {closed}", prompt.file)


def _closed_folder(file: Path) -> Path | None:
    """The outermost folder on the way to `file` that others may not enter."""
    return next((p for p in reversed(file.parents) if not p.stat().st_mode & 0o001), None)
