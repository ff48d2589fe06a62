"""Who may order what, and for how long an order holds. Data: the edge enforces it with keys it pinned itself."""

from __future__ import annotations

from collections import Counter
from typing import Literal, get_args

from formats.roles import Role

Command = Literal[
    "erase", "cancel", "withdraw", "hold", "restrict", "pause", "resume", "release", "policy", "rewrap", "keys", "fetch",
    "locate",
]  # fmt: skip
COMMANDS: frozenset[str] = frozenset(get_args(Command))

_STORE: tuple[Counter[Role], ...] = (Counter({"store": 1}),)
_STORE_AND_DPO: tuple[Counter[Role], ...] = (Counter({"store": 1, "dpo": 1}),)
#: A second DPO signs beside the first where an edge asks for it: above its daily share.
_STORE_AND_TWO_DPO: Counter[Role] = Counter({"store": 1, "dpo": 2})
#: Stopping is what anybody may do: the store, or any person, whose order the store may have countersigned on its way.
_ANYBODY: tuple[Counter[Role], ...] = (
    Counter({"store": 1}),
    Counter({"dpo": 1}),
    Counter({"auditor": 1}),
    Counter({"store": 1, "dpo": 1}),
    Counter({"store": 1, "auditor": 1}),
)
_TWO_PEOPLE: tuple[Counter[Role], ...] = (
    Counter({"dpo": 2}),
    Counter({"dpo": 1, "auditor": 1}),
    Counter({"auditor": 2}),
)

#: The signatures each command needs, exactly; where several demands are listed, one of them. A thief of one key erases
#: nothing and records nobody. Retention expiry is not here: there is no such command.
AUTHORITY: dict[Command, tuple[Counter[Role], ...]] = {
    "erase": _STORE_AND_DPO,
    "cancel": _ANYBODY,
    "withdraw": _STORE,
    "hold": _STORE,
    "restrict": _STORE,
    "pause": _STORE,
    "resume": _STORE,
    "release": _TWO_PEOPLE,
    "policy": _STORE_AND_DPO,
    "rewrap": _STORE_AND_DPO,
    "keys": _STORE_AND_DPO,
    "fetch": _STORE,
    "locate": _STORE,
}

_MINUTE, _HOUR = 60, 3600
#: Seconds after `iat` in which an order may begin; None where late is right and a repeat harmless.
LIFE_S: dict[Command, int | None] = {
    "erase": None,
    "cancel": None,
    "withdraw": _HOUR,
    "hold": None,
    "restrict": None,
    "pause": _MINUTE,
    "resume": _MINUTE,
    "release": 24 * _HOUR,
    "policy": 24 * _HOUR,
    "rewrap": None,
    "keys": 24 * _HOUR,
    "fetch": 24 * _HOUR,
    "locate": 24 * _HOUR,
}
#: Seconds by which two clocks may differ before an order seems to come from the future.
SKEW_S = 300

#: Targets that are many calls: restricted first, destroyed after the window in which they can be cancelled.
MANY: frozenset[str] = frozenset({"person", "policy"})


def demanded(cmd: Command, target_kind: str) -> tuple[Counter[Role], ...]:
    """The signatures of an order, exactly; where several demands are listed, one of them."""
    if cmd == "erase" and target_kind in MANY:
        return (*AUTHORITY[cmd], _STORE_AND_TWO_DPO)
    return AUTHORITY[cmd]
