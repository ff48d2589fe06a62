"""What no program can know: the facts of `register.toml`. Pure; nothing has a default that would be an invention.

docs/register.md shows a whole file. A member that is missing is printed as "to be filled in" wherever it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import msgspec

from formats.errors import FormatError

Likelihood = Literal["", "low", "medium", "high"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: an unknown key is an error, since a typing mistake would drop a fact."""


class Party(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person or a company."""

    name: str = ""
    """Its full name."""
    address: str = ""
    """Where it sits."""
    contact: str = ""
    """How it is reached: mail, telephone."""

    @property
    def text(self) -> str:
        """One line."""
        return ", ".join(part for part in (self.name, self.address, self.contact) if part)


class Recipient(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[recipient]]`: somebody who gets data besides those that the policies and the configuration name."""

    name: str
    """Who."""
    gets: str
    """What of the data, in words."""
    country: str = ""
    """Where it is processed."""
    contract: str = ""
    """What it rests on: the processor's contract, the law."""
    policies: tuple[str, ...] = ()
    """Only under these policies. Default: all."""


class Transfer(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[transfer]]`: to a third country or an international organisation."""

    to: str
    """Who gets it."""
    country: str
    """Which country or organisation."""
    safeguard: str = ""
    """What protects it there (GDPR Art. 46, or the adequacy decision)."""


class Risk(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[policy.NAME.risk]]`, as somebody assessed it."""

    risk: str
    """What could happen to whom."""
    likelihood: Likelihood = ""
    """"low", "medium" or "high"."""
    severity: Likelihood = ""
    """"low", "medium" or "high"."""
    measures: str = ""
    """What is done about it."""
    residual: Likelihood = ""
    """What is left of it then."""


class Balancing(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[policy.NAME.balancing]`: the test that somebody made."""

    interest: str = ""
    """The interest pursued, and whose."""
    necessity: str = ""
    """Why nothing milder reaches it."""
    balance: str = ""
    """Why it is not overridden by the interests of those who are recorded."""
    outcome: str = ""
    """What follows."""
    by: str = ""
    """Who made the test."""
    on: date | None = None
    """When."""


class OfPolicy(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[policy.NAME]`."""

    review_by: date | None = None
    """The day by which everything said about this policy is looked at again; central alarms 30 days before and after it."""
    reviewed_on: date | None = None
    """When that was done last."""
    reviewer: str = ""
    """Who did it."""
    necessity: str = ""
    """Why the recording is necessary and proportionate (GDPR Art. 35(7)(b))."""
    advice: str = ""
    """What the data protection officer advised (Art. 35(2))."""
    views: str = ""
    """What those concerned, or their representatives, said (Art. 35(9)); or why they were not asked."""
    subjects: tuple[str, ...] = ()
    """Further categories of people, such as children or patients."""
    data: tuple[str, ...] = ()
    """Further categories of data that are spoken of, such as health."""
    obligation: str = ""
    """Whether people must give the data, and what happens if they do not (Art. 13(2)(e))."""
    risk: tuple[Risk, ...] = ()
    """Risks, as assessed."""
    balancing: Balancing = Balancing()
    """The balancing test, for a policy on legitimate interests."""


class Answers(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    role: Literal["controller", "processor"] = "controller"
    """Whether whoever runs this decides about the purposes, or works on behalf of others (Art. 30(2))."""
    controller: Party = Party()
    """Who answers for the processing; of a processor: itself."""
    on_behalf_of: tuple[Party, ...] = ()
    """Of a processor: the controllers."""
    joint: tuple[Party, ...] = ()
    """Joint controllers (Art. 26)."""
    representative: Party = Party()
    """The representative in the Union, where one is needed (Art. 27)."""
    dpo: Party = Party()
    """The data protection officer."""
    authority: str = ""
    """The supervisory authority that people can complain to."""
    automated: str = ""
    """What is said about decisions by automated means (Art. 13(2)(f))."""
    no_transfers: bool = False
    """True: somebody has made sure that nothing goes to a third country."""
    organisational: tuple[str, ...] = ()
    """Organisational measures of security."""
    recipient: tuple[Recipient, ...] = ()
    """Further recipients."""
    transfer: tuple[Transfer, ...] = ()
    """Transfers to third countries."""
    purposes: dict[str, dict[str, str]] = {}
    """Purpose to language to what it is called there."""
    policy: dict[str, OfPolicy] = {}
    """By name."""

    def of(self, policy: str) -> OfPolicy:
        """What is said about a policy; empty where nothing is."""
        return self.policy.get(policy, OfPolicy())


def parse_answers(document: Mapping[str, Any]) -> Answers:
    """A parsed `register.toml`. Raises FormatError register.answers naming the member, and register.contradiction."""
    try:
        found = msgspec.convert(dict(document), Answers)
    except msgspec.ValidationError as error:
        raise FormatError("register.answers", str(error)) from error
    if found.no_transfers and found.transfer:
        raise FormatError("register.contradiction", "no_transfers is true, and there are transfers")
    if found.role == "controller" and found.on_behalf_of:
        raise FormatError("register.contradiction", 'on_behalf_of goes with role = "processor"')
    return found
