"""From an AGI environment to what a session is about: pure, and picky."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edge.errors import CallwardenError

#: Asterisk's own ids: epoch.counter, or systemname-epoch.counter.
_UNIQUE_ID = re.compile(r"[A-Za-z0-9_.:@-]{1,149}")
#: Channel names come from the driver, but a device's name may hold nearly anything; what AMI cannot carry is refused.
_CHANNEL = re.compile(r"[^\x00-\x20,\x7f\"\\]{1,200}")
_POLICY = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_SCRIPTS = frozenset({"entry", "callee", "feature"})
#: First argument of `feature`: which code was pressed, or `errand` for one of ours.
FEATURES = frozenset({"errand", "withdraw", "pause", "resume", "start"})
_ON_FAILURE = re.compile(r"(?:unrecorded|announce|refuse_call)?")
_RESTRICTED = 0x20  # Q.931 presentation indicator, bits 6 and 7 = 01: presentation restricted
_PRESENTATION = 0x60


@dataclass(frozen=True, slots=True)
class AgiRequest:
    """What the dialplan and Asterisk said. Caller-chosen texts (`caller_*`, `dialled`) are as heard, at most 200
    characters; `caller_number` and `caller_name` are empty when withheld. `script` and `feature` as in
    `edge.ports.Dialogue`; `on_failure`: the dialplan's second argument, "" when it gave none."""

    script: str
    feature: str
    on_failure: str
    channel_uid: str
    channel_name: str
    linked_id: str
    policy_name: str
    caller_number: str
    caller_name: str
    dialled: str
    language: str


def read_request(env: Mapping[str, str]) -> AgiRequest:
    """Raises CallwardenError agi.bad_request naming the key that is missing or wrong."""
    script = env.get("agi_network_script", "")
    if script not in _SCRIPTS:
        raise _bad("agi_network_script", script)
    feature = env.get("agi_arg_1", "") if script == "feature" else ""
    if script == "feature" and feature not in FEATURES:
        raise _bad("agi_arg_1", feature)
    on_failure = "" if script == "feature" else env.get("agi_arg_3", "")
    if not _ON_FAILURE.fullmatch(on_failure):
        raise _bad("agi_arg_3", on_failure)
    withheld = _withheld(env.get("agi_callingpres", "0"))
    return AgiRequest(
        script=script,
        feature=feature,
        on_failure=on_failure,
        channel_uid=_match(env, "agi_uniqueid", _UNIQUE_ID),
        channel_name=_match(env, "agi_channel", _CHANNEL),
        linked_id=_match(env, "agi_arg_2", _UNIQUE_ID),
        policy_name="" if script == "feature" else _match(env, "agi_arg_1", _POLICY),
        caller_number="" if withheld else _known(env.get("agi_callerid", "")),
        caller_name="" if withheld else _known(env.get("agi_calleridname", "")),
        dialled=_known(env.get("agi_dnid", "")),
        language=_match(env, "agi_language", re.compile(r"[A-Za-z0-9_.-]{0,40}")),
    )


def _match(env: Mapping[str, str], key: str, pattern: re.Pattern[str]) -> str:
    value = env.get(key)
    if value is None or not pattern.fullmatch(value):
        raise _bad(key, value)
    return value


def _known(value: str) -> str:
    return "" if value == "unknown" else value[:200]


def _withheld(presentation: str) -> bool:
    return presentation.isascii() and presentation.isdigit() and int(presentation) & _PRESENTATION == _RESTRICTED


def _bad(key: str, value: str | None) -> CallwardenError:
    what = "is missing" if value is None else f"is {value[:80]!r}"
    hint = "enter through Gosub(callwarden,s,1(POLICY)) of the shipped dialplan"
    return CallwardenError("agi.bad_request", f"{key} {what}", hint=hint, where=key)
