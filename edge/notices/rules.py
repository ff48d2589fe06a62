"""Who gets a text message: pure decisions over one call's facts. A forged caller ID must not buy texts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from edge.consent import emergency, numbers
from edge.model.live import NoticeCall

#: A call must have lasted longer (shared design: "only for answered calls longer than 5 s"): one that rings through and
#: hangs up costs a forger nothing, and must cost the operator nothing.
SHORTEST: Final = timedelta(seconds=5)
#: Between two texts to one number.
ONE_PER: Final = timedelta(days=1)
#: The span of `[notices] per_hour`.
HOUR: Final = timedelta(hours=1)
#: Calls that ended longer ago get no text any more: after an outage nobody wants to hear about yesterday.
LATEST: Final = timedelta(hours=1)
#: Outcomes under which something was recorded, so the caller was answered and there is something to tell.
RECORDED: Final = frozenset({"given", "notified", "not_required", "withdrawn"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows. `countries`: two capital letters each; `country`: where national spellings are at home;
    `never`, `shared`: lists of numbers in any spelling; `emergency`: further emergency numbers."""

    countries: Collection[str]
    country: str
    per_hour: int
    never: Collection[str] = ()
    shared: Collection[str] = ()
    emergency: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`what`: `owe`, `drop` or `wait` (too early to say). `why`: one word for what is dropped; `number` in E.164."""

    what: str
    why: str = ""
    number: str = ""
    country: str = ""


def judge(call: NoticeCall, rules: Rules, now: datetime) -> Verdict:
    """Whether this call gets a text at all. `why`: `not_recorded` `short` `erased` (an erasure was faster) `withheld`
    `invalid` `shared` `never_number` `country`."""
    if call.outcome not in RECORDED:
        return Verdict("drop", "not_recorded") if call.outcome or call.ended_at else Verdict("wait")
    end = datetime.fromisoformat(call.ended_at) if call.ended_at else now
    if end - datetime.fromisoformat(call.started_at) <= SHORTEST:
        return Verdict("drop", "short") if call.ended_at else Verdict("wait")
    heard = call.number_e164 or call.number_heard or ""
    if not heard and call.number_class != "withheld":
        return Verdict("drop", "erased")
    kind = numbers.class_of(heard, rules.country, rules.shared) if call.number_class != "withheld" else "withheld"
    if emergency.is_emergency(heard, rules.country, extra=rules.emergency):
        return Verdict("drop", "invalid")
    if numbers.is_never((heard,), rules.never, rules.country):
        return Verdict("drop", "never_number")
    number = numbers.e164(heard, rules.country)
    if kind != "plain" or number is None:
        return Verdict("drop", kind if kind != "plain" else "invalid")
    country = numbers.country_of(number)
    if country not in rules.countries:
        return Verdict("drop", "country", country=country)
    return Verdict("owe", number=number, country=country)


def afford(*, of_number: int, of_all: int, rules: Rules) -> str:
    """Why one more text is too many: `number_had_one`, `hour_is_full`; empty when it is not.

    of_number: texts to this number within `ONE_PER`; of_all: texts within `HOUR`.
    """
    if of_number:
        return "number_had_one"
    return "hour_is_full" if of_all >= rules.per_hour else ""
