"""What the Asterisk at hand can do, and which policies it cannot honour. Pure.

An application ignores options it does not know, in silence (16.28 has no MixMonitor option D and records mono), so what
is asked of it is compared with what its own help says it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge.consent.policy import Policy
from edge.consent.policy_rules import Problem

#: Feature codes of features.conf that the conversation in a bridge, a start in mid-call and the star code need.
ERRAND: Final = "cwapi"
WITHDRAW: Final = "cwwithdraw"
START: Final = "cwstart"


@dataclass(frozen=True, slots=True)
class Ability:
    """Facts about a server, None where they are not known.

    version: as Asterisk says it ("22.10.1"). mixmonitor: the option letters that `core show application MixMonitor`
    lists. features: the names in features.conf's applicationmap.
    """

    version: str = ""
    mixmonitor: frozenset[str] | None = None
    features: frozenset[str] | None = None


def mixmonitor_options(help_text: str) -> frozenset[str]:
    """The option letters in the answer to `core show application MixMonitor`: a line of each begins "X:" or "X(name):"."""
    found = set()
    for line in help_text.splitlines():
        head = line.strip()
        rest = head[1:2]
        if head[:1].isalpha() and (rest == ":" or (rest == "(" and "):" in head)):
            found.add(head[0])
    return frozenset(found)


def cannot_honour(policy: Policy, ability: Ability) -> list[Problem]:
    """What this policy asks that this server cannot do. What is not known is not held against a policy."""
    return [] if policy.mode == "never" else [*_audio(policy, ability), *_keys(policy, ability)]


def _audio(policy: Policy, ability: Ability) -> Iterator[Problem]:
    options = ability.mixmonitor
    if options is None:
        return
    server = f"Asterisk {ability.version}".strip()
    # Two files keep in step by option S, or by themselves where there is D (Asterisk 18.13 and later).
    two_files = {"r", "t"} <= options and not options.isdisjoint("SD")
    if policy.capture.two_files and not two_files:
        message = f'{server} cannot keep the two sides of a call apart in codec "{policy.capture.codec}" (MixMonitor options r, t, S)'
        hint = 'capture = { codec = "sln" }, capture = { channels = 1 }, or a newer Asterisk'
        yield Problem("capture.channels", "policy.cannot_honour", message, hint)
    elif policy.capture.channels == 2 and "D" not in options and not two_files:
        message = f"{server} cannot keep the two sides of a call apart (MixMonitor options D, or S, r and t)"
        yield Problem(
            "capture.channels", "policy.cannot_honour", message, "capture = { channels = 1 }, or a newer Asterisk"
        )
    if policy.wait == "skip" and "b" not in options:
        message = f"{server} cannot leave out the time before somebody answers (MixMonitor option b)"
        yield Problem("wait", "policy.cannot_honour", message, "a newer Asterisk")
    if policy.beep > 0 and "B" not in options:
        message = f"{server} cannot play a tone into a recorded call (MixMonitor option B)"
        yield Problem("beep", "policy.cannot_honour", message, 'beep = "0s", or a newer Asterisk')


def _keys(policy: Policy, ability: Ability) -> Iterator[Problem]:
    names = ability.features
    if names is None:
        return
    hint = "include features.callwarden.conf.sample in features.conf and reload Asterisk's features"
    if WITHDRAW not in names:
        message = f"callers could not withdraw by a code: features.conf has no {WITHDRAW}"
        yield Problem("mode", "policy.cannot_honour", message, hint)
    if ERRAND not in names and (policy.mode == "manual" or policy.on_failure_midcall == "announce"):
        message = f"nothing can be said to a caller in mid-call: features.conf has no {ERRAND}"
        key = "mode" if policy.mode == "manual" else "on_failure_midcall"
        yield Problem(key, "policy.cannot_honour", message, hint)
    if START not in names and policy.mode == "manual":
        message = f"agents could not start a recording by a code: features.conf has no {START}"
        yield Problem("mode", "policy.cannot_honour", message, hint)
