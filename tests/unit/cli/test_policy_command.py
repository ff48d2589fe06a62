"""`callwarden policy`: every mode tried by the machine that real calls go through, in words and as JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from callwarden.dryrun import Facts, converse, of_call
from edge.consent.script import PromptFacts, Script
from edge.model.entities import ConsentEvent, NewCall
from formats.age import X25519Identity
from tests.unit.cli import cli_makers as make
from tests.unit.cli.cli_makers import ROOT, Ran, command

KEYS = [str(X25519Identity.generate(bytes([n]) * 32).recipient()) for n in (1, 2)]
COMMON = f"""\
purposes = ["quality", "evidence"]
languages = ["en", "cs"]
jurisdiction = "CZ"
recipients = ["{KEYS[0]}", "{KEYS[1]}"]
"""
INTERESTS = 'basis = "legitimate_interests"\nbasis_reference = "balancing test of 2026-03-02"\n'
CONFIG = f"""\
[edge]
id = "e"
prompts = "{ROOT}/prompts"
[telephony]
country = "CZ"
never_numbers = ["+420 555 100 900"]
[policy.support]
mode = "opt_in"
remember = "P90D"
match = {{ did = ["+420 555 100 200"], queue = ["help"] }}
{COMMON}
[[policy.support.further]]
purposes = ["training"]
prompt = "ask_training"
[policy.choice]
mode = "opt_in"
language_choice = {{ "1" = "en", "2" = "cs" }}
{COMMON}
[policy.orders]
mode = "opt_out"
{INTERESTS}{COMMON}
[policy.helpdesk]
mode = "notice"
{INTERESTS}{COMMON}
[policy.trading]
mode = "obligation"
basis = "legal_obligation"
basis_reference = "Act 256/2004 Coll., section 17"
{COMMON}
[policy.members]
mode = "prior"
remember = "P90D"
{COMMON}
[policy.desk]
mode = "manual"
{COMMON}
[policy.private]
mode = "never"
[policy.weak]
mode = "notice"
override = {{ who = "the director", why = "DPIA 7", until = "2099-12-31" }}
{INTERESTS}{COMMON.replace('"CZ"', '"DE"')}
"""
NUMBER = "+420608000001"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("etc") / "edge.toml"
    path.write_text(CONFIG)
    return path


def policy(config: Path, *args: str) -> Ran:
    return command("--config", config, "policy", *args)


def tried(config: Path, *args: str) -> Any:
    done = policy(config, "try", *args, "--json")
    assert done.code == 0, done.err
    return done.json


def outcomes(result: Any) -> dict[str, tuple[str, bool]]:
    return {row["answer"]: (row["outcome"], row["recorded"]) for row in result["answers"]}


@pytest.mark.parametrize(
    ("arguments", "hears", "found"),
    [
        (
            ["--policy", "support"],
            ["ask", "ask_training", "ask_training_again"],
            {
                "presses 1, then nothing": ("given", True),
                "presses 1, then 1 to the further questions": ("given", True),
                "presses nothing": ("refused", False),
                "presses other keys only": ("refused", False),
                "hangs up": ("abandoned", False),
            },
        ),
        (
            ["--policy", "orders"],
            ["object", "object_again"],
            {
                "presses nothing": ("notified", True),
                "presses 2": ("objected", False),
                "presses other keys only": ("objected", False),
                "hangs up": ("abandoned", False),
            },
        ),
        (
            ["--policy", "helpdesk"],
            ["notice"],
            {"presses nothing": ("notified", True), "presses 2": ("objected", False), "hangs up": ("abandoned", False)},
        ),
        (["--policy", "trading"], ["legal"], {"whatever the caller does": ("not_required", True)}),
        (["--policy", "members", "--keys", "1"], ["ask"], {"presses 1": ("given", True)}),
        (
            ["--policy", "members", "--number", NUMBER, "--remembered", "given"],
            ["reminder"],
            {"presses nothing": ("given", True), "presses 2": ("withdrawn", False), "hangs up": ("abandoned", False)},
        ),
        (
            ["--policy", "members", "--number", NUMBER, "--remembered", "given", "--verified"],
            [],
            {"whatever the caller does": ("given", True)},
        ),
        (["--policy", "desk"], [], {"whatever the caller does": ("not_recorded", False)}),
        (["--policy", "desk", "--started", "--keys", "1"], ["ask"], {"presses 1": ("given", True)}),
        (["--policy", "private"], [], {"whatever the caller does": ("not_recorded", False)}),
        (["--policy", "choice", "--language", "cs", "--keys", "1"], ["language", "ask"], {"presses 1": ("given", True)}),
        (["--policy", "support", "--hang-up"], ["ask"], {"hangs up": ("abandoned", False)}),
        (["--policy", "support", "--keys", "77"], ["ask", "ask_again"], {"presses 7 7": ("refused", False)}),
        (["--policy", "support", "--outbound", "--keys", "silence"], ["ask_callee", "ask_callee_again"],
         {"presses nothing": ("refused", False)}),
        (["--policy", "support", "--dialled", "9112"], [], {"whatever the caller does": ("not_recorded", False)}),
        (["--policy", "trading", "--number", "555 100 900"], [], {"whatever the caller does": ("not_recorded", False)}),
    ],
)  # fmt: skip
def test_every_mode(config: Path, arguments: list[str], hears: list[str], found: dict[str, tuple[str, bool]]) -> None:
    result = tried(config, *arguments)
    assert [p["prompt"] for p in result["hears"]] == hears
    assert outcomes(result) == found
    assert all(p["text"] and p["seconds"] > 0 for p in result["hears"])


@pytest.mark.parametrize(
    ("arguments", "what", "why"),
    [
        (["--remembered", "given"], "short", "remembered"),
        (["--remembered", "given", "--days", "31"], "nothing", "expired"),
        (["--remembered", "given", "--days", "31", "--verified"], "short", "remembered"),
        (["--remembered", "given", "--days", "91", "--verified"], "nothing", "expired"),
        (["--remembered", "refused"], "nothing", "unverified"),
        (["--remembered", "refused", "--verified"], "no", "verified"),
        ([], "nothing", "unknown"),
    ],
)
def test_what_was_answered_before(config: Path, arguments: list[str], what: str, why: str) -> None:
    result = tried(config, "--policy", "support", "--number", "608 000 001", *arguments)
    assert (result["memory"]["what"], result["memory"]["why"]) == (what, why)
    if what == "short":
        assert result["hears"][0]["prompt"] == "ask_short"
    if what == "no":
        assert outcomes(result) == {"whatever the caller does": ("refused", False)}


@pytest.mark.parametrize("number", ["", "anonymous", "1001", "+420800123456"])
def test_no_memory_for_some_numbers(config: Path, number: str) -> None:
    result = tried(config, "--policy", "support", "--number", number, "--remembered", "given", "--verified")
    assert result["memory"]["what"] == "nothing"
    assert result["hears"][0]["prompt"] == "ask"


@pytest.mark.parametrize(
    ("arguments", "name", "by"),
    [
        (["--did", "555100200"], "support", "match.did lists 555100200"),
        (["--dialled", "00420555100200"], "support", "match.did"),
        (["--queue", "help"], "support", "match.queue"),
        (["--did", "1", "--queue", "help"], "support", "nothing lists 1"),
        (["--policy", "orders", "--did", "555100200"], "orders", "the dialplan names it"),
    ],
)
def test_which_policy_and_why(config: Path, arguments: list[str], name: str, by: str) -> None:
    result = tried(config, *arguments)
    assert result["policy"] == name
    assert by in result["chosen_by"]


def test_another_country_reads_numbers_in_its_own_way(config: Path) -> None:
    done = policy(config, "try", "--did", "555100200", "--country", "DE")
    assert (done.code, "policy.unknown" in done.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["try", "--policy", "suport"], 3, ["policy.unknown", "support"]),
        (["try"], 3, ["policy.unknown", "unavailable"]),
        (["try", "--policy", "support", "--keys", "yes"], 2, ["usage.keys"]),
        (["try", "--policy", "support", "--remembered", "maybe"], 2, ["given"]),
        (["show", "nobody"], 5, ["not_found.policy", "support"]),
    ],
)
def test_errors(config: Path, arguments: list[str], code: int, words: list[str]) -> None:
    done = policy(config, *arguments)
    assert done.code == code, done.err
    assert all(word in done.err for word in words)


def test_in_plain_words(config: Path) -> None:
    done = policy(config, "try", "--did", "555100200", "--number", NUMBER)
    assert done.code == 0, done.err
    for words in (
        'policy "support" (match.did lists 555100200), mode opt_in',
        'in CZ: at least "notice"',
        "May we record this call",
        "presses nothing: refused, not recorded: silence is never a yes",
        "audio P6M",
        KEYS[0],
        "The consent was withdrawn",
        "the call goes on unrecorded",
    ):
        assert words in done.out, words


def test_list_and_show(config: Path) -> None:
    listed = policy(config, "list", "--json").json
    assert [p["policy"] for p in listed["policies"]] == [
        "support", "choice", "orders", "helpdesk", "trading", "members", "desk", "private", "weak"
    ]  # fmt: skip
    (alarm,) = listed["alarms"]
    assert alarm["code"] == "policy.override"
    assert "the director" in policy(config, "list").err
    shown = policy(config, "show", "support", "--json").json
    assert shown["document"]["pause_limit"] == {"ms": 600_000}
    assert shown["version"] == listed["policies"][0]["version"]
    text = policy(config, "show", "support").out
    assert "  pause_limit: 600 s\n" in text
    assert "  header: false\n" in text


def test_a_stored_call_under_its_policy_and_under_the_one_of_now(edge: make.Edge) -> None:
    async def fill() -> tuple[str, str]:
        async with make.opened(edge) as files:
            old = msgspec.structs.replace(edge.loaded.policies["support"], yes_key="5")
            call = NewCall(
                make.new_id(), "1.1", "1.1", "PJSIP/1001-00000001", make.new_id(), "inbound", "support", old.version,
                old.document, old.mode, old.purposes, "en", NUMBER, "plain", make.AT,
            )  # fmt: skip
            await files.journal.open_call(call)
            await files.journal.add_event(call.call_id, make.event("requested", call, 0), state="asking")
            pressed = {"reason": "key", "key": "1", "keys_pressed": "11"}
            refused = ConsentEvent("refused", make.AT, 1, pressed, call.party_id)
            await files.journal.add_event(call.call_id, refused, state="declined", outcome="refused")
            return call.call_id, (await make.add_call(files, outcome="refused", reason="silence")).call_id

    call_id, strange = asyncio.run(fill())
    done = edge.run("policy", "try", "--call", call_id, "--json")
    assert done.code == 0, done.err
    assert done.json["was"]["outcome"] == "refused"
    assert outcomes(done.json["then"]) == {"presses 1 1": ("refused", False)}
    assert outcomes(done.json["now"]) == {"presses 1 1": ("given", True)}
    text = edge.run("policy", "try", "--call", call_id[:8]).out
    assert "ended as refused" in text
    assert "under the policy of now" in text
    other = edge.run("policy", "try", "--call", strange, "--json")
    assert (other.code, other.json["then"]) == (0, None), "a document of another version is said, not stumbled over"
    assert "another version" in other.err
    assert outcomes(other.json["now"]) == {"presses nothing": ("refused", False)}
    assert edge.run("policy", "try", "--call", "ffffffff").code == 5


def test_facts_of_a_stored_call() -> None:
    call = {
        "policy": "p", "caller": None, "direction": "outbound", "language": "cs", "outcome": "given",
    }  # fmt: skip
    silent = of_call({"call": call, "events": [{"kind": "given", "evidence": {"reason": "on_file", "heard": []}}]})
    assert silent == Facts(policy="p", outbound=True, language="cs", keys="", remembered="given", verified=True)
    pressed = of_call(
        {
            "call": call,
            "events": [{"kind": "requested", "evidence": {}}, {"kind": "given", "evidence": {"keys_pressed": "71"}}],
        }
    )
    assert (pressed.keys, pressed.remembered, pressed.hang_up) == ("71", "", False)
    left = of_call({"call": {**call, "outcome": "abandoned"}, "events": []})
    assert left.hang_up


def test_a_caller_who_never_stops_pressing_comes_to_an_end() -> None:
    ask = PromptFacts("ask", "1.0", "en", "0" * 64, 5000, 3000)
    for mode in ("opt_in", "opt_out", "notice", "prior"):
        decision = converse(Script(mode, ask=ask), "7" * 50)
        assert decision.outcome in ("refused", "objected", "notified", "unavailable")


@pytest.mark.parametrize(("form", "says"), [("none", "no number"), ("hashed", "a hash"), ("clear", "in clear")])
def test_it_says_what_central_is_told(form: str, says: str) -> None:
    from callwarden.dryrun_words import details
    from edge.consent.policy import CentralSharing, Policy

    sharing = msgspec.convert({"number": form}, CentralSharing)
    policy = Policy(name="support", mode="opt_in", purposes=("quality",), central=sharing)
    told = details(policy, "")["told to central"]
    assert says in told.partition("; ")[2]
    assert CentralSharing().number == "none"
