"""The sentences of `callwarden policy try`. Pure."""

from __future__ import annotations

from typing import Any, Final

from callwarden.explain_words import CLAUSES
from edge.consent.jurisdiction import Table
from edge.consent.memory import Recalled
from edge.consent.permit import PERMITTING
from edge.consent.policy import Policy
from edge.consent.prompt import Prompt
from edge.consent.script import Decide
from edge.consent.withdrawal import judge

_MEMORY: Final = {
    "short": "the number said yes before and it still counts: the question is shorter",
    "no": "the number said no before and is verified: it is not asked again",
    "on_file": "a consent is on file for this number: a reminder takes the place of the question",
}
_NOTHING: Final = {
    "policy": "this policy remembers nothing",
    "unknown": "nothing is on file for this number",
    "special": "this number is never asked",
    "purposes": "the answer on file was for other purposes: asked in full",
    "prompt": "the question has a new major version: asked in full",
    "expired": "the answer on file is too old: asked in full",
    "unverified": "a no is on file, but nobody vouches for the number: asked in full",
    "no_act": "the caller was only told before, which is no consent: told again",
    "withheld": "the number is withheld, so nothing is remembered",
    "invalid": "this is no telephone number, so nothing is remembered",
    "shared": "many people call from this number, so nothing is remembered",
}
_FAILURE: Final = {
    "unrecorded": "the call goes on unrecorded",
    "announce": "the call goes on unrecorded, and the caller is told",
    "refuse_call": "the caller is told and the call ends",
}
_BROKEN: Final = {
    "alarm": "an alarm",
    "announce": "an alarm, and the caller is told",
    "hang_up": "an alarm, and the call ends",
}
#: Reasons that have other words before the fact than after it.
_REASONS: Final = {
    "emergency": "an emergency number: not answered, not asked, not recorded",
    "never_number": "a number that is never recorded, whatever the policy says",
    "manual": "nobody has started the recording; an agent can, and then the caller is asked",
    "policy": "this line is never recorded",
    "hangup": "the caller left before answering",
}


def law(policy: Policy, table: Table) -> str:
    """What the jurisdiction asks at least."""
    rule = table.rule(policy.jurisdiction)
    where = f"in {policy.jurisdiction}" if policy.jurisdiction else "jurisdiction not named"
    text = f'{where}: at least "{rule.least(policy.basis)}" (table of {table.as_of})'
    if policy.override:
        text += f"; override by {policy.override.who} until {policy.override.until}: {policy.override.why}"
    return text


def memory(recalled: Recalled, remembered: str, *, silent: bool) -> str:
    """What was on file, and what came of it. `silent`: nothing is played on the strength of it."""
    if silent:
        return "a consent is on file for this number, which is verified: nothing is played"
    if recalled.what in _MEMORY:
        return _MEMORY[recalled.what]
    if remembered and recalled.why == "unknown":
        return "an answer like that would not have been remembered"
    return _NOTHING.get(recalled.why, recalled.why)


def presses(keys: str) -> str:
    """What the caller does."""
    return f"presses {keys}" if keys else "presses nothing"


def outcome(decision: Decide) -> str:
    """What comes of an answer."""
    if decision.outcome in PERMITTING:
        text = f"recorded for {', '.join(decision.purposes)}"
        if decision.outcome != "given":
            text += (
                "; filed as told, which is no consent" if decision.outcome == "notified" else "; no consent is needed"
            )
        elif decision.reason == "on_file":
            text += ", on the consent that is on file"
        return text
    why = _REASONS.get(decision.reason) or _asked(decision)
    return f"not recorded{': ' + why if why else ''}"


def _asked(decision: Decide) -> str:
    if (decision.outcome, decision.reason) not in CLAUSES:
        return decision.reason
    return {
        "key": {"refused": "the key was no yes", "withdrawn": "the consent on file is taken back and forgotten"}.get(
            decision.outcome, "the caller objected"
        ),
        "silence": "silence is never a yes",
        "unclear": "an unclear answer counts as an objection",
        "on_file": "the no that is on file",
    }.get(decision.reason, decision.reason)


def prompt(prompt: Prompt) -> dict[str, Any]:
    """A prompt with its words."""
    return {
        "prompt": prompt.id,
        "language": prompt.language,
        "version": prompt.version,
        "seconds": round(prompt.duration_ms / 1000, 1),
        "text": prompt.text,
    }


def told(policy: Policy) -> str:
    """What leaves this edge of such a call, where there is a central."""
    number = {
        "clear": "the number of whoever is not an agent, in clear",
        "hashed": "of the number a hash, which whoever has the fleet's search key can try all numbers against",
        "none": "no number",
    }[policy.central.number]
    return f"that there was a call, when, its policy, answer and recordings (ids, lengths, hashes, sealed headers); {number}"


def details(policy: Policy, special: str) -> dict[str, str]:
    """What else the policy says, each in a few words; empty for a call that it does not reach."""
    if special or policy.mode == "never":
        return {}
    effect = judge(
        actor="caller", basis=policy.basis, contract_withdraw=policy.contract_withdraw,
        on_withdraw=policy.on_withdraw, outcome="given",
    )  # fmt: skip
    kept = policy.retention
    wait = "kept" if policy.wait == "record" else "not kept"
    hold = "kept" if policy.hold == "record" else "not kept"
    found = {
        "purposes": ", ".join(policy.every_purpose),
        "waiting and hold": f"before somebody answers: {wait}; on hold: {hold}",
        "star code in the call": effect.says,
        "if it cannot be recorded": _FAILURE[policy.on_failure],
        "if it breaks in the call": _BROKEN[policy.on_failure_midcall],
        "kept": f"audio {kept.recordings}, row {kept.statistics}, evidence {kept.evidence}, a no {kept.refusals}",
        "opened by": ", ".join(("the keys of the month",) * bool(policy.epochs) + policy.recipients)
        or "nobody is configured",
        "told to central": told(policy),
    }
    if policy.beep:
        found["beep"] = f"every {policy.beep:g} s"
    if policy.text_notice:
        found["text message"] = f"at the {policy.text_notice} of the call"
    return found
