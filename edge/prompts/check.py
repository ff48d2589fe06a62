"""Do the prompts fit the policies: every language there, every required sentence said, loud enough, readable."""

from __future__ import annotations

from pathlib import Path

from edge.config.check import Finding
from edge.config.schema import EdgeConfig
from edge.consent.policy import required_sayings
from edge.errors import CallwardenError
from edge.prompts.audio import loudness, samples
from edge.prompts.catalogue import Catalogue

#: Speech on the phone sits near -20 dB; outside this window people strain to hear it or hold the phone away.
RMS_DB = (-28.0, -12.0)
#: Silence before the first word, milliseconds: longer and callers think the line is dead.
LONGEST_LEAD_MS = 700


def check_policies(config: EdgeConfig, catalogue: Catalogue) -> list[Finding]:
    """Findings of severity "error" forbid recording under that policy; the app asks at start and at each reload."""
    found = []
    for name, policy in config.policies.items():
        needed = set(required_sayings(policy))
        if not needed:
            continue
        for number, language in enumerate(policy.languages):
            place = config.where("policy", name, "languages", number)
            try:
                prompt = catalogue.resolve(policy.prompt_id, language)
            except CallwardenError as e:
                found.append(Finding(e.code, "error", f'policy "{name}": {e.message}', e.hint, place))
                continue
            if missing := sorted(needed - set(prompt.says)):
                message = f'policy "{name}": prompt {language}/{prompt.id} does not say {", ".join(missing)}'
                hint = "record a prompt that says it and list it in says, or change the policy's purposes or yes_key"
                found.append(Finding("prompt.says", "error", message, hint, place))
    return found


def check_audio(catalogue: Catalogue) -> list[Finding]:
    """How the prompts sound, measured, and whether another user (Asterisk) can reach them."""
    found = []
    for prompt in catalogue.all:
        sound = loudness(samples(Path(prompt.file).read_bytes(), prompt.file))
        name = f"prompt {prompt.language}/{prompt.id}"
        hint = "normalise the recording: sox IN OUT.wav gain -n -3"
        if not RMS_DB[0] <= sound.rms_db <= RMS_DB[1]:
            message = f"{name} is at {sound.rms_db} dB; {RMS_DB[0]:g} to {RMS_DB[1]:g} dB is easy to hear"
            found.append(Finding("prompt.loudness", "warning", message, hint, prompt.file))
        if sound.clipped:
            message = f"{name} is clipped at {sound.clipped} places"
            found.append(Finding("prompt.clipped", "warning", message, "record it at a lower level", prompt.file))
        if sound.lead_ms > LONGEST_LEAD_MS:
            message = f"{name} begins with {sound.lead_ms} ms of silence"
            found.append(Finding("prompt.silence", "warning", message, "cut the beginning", prompt.file))
        if closed := _closed_folder(Path(prompt.file)):
            message = f"{closed} cannot be entered by other users, so Asterisk cannot play {name}"
            found.append(Finding("prompt.unreadable", "error", message, f"chmod o+x {closed}", prompt.file))
    return found


def _closed_folder(file: Path) -> Path | None:
    """The outermost folder on the way to `file` that others may not enter."""
    return next((p for p in reversed(file.parents) if not p.stat().st_mode & 0o001), None)
