"""`[adopt.NAME]`: a folder that is emptied into the vault as long as the daemon runs, and what does not fit in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from edge.config.sections import Wrong
from edge.consent.policy import Policy
from edge.consent.units import Seconds


class AdoptSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[adopt.NAME]`: a folder that a PBX goes on filling by itself. Each file is sealed once it is closed and settled, and
    removed when that is durable."""

    folder: Path
    """The folder, with all that is beneath it: /var/spool/asterisk/monitor. The daemon's user must be able to read its
    files and to remove them."""
    policy: str
    """The policy whose recipients, purposes and retention hold for these recordings."""
    basis: Literal["consent", "contract", "legitimate_interests", "public_task", "legal_obligation", "vital_interests"]
    """Legal basis (GDPR Art. 6(1)) on which they were made and are kept."""
    reference: str
    """Where the basis is written down, with its date."""
    evidence: str
    """Where it is documented that people had agreed, or were told."""
    timezone: str
    """What the times in file names are in: "Europe/Prague". No default: a wrong one moves every recording."""
    settle: Seconds = Seconds(60)
    """How long a file must have been left alone, 1 s to 1 d. Default "1m": longer than a recorder pauses."""
    keep_names: bool = False
    """Whether file names, which hold numbers, are stored with the recordings. Default false."""


def of_adopt(
    services: Mapping[str, AdoptSection], policies: Mapping[str, Policy], private: tuple[Path, ...]
) -> Iterator[Wrong]:
    """What is wrong with `services`. `private`: folders of the daemon's own, which no service may empty."""
    for name, one in services.items():
        key = ("adopt", name)
        policy = policies.get(one.policy)
        if policy is None or policy.mode == "never":
            what = "there is no such policy" if policy is None else "a policy that never records keeps nothing"
            yield Wrong((*key, "policy"), "config.value", f"{one.policy!r}: {what}", "name one with recipients")
        for words in ("reference", "evidence"):
            if not 0 < len(getattr(one, words).strip()) <= 400:
                hint = "name the document, with its date, in 1 to 400 characters"
                yield Wrong((*key, words), "config.value", f"adopt.{name} has no {words}", hint)
        if not _is_zone(one.timezone):
            hint = 'for example "Europe/Prague" or "UTC"'
            yield Wrong((*key, "timezone"), "config.value", f"{one.timezone!r} is no time zone", hint)
        if not 1 <= one.settle <= 86400:
            message = f"settle of {one.settle:g} s is out of range"
            yield Wrong((*key, "settle"), "config.value", message, "1 s to 1 d")
        for folder in private:
            if one.folder == folder or folder in one.folder.parents or one.folder in folder.parents:
                message, hint = f"{folder} is the daemon's own", "name the PBX's folder of recordings"
                yield Wrong((*key, "folder"), "config.value", message, hint)
    folders = [(name, one.folder) for name, one in services.items()]
    for name, folder in folders:
        if other := next(
            (n for n, f in folders if n < name and (f == folder or f in folder.parents or folder in f.parents)), ""
        ):
            message = f"adopt.{other} empties this folder too"
            yield Wrong(("adopt", name, "folder"), "config.value", message, "one service for a folder")


def _is_zone(text: str) -> bool:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
