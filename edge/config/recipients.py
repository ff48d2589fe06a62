"""Whether a text is a public key that recordings can be sealed to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from formats.age import parse_recipient
from formats.errors import KeyFormatError


@dataclass(frozen=True, slots=True)
class WrongRecipient:
    """Why a recipient cannot be used. `number` counts from 0 in the policy's list."""

    number: int
    code: str
    message: str
    hint: str


def check_recipients(texts: Sequence[str]) -> WrongRecipient | None:
    """The first thing wrong with a list of recipients, or None.

    Fail closed: one key that cannot be used makes the whole list unusable, never a smaller one.
    """
    kinds: list[str] = []
    for number, text in enumerate(texts):
        lower = text.lower()
        if not lower.startswith("age1"):
            kind = text.split(maxsplit=1)[0][:24] if text.strip() else "an empty text"
            return WrongRecipient(
                number, "recipient.unknown_kind", f"recipient kind is not known: {kind}", 'recipients begin with "age1"'
            )
        if lower.count("1") > 1 and not lower.startswith("age1pq1"):
            plugin = lower[4 : lower.rindex("1")]
            message = f'recipient kind is not known: age plugin "{plugin}"'
            return WrongRecipient(
                number, "recipient.unknown_kind", message, "use X25519 (age1…) or post-quantum (age1pq1…) keys"
            )
        try:
            recipient = parse_recipient(text)
        except KeyFormatError as e:
            return WrongRecipient(
                number, e.code, e.message, "copy the whole line that age-keygen printed as public key"
            )
        if text in texts[:number]:
            return WrongRecipient(number, "recipient.twice", "this recipient is listed twice", "remove one")
        kinds.append(type(recipient).__name__)
        if kinds[0] != kinds[number]:
            message = "post-quantum and X25519 recipients cannot be mixed"
            return WrongRecipient(
                number, "recipient.mixed", message, "the weaker kind would decide: use one kind for the whole policy"
            )
    return None
