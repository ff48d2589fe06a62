"""The AGI core against a recorded Asterisk, cut at every byte, and against inputs nobody should send."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.agi.protocol import (
    MAX_BLOCK,
    MAX_LINE,
    AgiParser,
    Broken,
    EnvReceived,
    Event,
    Hangup,
    Reply,
    encode,
)
from edge.errors import CallwardenError

RECORDED = (Path(__file__).parents[2] / "transcripts" / "agi.txt").read_bytes()
ENV = RECORDED[: RECORDED.index(b"\n\n") + 2]


def parse(*pieces: bytes) -> list[Event]:
    parser = AgiParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def after_env(*pieces: bytes) -> list[Event]:
    return parse(ENV, *pieces)[1:]


def test_recorded_session_is_understood() -> None:
    env, *replies = parse(RECORDED)
    assert isinstance(env, EnvReceived)
    assert env.values["agi_network_script"] == "entry"
    assert env.values["agi_arg_1"] == "support"
    assert env.values["agi_accountcode"] == ""
    usage = next(r for r in replies if isinstance(r, Reply) and r.code == 520)
    assert usage.data is not None
    assert usage.data.endswith("520 End of proper usage.")
    assert [r for r in replies if r != usage] == [
        Reply(200, 0),
        Reply(200, 0),
        Reply(200, 1),
        Reply(200, 1, "unavailable"),
        Reply(200, 1, "a\nb"),  # a value with a line feed is one answer
        Reply(200, -1, endpos=0),
        Reply(200, 49, endpos=5760),
        Reply(200, 0),
        Reply(510, data="Invalid or unknown command"),
        Reply(200, 0),
        Reply(200, 1),
        Hangup(),
        Reply(200, 1, "unavailable"),
    ]


def test_row10_every_cut_of_the_recording_gives_the_same_events() -> None:
    whole = parse(RECORDED)
    for cut in range(1, len(RECORDED)):
        assert parse(RECORDED[:cut], RECORDED[cut:]) == whole
    assert parse(*(bytes([byte]) for byte in RECORDED)) == whole


@pytest.mark.parametrize(
    ("env", "why"),
    [
        (b"agi_callerid: 1\nevil\n\n", "not a line"),
        (b"agi_callerid: 1\nagi_callerid: 2\n\n", "twice"),
        (b"agi_callerid: \xff\xfe\n\n", "UTF-8"),
        (b"agi_callerid: a\x00b\n\n", "NUL"),
        (b"agi_callerid: a\rb\n\n", "control"),
        (b"agi_callerid: " + b"x" * MAX_LINE + b"\n\n", "line too long"),
        (b"x" * (MAX_LINE + 1), "line too long"),
        (b"".join(b"agi_k%d: v\n" % n for n in range(129)) + b"\n", "too many"),
        (b"".join(b"agi_k%d: %s\n" % (n, b"v" * 8000) for n in range(9)) + b"\n", "block too long"),
        (b"GET / HTTP/1.1\n\n", "not a line"),
        (b"AGI_X: y\n\n", "not a line"),
    ],
)
def test_row9_a_hostile_environment_is_refused(env: bytes, why: str) -> None:
    events = parse(env, b"agi_request: x\n\n")
    assert len(events) == 1
    assert isinstance(events[0], Broken)
    assert why in events[0].reason


def test_row9_an_environment_without_end_stays_small() -> None:
    parser = AgiParser()
    for n in range(100_000):
        if any(isinstance(event, Broken) for event in parser.feed(b"agi_%d: x\n" % n)):
            break
    assert n <= 128


@pytest.mark.parametrize(
    "line",
    [
        b"200 result=\n",
        b"200 result=1x\n",
        b"200 result=1 trailing\n",
        b"200 result=99999999999\n",
        b"300 result=1\n",
        b"hello\n",
        b"\n",
        b"agi_request: x\n",
        b"200 result=1 (\xc3)\n",
    ],
)
def test_row10_an_answer_that_does_not_parse_ends_the_session(line: bytes) -> None:
    events = after_env(line, b"200 result=49 (1)\n")
    assert len(events) == 1
    assert isinstance(events[0], Broken)


def test_row10_a_value_that_forges_an_answer_is_read_to_its_end_or_breaks() -> None:
    # the value is "a)\n200 result=49 (": its first line looks complete, so the rest is out of step
    assert isinstance(after_env(b"200 result=1 (a\n200 result=49 (b)\n")[0], Reply)
    first, second = after_env(b"200 result=1 (a)\nb)\n")
    assert first == Reply(200, 1, "a")
    assert isinstance(second, Broken)


def test_a_value_without_end_is_limited() -> None:
    events = after_env(b"200 result=1 (a\n", *(b"b" * 1000 + b"\n" for _ in range(70)))
    assert isinstance(events[-1], Broken)


def test_trying_is_no_answer() -> None:
    assert after_env(b"100 result=0 Trying...\n200 result=0\n") == [Reply(200, 0)]


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x00b", 'a"b', "a\\b", "\x1b[2J", "\u2028", "\ud800", "\x85"])
def test_row11_the_encoder_refuses(bad: str) -> None:
    with pytest.raises(CallwardenError) as refused:
        encode("SET VARIABLE", "NAME", bad)
    assert refused.value.code == "agi.unsafe_value"


def test_the_encoder_refuses_what_asterisk_would_cut() -> None:
    assert len(encode("SET VARIABLE", "N", "x" * 1900)) < 2048
    with pytest.raises(CallwardenError):
        encode("SET VARIABLE", "N", "é" * 1100)


@given(st.lists(st.text(max_size=40), max_size=4))
@settings(max_examples=2000, deadline=None)
def test_row11_whatever_is_sent_is_one_line_of_quoted_words(words: list[str]) -> None:
    try:
        line = encode("EXEC", *words)
    except CallwardenError:
        return
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    text = line.decode()[len("EXEC") : -1]
    assert text == "".join(f' "{word}"' for word in words)
    assert text.count('"') == 2 * len(words)


def mutated(chance: random.Random, base: bytes) -> bytes:
    """A few seeded injuries: bytes changed, pieces removed, doubled, moved, or swapped for something pointed."""
    data = bytearray(base)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data) + 1)
        length = chance.randrange(1, 40)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                data[at:at] = chance.choice(
                    [b"\n", b"\n\n", b"\r", b"\x00", b"HANGUP\n", b"200 result=49\n", b"(", b")"]
                )
            case _:
                data[at:at] = chance.choice([b"520-", b"agi_arg_1: x\n", b"\xff", b"x" * 9000, b"511 \n", b" endpos=1"])
    return bytes(data)


def test_row9_row10_a_hundred_thousand_injured_sessions() -> None:
    chance = random.Random(20261122)
    for number in range(100_000):
        data = mutated(chance, RECORDED)
        parser = AgiParser()
        cut = chance.randrange(len(data) + 1)
        events = [*parser.feed(data[:cut]), *parser.feed(data[cut:])]
        broken = [index for index, event in enumerate(events) if isinstance(event, Broken)]
        assert broken in ([], [len(events) - 1])
        assert sum(isinstance(event, EnvReceived) for event in events) <= 1
        assert len(parser._tail) <= MAX_LINE
        assert sum(map(len, parser._lines)) <= MAX_BLOCK
        if number % 50 == 0:  # and once more in one piece: the cut must not matter
            assert parse(data) == events
