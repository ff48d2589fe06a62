"""What this Asterisk cannot do is held against a policy; what is not known is not."""

from __future__ import annotations

import msgspec
import pytest

from edge.consent.ability import Ability, cannot_honour, mixmonitor_options
from edge.consent.policy import Capture, Policy
from edge.consent.units import Seconds

ASK = Policy(name="support", mode="opt_in", purposes=("quality",))
ALL = frozenset({"cwapi", "cwwithdraw", "cwpause", "cwresume", "cwstart"})
#: The options that `core show application MixMonitor` lists, by version.
NEW = frozenset("abBcdDnrtSvVWimpP")
OLD = frozenset("abBcdrtSvVWimpP")


def keys(policy: Policy, **facts: object) -> list[str]:
    return [p.key for p in cannot_honour(policy, Ability("16.28.0", **facts))]  # type: ignore[arg-type]


def test_nothing_known_nothing_held_against_it() -> None:
    assert cannot_honour(msgspec.structs.replace(ASK, beep=Seconds(15)), Ability()) == []


@pytest.mark.parametrize(
    ("changed", "options", "found"),
    [
        ({}, NEW, []),
        ({}, OLD, []),
        ({}, OLD - {"S"}, ["capture.channels"]),
        ({"capture": Capture(channels=1)}, OLD - {"S"}, []),
        ({"capture": Capture("sln16")}, NEW, []),
        ({"capture": Capture("ulaw")}, NEW - {"S"}, []),
        ({"capture": Capture("alaw")}, OLD, []),
        ({"capture": Capture("ulaw")}, OLD - {"S"}, ["capture.channels"]),
        ({"capture": Capture("sln16")}, NEW - {"t"}, ["capture.channels"]),
        ({"capture": Capture("sln16", channels=1)}, NEW - {"t"}, []),
        ({}, NEW - {"b"}, ["wait"]),
        ({"wait": "record"}, NEW - {"b"}, []),
        ({"beep": Seconds(15)}, NEW - {"B"}, ["beep"]),
        ({}, NEW - {"B"}, []),
        ({"mode": "never"}, frozenset(), []),
    ],
)
def test_audio(changed: dict[str, object], options: frozenset[str], found: list[str]) -> None:
    assert keys(msgspec.structs.replace(ASK, **changed), mixmonitor=options) == found


@pytest.mark.parametrize(
    ("changed", "missing", "found"),
    [
        ({}, set(), []),
        ({}, {"cwwithdraw"}, ["mode"]),
        ({}, {"cwstart", "cwapi"}, []),
        ({"mode": "manual"}, {"cwstart"}, ["mode"]),
        ({"mode": "manual"}, {"cwapi"}, ["mode"]),
        ({"on_failure_midcall": "announce"}, {"cwapi"}, ["on_failure_midcall"]),
        ({"mode": "never"}, ALL, []),
    ],
)
def test_feature_codes(changed: dict[str, object], missing: set[str], found: list[str]) -> None:
    assert keys(msgspec.structs.replace(ASK, **changed), features=ALL - missing) == found


HELP = """
  -= Info about application 'MixMonitor' =-
[Arguments]
options
    a: Append to the file instead of overwriting it.
    b: Only save audio to the file while the channel is bridged.
    B(interval): Play a periodic beep while this call is being recorded.
        interval: Interval, in seconds. Default is 15.
    D: Interleave the audio coming from the channel and the audio going to the channel
    v(x): Adjust the *heard* volume by a factor of *x*
    NOTE: something else
"""


def test_options_of_the_help_text() -> None:
    assert mixmonitor_options(HELP) == frozenset("abBDv")
    assert mixmonitor_options("") == frozenset()
