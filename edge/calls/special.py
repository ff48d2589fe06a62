"""Numbers that beat every policy: emergency calls, and those that are never recorded. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from edge.calls.world import Telephony
from edge.consent.emergency import is_emergency
from edge.consent.numbers import e164, is_never
from edge.ports import Dialogue


def special_number(telephony: Telephony, dialogue: Dialogue) -> str:
    """`emergency` when such a number was dialled, `never_number` when either side is one that is never recorded, "" for
    an ordinary call."""
    if any(is_emergency(n, telephony.country, telephony.prefixes, telephony.emergency) for n in _dialled(dialogue)):
        return "emergency"
    both = (
        dialogue.caller_number,
        *(bare for n in _dialled(dialogue) for bare in without_prefix(n, telephony.prefixes)),
    )
    return "never_number" if is_never(both, telephony.never_numbers, telephony.country) else ""


def called_number(telephony: Telephony, dialogue: Dialogue) -> str:
    """Of a called party's channel: the number that was dialled, without the digits that got a line out where what is left
    is a telephone number."""
    dialled = next((n for n in _dialled(dialogue) if n), "")
    whole, *shorter = without_prefix(dialled, telephony.prefixes)
    return next((n for n in shorter if e164(n, telephony.country)), whole)


def _dialled(dialogue: Dialogue) -> Sequence[str]:
    """On the leg of a called party Asterisk names the dialled number as that channel's own."""
    return (dialogue.dialled, dialogue.caller_number) if dialogue.script == "callee" else (dialogue.dialled,)


def without_prefix(number: str, prefixes: Sequence[str]) -> Sequence[str]:
    """The number as dialled, and without each prefix it may begin with."""
    return (number, *(number[len(p) :] for p in prefixes if p and len(number) > len(p) + 5 and number.startswith(p)))
