"""What would happen to a call: the policy it would be under, what would be heard, what each answer would lead to.

Nothing is decided here. The policy is chosen, the memory judged, the conversation built and held by the same functions
that real calls go through; only what the caller does is made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from callwarden import dryrun_words as words
from edge.calls import scripts
from edge.calls.special import called_number, special_number
from edge.config import EdgeConfig
from edge.consent import memory
from edge.consent.jurisdiction import may_be_silent
from edge.consent.machine import SORTS, Conversation
from edge.consent.memory import Caller, Recalled
from edge.consent.numbers import class_of
from edge.consent.permit import PERMITTING
from edge.consent.policy import Policy, choose_language, select
from edge.consent.prompt import Prompt
from edge.consent.script import Decide, Done, Event, HungUp, Keyed, OnFile, Play, Played, Script, Started, WaitKey
from edge.errors import CallwardenError
from edge.ports import Dialogue

Json = dict[str, Any]
#: A key that no shipped prompt names.
_OTHER: Final = "7"


@dataclass(frozen=True)
class Facts:
    """A made-up call. keys: what is pressed in order, "" for silence, None for every answer that makes a difference.
    remembered: outcome that is on file for the number, `days` old. started: an agent starts the recording (`manual`)."""

    policy: str = ""
    did: str = ""
    queue: str = ""
    context: str = ""
    dialled: str = ""
    number: str = ""
    outbound: bool = False
    verified: bool = False
    language: str = ""
    keys: str | None = None
    hang_up: bool = False
    remembered: str = ""
    days: float = 1.0
    started: bool = False


def prompts(folder: Path) -> scripts.Resolve:
    """The prompts' words, from the manifests below `folder`; their audio is not looked at."""
    from edge.prompts.manifest import parse_manifest

    found: dict[tuple[str, str], Prompt] = {}
    for file in sorted(folder.glob("*/manifest.toml")):
        for p in (manifest := parse_manifest(file.read_text("utf-8"), file)).prompt:
            found[p.id, manifest.language] = Prompt(
                p.id, p.version, manifest.language, p.sha256, "", p.file, p.duration_ms, p.answerable_from_ms, p.text, p.says
            )  # fmt: skip

    def resolve(prompt_id: str, language: str) -> Prompt:
        if (prompt := found.get((prompt_id, language))) is None:
            message = f'there is no prompt "{prompt_id}" in language "{language}"'
            raise CallwardenError("prompt.missing", message, hint="callwarden prompts check", where=str(folder))
        return prompt

    return resolve


def choose(config: EdgeConfig, facts: Facts) -> tuple[Policy, str]:
    """The policy of the call and what it was chosen by. Raises policy.unknown."""
    country, did = config.telephony.country, facts.did or facts.dialled
    policy = select(config.policies, facts.policy, did, facts.queue, facts.context, country=country)
    if policy is None:
        known = ", ".join(config.policies) or "there is none"
        asked = f'"{facts.policy}"' if facts.policy else "a call like this"
        message, hint = f"no policy is for {asked}: it would go on unrecorded, as unavailable", f"configured: {known}"
        raise CallwardenError("policy.unknown", message, hint=hint, where=str(config.path))
    if facts.policy:
        return policy, "the dialplan names it"
    for key, value, other in (("did", did, ""), ("queue", facts.queue, did), ("context", facts.context, facts.queue)):
        if value and select({policy.name: policy}, **{key: value}, country=country) is not None:
            return policy, f"match.{key} lists {value}" + (f", and nothing lists {other}" if other else "")
    return policy, "its match fits"


def run(config: EdgeConfig, policy: Policy, facts: Facts, resolve: scripts.Resolve, now: datetime) -> Json:
    """What would happen to this call under this policy. Raises CallwardenError prompt.* for a prompt that is missing."""
    telephony = config.telephony
    shape = SimpleNamespace(
        script="callee" if facts.outbound else "entry", dialled=facts.dialled or facts.did, caller_number=facts.number
    )
    dialogue = cast(Dialogue, shape)
    special = special_number(telephony, dialogue)
    language = choose_language(policy, facts.language, shape.dialled, telephony.country)
    number = called_number(telephony, dialogue) if facts.outbound else facts.number
    book = scripts.Book(resolve, {})
    recalled = (
        Recalled("nothing", why="special") if special else _recall(config, policy, facts, book, number, language, now)
    )
    script = Script("never", reason=special) if special else _script(config, policy, facts, book, recalled, language)
    rows = [
        _row(answer, converse(script, keys, hang_up=gone)) for answer, keys, gone in _answers(script, policy, facts)
    ]
    longest = max(rows, key=lambda row: len(row["heard"]))
    return {
        "policy": policy.name,
        "version": policy.version,
        "mode": policy.mode,
        "language": language,
        "law": words.law(policy, config.jurisdictions),
        "basis": f"{policy.basis} {policy.basis_reference}".strip(),
        "memory": {
            "what": recalled.what,
            "why": recalled.why,
            "says": words.memory(recalled, facts.remembered, silent=script.silent),
        },
        "hears": [words.prompt(prompt) for prompt in dict.fromkeys(_audio(book, longest["heard"]))],
        "answers": [{**row, "heard": [p.prompt_id for p, _ in row["heard"]]} for row in rows],
        "details": words.details(policy, special),
    }


def _recall(
    config: EdgeConfig, policy: Policy, facts: Facts, book: scripts.Book, number: str, language: str, now: datetime
) -> Recalled:
    """What the memory would say, had this number answered `days` ago as `remembered` says."""
    if not facts.remembered:
        return Recalled("nothing", why="unknown")
    telephony = config.telephony
    caller = Caller(class_of(number, telephony.country, telephony.shared_numbers), facts.verified)
    version = scripts.question_version(book, policy, _kind(facts), language)
    rows = memory.answers_to_keep(
        policy, caller, number_hmac="dry", outcome=facts.remembered, granted=policy.every_purpose, prompt_version=version,
        event_seq=1, answered=now - timedelta(days=facts.days),
    )  # fmt: skip
    return memory.recall(rows, policy, version, caller, now)


def _script(
    config: EdgeConfig, policy: Policy, facts: Facts, book: scripts.Book, recalled: Recalled, language: str
) -> Script:
    on_file: OnFile | None = None
    if recalled.what != "nothing" and recalled.event_seq is not None:
        on_file = OnFile(recalled.outcome, recalled.event_seq)
    silent = recalled.what == "on_file" and facts.verified and may_be_silent(policy, config.jurisdictions)

    def in_language(spoken: str) -> Script:
        return scripts.build(book, policy, _kind(facts), spoken, on_file, recalled.purposes, silent=silent)

    return scripts.with_choice(book, policy, in_language(language), in_language)


def _kind(facts: Facts) -> scripts.Kind:
    return "start" if facts.started else "callee" if facts.outbound else "entry"


def converse(script: Script, keys: str, *, hang_up: bool = False) -> Decide:
    """Hold the conversation with somebody who presses `keys` one by one, each as soon as it counts, and then nothing."""
    machine, left, event = Conversation(script), list(keys), cast(Event, Started())
    while not isinstance(step := machine.advance(event), Decide):
        match step:
            case Play(prompt=prompt, keys=heard, offset_ms=offset):
                if hang_up:
                    event = HungUp(prompt.duration_ms // 2)
                elif left and heard:
                    event = Played(left.pop(0), max(prompt.answerable_from_ms, offset))
                else:
                    event = Played("", prompt.duration_ms)
            case WaitKey():
                event = Keyed(left.pop(0) if left else "")
            case _:
                event = Done()
    return step


def _answers(script: Script, policy: Policy, facts: Facts) -> Iterator[tuple[str, str, bool]]:
    """(in words, keys, whether the caller hangs up)."""
    first = _language_key(script, facts)
    if not converse(script, first).heard:
        yield "whatever the caller does", "", False
        return
    if facts.keys is not None or facts.hang_up:
        pressed = " ".join(facts.keys or "")
        yield "hangs up" if facts.hang_up else words.presses(pressed), first + (facts.keys or ""), facts.hang_up
        return
    sort = SORTS[script.mode]
    if sort == "yes":
        yield from _and_further(first + script.yes_key, f"presses {script.yes_key}", script)
        yield words.presses(""), first, False
    else:
        yield from _and_further(first, words.presses(""), script)
        yield f"presses {script.objection_key}", first + script.objection_key, False
    if sort != "tell":
        other = next(k for k in _OTHER + "89" if k not in (script.yes_key, script.objection_key))
        yield "presses other keys only", first + other * (policy.retries + 1), False
    yield "hangs up", "", True


def _and_further(keys: str, told: str, script: Script) -> Iterator[tuple[str, str, bool]]:
    yield told + (", then nothing" if script.further else ""), keys, False
    if script.further:
        yes = "".join(question.yes_key for question in script.further)
        # A key pressed in a question that only objection answers would be that question's: it is told, not tried.
        if SORTS[script.mode] == "yes":
            yield f"{told}, then {' '.join(yes)} to the further questions", keys + yes, False


def _language_key(script: Script, facts: Facts) -> str:
    if script.choice is None:
        return ""
    keys = {s.ask.language: key for key, s in script.choice.by_key if s.ask is not None}
    return keys.get(facts.language) or script.choice.by_key[0][0]


def _row(answer: str, decision: Decide) -> Json:
    heard = [*decision.heard, *([(decision.say_after, 0)] if decision.say_after else [])]
    return {
        "answer": answer,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "recorded": decision.outcome in PERMITTING,
        "purposes": list(decision.purposes),
        "heard": heard,
        "says": words.outcome(decision),
    }


def _audio(book: scripts.Book, heard: list[Any]) -> Iterator[Prompt]:
    return (book.audio[facts] for facts, _ in heard)


def of_call(row: Json) -> Facts:
    """The facts of a stored call, from its `why`: as far as they are on file."""
    call = row["call"]
    kinds: list[Json] = [e for e in row["events"] if e["kind"] == call["outcome"]]
    evidence: Json = kinds[-1]["evidence"] if kinds else {}
    reason, outcome = str(evidence.get("reason") or ""), call["outcome"]
    on_file = reason == "on_file"
    return Facts(
        policy=call["policy"],
        number=call["caller"] or "",
        outbound=call["direction"] == "outbound",
        language=call["language"] or "",
        keys=str(evidence.get("keys_pressed") or ""),
        hang_up=outcome == "abandoned",
        remembered=outcome if on_file else "",
        verified=on_file and (outcome != "given" or not evidence.get("heard")),
    )
