"""What is needed to see what is kept, for how long, and what holds it: no key is destroyed with it and no file touched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from edge.consent.retention import House, Retention
from edge.ports import Clock, Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """`terms_of`: policy id to today's retention terms, None for a policy that is gone. `house`: the terms over all
    policies. `policies`: the names of those there are. `hasher`: makes the HMACs of numbers under this edge's key; None: no
    person can be held. `country`: where national spellings of numbers are at home."""

    journal: Journal
    clock: Clock
    terms_of: Callable[[str], Retention | None]
    house: Callable[[], House] = House
    policies: Callable[[], Iterable[str]] = tuple
    hasher: Callable[[], Awaitable[Callable[[str], str]]] | None = None
    country: Callable[[], str] = str
