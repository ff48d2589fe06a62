"""`[central.edges]`: when an edge's state is worth an alarm."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from central.errors import CentralError

#: What central does with the TLS certificates of edges.
CERTIFICATES = ("off", "wanted", "demanded")
#: The word of `EdgeAlarms.policy` for what most edges of a kind have.
MAJORITY = "majority"


@dataclass(frozen=True, slots=True)
class EdgeAlarms:
    """`[central.edges]`: when an edge's state is worth an alarm."""

    silent_s: float = 300.0
    """An edge that said nothing for so long is an alarm (`edge.silent`), 10 to 2592000 seconds."""

    lag_s: float = 900.0
    """Age of the oldest event that waits in an edge's outbox, 10 to 2592000 seconds."""

    unsealed_s: float = 60.0
    """Age of the oldest second of speech that an edge has not sealed, 10 to 2592000 seconds."""

    clock_s: float = 60.0
    """How far an edge's clock may be from central's, 10 to 2592000 seconds."""

    policy: str = MAJORITY
    """The policy hash that every edge should have, 64 hex digits; "majority": the one that most edges have of those with policies
    of the same names; "any"."""


def edge_alarms(table: dict[str, Any], where: str) -> EdgeAlarms:
    """The table into a value. Raises CentralError config.unknown_key, config.type, config.edges."""
    known = {one.name for one in fields(EdgeAlarms)}
    for name, value in table.items():
        if name not in known:
            raise CentralError(
                "config.unknown_key",
                f"unknown key {name!r}",
                where=f"{where}.{name}",
                hint=", ".join(sorted(known)),
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number != (name != "policy") or (name == "policy" and not isinstance(value, str)):
            raise CentralError("config.type", f"{name} has the wrong type", where=f"{where}.{name}")
        if number and not 10 <= value <= 30 * 86400:
            raise CentralError("config.edges", f"{name} must be 10 to 2592000 seconds", where=f"{where}.{name}")
    policy = table.get("policy", "any")
    if policy not in ("any", MAJORITY) and re.fullmatch("[0-9a-f]{64}", policy) is None:
        raise CentralError(
            "config.edges",
            'policy must be "majority", "any" or 64 hex digits',
            where=f"{where}.policy",
            hint="`callwarden central edge show` prints the hash that an edge has",
        )
    given: dict[str, Any] = {name: value if name == "policy" else float(value) for name, value in table.items()}
    return EdgeAlarms(**given)


def certificates(word: str, tls: bool, where: str) -> str:
    """`[central] client_certificates`. Raises CentralError config.client_certificates."""
    if word not in CERTIFICATES or (word == "demanded" and not tls):
        raise CentralError(
            "config.client_certificates",
            'client_certificates must be "off", "wanted" or "demanded", and is only demanded with tls = true',
            where=where,
        )
    return word
