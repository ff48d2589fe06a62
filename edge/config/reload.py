"""Reading the configuration again while the daemon runs: what takes effect now, and what needs a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec

from edge.config.load import load
from edge.config.schema import EdgeConfig

#: What a reload puts into effect. Everything else is built into the running daemon.
LIVE: Final = ("policies", "telephony", "agents", "notices", "retention", "keys", "jurisdictions")
_FIXED: Final = ("edge", "asterisk", "central")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """config: the old one with the live sections of the new. changed: policy name to (old version, new version), None
    where it was not or is no more. sections: other live sections that changed. restart: settings that were changed in
    the files but hold only after a restart ("edge.spool")."""

    config: EdgeConfig
    changed: dict[str, tuple[str | None, str | None]]
    sections: tuple[str, ...]
    restart: tuple[str, ...]


def reload(
    old: EdgeConfig, today: date | None = None, ordered: Mapping[str, tuple[str, str | None]] | None = None
) -> Reloaded:
    """Read `old.path` anew, with the policies that orders put in place of its own (`ordered`, see `load`). Raises
    CallwardenError as `load` does, and then nothing has changed."""
    new = load(old.path, today, ordered=ordered)
    live = {name: getattr(new, name) for name in LIVE}
    config = msgspec.structs.replace(old, **live, places=new.places)
    before = {name: policy.version for name, policy in old.policies.items()}
    after = {name: policy.version for name, policy in new.policies.items()}
    sections = tuple(name for name in LIVE[1:] if getattr(old, name) != getattr(new, name))
    return Reloaded(config, differences(before, after), sections, tuple(_fixed(old, new)))


def differences(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Name to (old, new) of every policy whose version is not what it was."""
    names = sorted({*before, *after})
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _fixed(old: EdgeConfig, new: EdgeConfig) -> Iterator[str]:
    yield from (
        f"adopt.{name}" for name in sorted({*old.adopt, *new.adopt}) if old.adopt.get(name) != new.adopt.get(name)
    )
    for section in _FIXED:
        one, other = getattr(old, section), getattr(new, section)
        for field in one.__struct_fields__:
            # Which table of jurisdictions is read may change: it has been read, and the policies were judged by it.
            if (section, field) != ("edge", "jurisdictions") and getattr(one, field) != getattr(other, field):
                yield f"{section}.{field}"
