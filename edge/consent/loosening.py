"""What of a policy's change records more, asks less, or lets more be known: that waits a day; the rest counts at once. Pure.

Only what is surely tighter is called so, setting by setting; a setting that is not listed here loosens by any change.
Retention loosens in both directions: longer keeps more, and shorter destroys what cannot be had again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from edge.consent.policy import CentralSharing, Match, Policy

#: Modes from which to which fewer are recorded.
_STRICTER: Final = frozenset({("notice", "opt_out"), ("notice", "opt_in"), ("opt_out", "opt_in")})
_NUMBERS: Final = ("clear", "hashed", "none")
_MEDIA: Final = ("replicate", "stay")


def _fewer(old: tuple[Any, ...], new: tuple[Any, ...]) -> bool:
    return set(new) <= set(old)


def _becomes(word: Any) -> Callable[[Any, Any], bool]:
    return lambda _, new: bool(new == word)


def _sharing(old: CentralSharing, new: CentralSharing) -> bool:
    before, after = msgspec.structs.asdict(old), msgspec.structs.asdict(new)
    changed = {name for name in after if before[name] != after[name]}
    tighter = {
        "number": old.number in _NUMBERS and new.number in _NUMBERS
        and _NUMBERS.index(new.number) > _NUMBERS.index(old.number),
        "media": old.media in _MEDIA and new.media in _MEDIA and _MEDIA.index(new.media) > _MEDIA.index(old.media),
    }  # fmt: skip
    return all(tighter.get(name, False) for name in changed)


#: Setting to whether a change of it from old to new is surely tighter.
_TIGHTER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "mode": lambda old, new: (old, new) in _STRICTER,
    "basis": _becomes("consent"),
    "override": _becomes(None),
    "purposes": _fewer,
    "further": _fewer,
    "recipients": _fewer,
    "retries": lambda old, new: bool(new > old),
    "answer_window": lambda old, new: float(new) > float(old),
    "barge_in": _becomes(False),
    "hold": _becomes("pause"),
    "wait": _becomes("skip"),
    "on_withdraw": _becomes("stop_and_erase"),
    "contract_withdraw": _becomes("stop"),
    "rogue": _becomes("stop"),
    "standing_agents": _becomes(True),
    "beep": lambda old, new: float(old) == 0.0,
    "text_notice": lambda old, new: old == "",
    "header": _becomes(True),
    "lamp": lambda old, new: old == "",
    "central": _sharing,
}
#: Words that go with a stricter mode: the other mode's prompt, and no reference for a basis that needs none.
_WITH_MODE: Final = frozenset({"prompt", "basis_reference", "ask"})


def loosens(old: Policy | None, new: Policy | None) -> tuple[str, ...]:
    """Settings by which `new` in the place of `old` is not surely tighter; () where it is, or where nothing changes. None:
    there is no such policy, and nothing is recorded under it; what it matched falls to another one."""
    if new is None:
        return ("match",) if old is not None and old.match != Match() else ()
    if old is None:
        return () if new.mode == "never" else ("mode",)
    fields = [one.name for one in msgspec.structs.fields(Policy)]
    changed = [name for name in fields if getattr(old, name) != getattr(new, name)]
    if new.mode == "never":
        sends_more = not _sharing(old.central, new.central)
        return tuple(name for name in changed if name in ("retention", "match") or (name == "central" and sends_more))
    stricter = "mode" in changed and _TIGHTER["mode"](old.mode, new.mode)
    return tuple(
        name
        for name in changed
        if not (name in _TIGHTER and _TIGHTER[name](getattr(old, name), getattr(new, name)))
        and not (stricter and name in _WITH_MODE)
    )
