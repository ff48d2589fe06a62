"""The AMI core against a recorded Asterisk, cut at every byte, and against streams nobody should send."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.ami.protocol import MAX_MESSAGE, AmiParser, AmiStreamError, Message, encode
from edge.ami.translate import WANTED
from edge.errors import CallwardenError

RECORDED = (Path(__file__).parents[2] / "transcripts" / "ami.txt").read_bytes()
BANNER = b"Asterisk Call Manager/11.0.0\r\n"


def parse(*pieces: bytes, wanted: frozenset[str] = WANTED) -> list[Message]:
    parser = AmiParser(wanted)
    return [message for piece in pieces for message in parser.feed(piece)]


def test_recorded_stream_gives_what_matters() -> None:
    messages = parse(RECORDED)
    names = [message.event for message in messages]
    assert names.count("Newchannel") == 4
    assert names.count("Hangup") == 4
    assert names.count("CoreShowChannelsComplete") == 2
    listed = {"CoreShowChannel", "CoreShowChannelsComplete"}
    assert set(names) <= {*WANTED, *listed, "", "OriginateResponse"}  # those with an ActionID are kept
    first = messages[0]
    assert (first.event, first.get("Response"), first.get("Message")) == ("", "Success", "Authentication accepted")
    born = {message.get("Uniqueid") for message in messages if message.event == "Newchannel"}
    dead = {message.get("Uniqueid") for message in messages if message.event == "Hangup"}
    assert born == dead
    assert len(born) == 4


def test_every_cut_of_the_recording_gives_the_same_messages() -> None:
    whole = parse(RECORDED)
    for cut in range(1, len(RECORDED)):
        assert parse(RECORDED[:cut], RECORDED[cut:]) == whole
    assert parse(*(bytes([byte]) for byte in RECORDED)) == whole


def test_an_event_with_a_response_header_is_an_event() -> None:
    (message,) = parse(BANNER, b"Event: OriginateResponse\r\nActionID: a\r\nResponse: Failure\r\nUniqueid: 1.2\r\n\r\n")
    assert message.event == "OriginateResponse"
    assert message.get("Response") == "Failure"


def test_row39_an_event_inside_a_value_is_no_event() -> None:
    messages = parse(
        BANNER,
        b"Event: UserEvent\r\nUserEvent: x\r\nNote: Event: Hangup\r\nUniqueid: 1.2\r\n\r\n",
        b"Event: Newchannel\r\nCallerIDName: Event: Hangup\\r\\n\r\nUniqueid: 1.3\r\n\r\n",
    )
    assert [message.event for message in messages] == ["Newchannel"]


def test_row39_a_header_that_came_twice_counts_for_nothing() -> None:
    (message,) = parse(BANNER, b"Event: Hangup\r\nCallerIDName: x\r\nUniqueid: 9.9\r\nUniqueid: 1.2\r\n\r\n")
    assert message.get("Uniqueid") == ""


def test_row42_long_lines_and_many_headers_are_taken() -> None:
    many = b"".join(b"H%d: v\r\n" % number for number in range(500))
    long = b"Long: " + b"x" * 50_000 + b"\r\n"
    (message,) = parse(BANNER, b"Event: Hangup\r\nUniqueid: 1.2\r\n" + many + long + b"\r\n")
    assert message.get("Uniqueid") == "1.2"
    assert message.get("H499") == "v"
    assert len(message.get("Long")) == 50_000


def test_invalid_utf8_is_replaced_not_lost() -> None:
    (message,) = parse(BANNER, b"Event: Hangup\r\nCallerIDName: \xff\xc3\r\nUniqueid: 1.2\r\n\r\n")
    assert message.get("CallerIDName") == "\ufffd\ufffd"
    (split,) = parse(BANNER, b"Event: Hangup\r\nCallerIDName: \xc5", b"\x99\r\nUniqueid: 1.2\r\n\r\n")
    assert split.get("CallerIDName") == "ř"


def test_a_message_without_end_is_given_up() -> None:
    parser = AmiParser(WANTED)
    parser.feed(BANNER)
    for _ in range(MAX_MESSAGE // 1000):
        assert parser.feed(b"x" * 1000) == []
    with pytest.raises(AmiStreamError):
        parser.feed(b"x" * 1000)


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 400\r\n", b"x" * 300, b"\r\n"])
def test_another_service_on_the_port_is_recognised(greeting: bytes) -> None:
    with pytest.raises(AmiStreamError):
        parse(greeting)


@pytest.mark.parametrize("bad", ["a\r\nAction: Originate", "a\nb", "a\x00", "x,y", "\ud800", "y" * 1000])
def test_the_encoder_refuses(bad: str) -> None:
    with pytest.raises(CallwardenError) as refused:
        encode("Setvar", {"Variable": "X", "Value": bad}, "1")
    assert refused.value.code == "ami.unsafe_value"


def test_the_encoder_refuses_too_many_headers_and_takes_a_secret_with_a_comma() -> None:
    with pytest.raises(CallwardenError):
        encode("Setvar", {f"V{number}": "x" for number in range(130)}, "1")
    assert b"Secret: a,b\r\n" in encode("Login", {"Secret": "a,b"}, "1")


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=4))
@settings(max_examples=2000, deadline=None)
def test_whatever_is_sent_has_exactly_the_headers_it_was_given(fields: dict[str, str]) -> None:
    try:
        sent = encode("Setvar", fields, "id").decode()
    except CallwardenError:
        return
    assert sent.endswith("\r\n\r\n")
    lines = sent[:-4].split("\r\n")
    assert lines == ["Action: Setvar", "ActionID: id", *(f"{key}: {value}" for key, value in fields.items())]


def test_a_hundred_thousand_injured_streams() -> None:
    chance = random.Random(20261122)
    blocks = RECORDED.split(b"\r\n\r\n")
    pointed = [
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\x00",
        b"Event: Hangup\r\nUniqueid: 1.1\r\n\r\n",
        b"Event: ",
        b"\xff",
        b":",
    ]
    for number in range(100_000):
        start = chance.randrange(len(blocks) - 3)
        data = bytearray(BANNER + b"\r\n\r\n".join(blocks[start : start + 3]) + b"\r\n\r\n")
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(BANNER), len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randrange(1, 30)]
                case 2:
                    data[at:at] = data[at : at + chance.randrange(1, 30)]
                case _:
                    data[at:at] = chance.choice(pointed)
        cut = chance.randrange(len(data))
        parser = AmiParser(WANTED)
        messages = [*parser.feed(bytes(data[:cut])), *parser.feed(bytes(data[cut:]))]
        for message in messages:
            assert all("\r\n" not in value for _, value in message.headers)
            if message.event not in WANTED and message.event:
                assert any(key == "ActionID" for key, _ in message.headers)
        if number % 50 == 0:
            assert parse(bytes(data)) == messages


def test_row38_twenty_thousand_unwanted_events_cost_little() -> None:
    noise = (
        b"Event: Newexten\r\nPrivilege: dialplan,all\r\nChannel: PJSIP/a-1\r\n" + b"Header: value\r\n" * 20 + b"\r\n"
    )
    flood = noise * 20_000
    parser = AmiParser(WANTED)
    parser.feed(BANNER)
    begin = time.process_time()
    for at in range(0, len(flood), 65536):
        assert parser.feed(flood[at : at + 65536]) == []
    assert parser.dropped == 20_000
    assert time.process_time() - begin < 1.0
