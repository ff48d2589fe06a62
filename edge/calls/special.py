"""Numbers that beat every policy: emergency calls, and those that are never recorded. Pure."""

from __future__ import annotations

from edge.calls.world import Telephony
from edge.consent.numbers import is_never
from edge.consent.policy import Policy
from edge.ports import Dialogue


def special_number(telephony: Telephony, dialogue: Dialogue, policy: Policy) -> str:
    """`emergency`, `never_number`, or "" for an ordinary call."""
    numbers = (dialogue.dialled, dialogue.caller_number)
    return "never_number" if is_never(numbers, telephony.never_numbers, telephony.country) else ""
