"""How long each class of data is kept: what a policy says, what the house says over all policies. Pure.

`edge.retention.schedule` is the rule that makes one moment of it; docs/retention.md says it in words. Frozen and hashable,
so that a policy's document is made once. docs/configuration.md is made from the docstrings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from edge.consent.units import Period

#: Classes whose period is a policy's, by the name of their setting.
OF_POLICY: Final = ("recordings", "metadata", "statistics", "evidence", "refusals", "notices")
#: Classes that belong to no call: the house alone says how long.
OF_HOUSE: Final = ("orders", "alarms", "exports")


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one purpose or one outcome asks of the audio."""

    minimum: Period = Period("P0D")
    """A duty to keep: nothing erases audio younger than this. Default "P0D": none."""
    maximum: Period | None = None
    """The audio is kept no longer than this, unless a duty says so. Default: as the policy's `recordings`."""


class Bounds(Mapping[str, Bound]):
    """A table of word to `Bound` that can be compared and hashed; keeps the order in which it was written."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Bound] | None = None) -> None:
        self._items = dict(items or {})

    @classmethod
    def parse(cls, value: object) -> Bounds:
        """Read one; raises ValueError with a sentence that says what is expected."""
        if isinstance(value, Bounds):
            return value
        expected = 'expected a table like { training = { maximum = "P30D" } }'
        if not isinstance(value, Mapping):
            raise ValueError(f"{expected}, not {value!r}")  # noqa: TRY004 - one kind of error for every bad value
        return cls({str(name): _bound(inner, expected) for name, inner in value.items()})

    def __getitem__(self, key: str) -> Bound:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._items.items(), key=lambda item: item[0])))

    def __repr__(self) -> str:
        return f"Bounds({self._items!r})"

    @property
    def plain(self) -> dict[str, dict[str, str]]:
        """As a policy's document has it."""
        return {
            name: {"minimum": str(bound.minimum)} | ({"maximum": str(bound.maximum)} if bound.maximum else {})
            for name, bound in self._items.items()
        }


def _bound(value: object, expected: str) -> Bound:
    if not isinstance(value, Mapping) or not value or value.keys() - {"minimum", "maximum"}:
        raise ValueError(f"{expected} with minimum, maximum or both, not {value!r}")
    return Bound(**{name: Period.parse(text) for name, text in value.items()})


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long things are kept, counted from the end of the call. ISO 8601 periods; docs/retention.md has the rule."""

    recordings: Period = Period("P6M")
    """Audio, its keys, its manifest and its waveform. Default "P6M": long enough for a complaint about a call, short enough
    to explain."""
    minimum: Period = Period("P0D")
    """A duty to keep: nothing erases audio younger than this. Default "P0D": an order takes effect at once."""
    metadata: Period = Period("P6M")
    """Numbers and names of channels in the call's row. Default "P6M", as the audio: they find it. Never before the audio."""
    statistics: Period = Period("P24M")
    """The call's row without numbers. Default "P24M": two years of comparison. Never before the evidence."""
    evidence: Period = Period("P36M")
    """The minimal proof of the answer, after the audio is gone. Default "P36M": the usual limitation of claims."""
    refusals: Period = Period("P30D")
    """Evidence of a no. Default "P30D": a no needs no long memory."""
    notices: Period = Period("P90D")
    """Rows about text notices that were sent or given up. Default "P90D": the gateway's next bill or two."""
    purposes: Bounds = Bounds()
    """By purpose, { training = { maximum = "P30D" }, evidence = { minimum = "P12M" } }: of the purposes a call was
    granted the longest minimum and the shortest maximum count. Default: none."""
    outcomes: Bounds = Bounds()
    """By the call's outcome, { withdrawn = { maximum = "P7D" } }, likewise. Default: none."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention] floor` and `[retention] ceiling`: over every policy, of now and of then."""

    recordings: Period | None = None
    """Audio. Default: no limit."""
    metadata: Period | None = None
    """Numbers and channel names. Default: no limit."""
    statistics: Period | None = None
    """The call's row. Default: no limit."""
    evidence: Period | None = None
    """Evidence of an answer that let something be recorded. Default: no limit."""
    refusals: Period | None = None
    """Evidence of a no. Default: no limit."""
    notices: Period | None = None
    """Rows about text notices. Default: no limit."""


class House(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[retention]`: what holds for every policy, and for what belongs to no call."""

    approve: Literal["ask", "at_once"] = "ask"
    """What makes shorter or new terms count. Default "ask": `callwarden retention approve`, until then they are only shown
    by `callwarden retention plan`. "at_once": the configuration is the approval."""
    defaults: Retention = Retention()
    """What a policy keeps that says nothing of its own; the same settings as `[policy.NAME] retention`."""
    floor: Limits = Limits()
    """Nothing is kept shorter: a duty, stronger than every maximum."""
    ceiling: Limits = Limits()
    """Nothing is kept longer, duties excepted."""
    orders: Period = Period("P36M")
    """Orders that were carried out and acknowledged, with their receipts. Default "P36M": as long as the evidence of the
    answers they are about. Tombstones stay: a restored backup needs them."""
    alarms: Period = Period("P12M")
    """Alarms and incidents. Default "P12M": a year's report. The log keeps their codes."""
    exports: Period = Period("P36M")
    """The list of copies that were given out. Default "P36M": whoever has a copy is asked for it as long as there are
    claims."""
