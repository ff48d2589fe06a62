"""HTTP Range on the local door: right by RFC 9110, and hostile values are answered with 4xx and no byte."""

from __future__ import annotations

import asyncio
import http.client
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.api.ranges import stretch
from edge.api.server import make_app, serve
from edge.errors import CallwardenError
from tests.unit.cli import cli_makers as make
from tests.unit.cli.test_parts import entries

SIZE = 200_000

GOOD = [
    (None, None),
    ("bytes=0-0", (0, 1)),
    ("bytes=16-65567", (16, 65568)),
    ("bytes=100-", (100, SIZE)),
    ("bytes=-5", (SIZE - 5, SIZE)),
    ("bytes=-999999999999", (0, SIZE)),
    ("bytes=0-999999999999999999", (0, SIZE)),
    ("BYTES=1-2", (1, 3)),
    (" bytes=1-2 ", (1, 3)),
    ("seconds=1-2", None),  # a unit that is not known MUST be ignored (RFC 9110, 14.2)
]
MALFORMED = [
    "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "bytes=5-4", "bytes=1--2", "bytes=+1-2", "bytes=0x1-2",
    "bytes= 1-2", "bytes=1 -2", "bytes=\u0661-\u0662", "bytes=1-2;", "bytes=" + "9" * 5000 + "-", "", "-", "\x00",
    "bytes=0-1\nX: y", "bytes=1-2, seconds=3-4",
]  # fmt: skip
OUTSIDE = [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 1}", "bytes=999999999999999999-", "bytes=-0"]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_ranges_that_are_answered(text: str | None, expected: tuple[int, int] | None) -> None:
    assert stretch(text, SIZE) == expected


@pytest.mark.parametrize(
    ("text", "code"), [*((t, "usage.range") for t in MALFORMED), *((t, "command.range") for t in OUTSIDE)]
)
def test_ranges_that_are_refused(text: str, code: str) -> None:
    with pytest.raises(CallwardenError) as refused:
        stretch(text, SIZE)
    assert refused.value.code == code


@given(st.text(alphabet="byte=-,0123456789 \t\x00é", max_size=30) | st.text(max_size=20), st.integers(0, 300))
def test_whatever_is_asked_for_lies_inside(text: str, size: int) -> None:
    try:
        found = stretch(text, size)
    except CallwardenError:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


def test_nothing_of_nothing() -> None:
    assert stretch(None, 0) is None
    with pytest.raises(CallwardenError, match="0 bytes"):
        stretch("bytes=0-", 0)


def ask(edge: make.Edge, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20)
    connection.sock.connect(str(edge.loaded.edge.socket))
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def asked(edge: make.Edge, *requests: tuple[str, str, dict[str, str]]) -> list[tuple[int, dict[str, str], bytes]]:
    async def go() -> list[Any]:
        async with make.opened(edge) as files:
            runner = await serve(make_app(make.deps(edge, files)), edge.loaded.edge.socket)
            try:
                return [await asyncio.to_thread(ask, edge, path, method, **h) for method, path, h in requests]
            finally:
                await runner.cleanup()

    return asyncio.run(go())


def test_the_door_answers_parts_wholes_and_nonsense(filled: make.Edge) -> None:
    two = filled.facts["two"].recording_id
    path = f"/v1/recordings/{two}/segments/0/payload"
    answers = asked(
        filled,
        ("GET", path, {}),
        ("GET", path, {"Range": "bytes=16-65567"}),
        ("GET", path, {"Range": "bytes=-16"}),
        ("GET", path, {"Range": "bytes=1-2", "If-Range": '"x"'}),
        ("HEAD", path, {"Range": "bytes=1-2"}),
        ("GET", path, {"Range": "bytes=99999999-"}),
        ("GET", path, {"Range": "bytes=5-1"}),
        ("GET", path, {"Range": "bytes=0-1,3-4"}),
        ("GET", path + "?from_ms=x", {}),
        ("GET", path + "?from_ms=5&to_ms=5", {}),
        ("GET", path + "?form=mp3", {}),
        ("GET", path + "?purpose=marketing", {"Range": "bytes=16-17"}),
    )
    whole = answers[0][2]
    assert (answers[0][0], answers[0][1]["Accept-Ranges"], len(whole)) == (200, "bytes", 160_000 + 16 + 3 * 16)
    assert answers[1][0] == 206
    assert answers[1][1]["Content-Range"] == f"bytes 16-65567/{len(whole)}"
    assert answers[1][2] == whole[16:65568]
    assert (answers[2][0], answers[2][2]) == (206, whole[-16:])
    assert (answers[3][0], answers[3][2]) == (200, whole)
    assert (answers[4][0], answers[4][2], answers[4][1]["Content-Length"]) == (200, b"", str(len(whole)))
    assert answers[5][0] == 416
    assert answers[5][1]["Content-Range"] == f"bytes */{len(whole)}"
    assert [a[0] for a in answers[6:]] == [400, 400, 400, 400, 400, 403]
    assert all(b"error" in a[2] and whole[16:40] not in a[2] for a in answers[5:])
    noted = [e for e in entries(filled) if e["kind"].startswith("recording.")]
    reads = [(e["body"]["first_byte"], e["body"]["end_byte"]) for e in noted if e["kind"] == "recording.read_payload"]
    size = len(whole)
    assert reads == [(0, size), (16, 65568), (size - 16, size), (0, size), (0, size)]
    assert noted[-1]["kind"] == "recording.read_refused"


def test_an_erased_and_a_quarantined_payload_are_refused_and_noted(filled: make.Edge) -> None:
    two, erased = filled.facts["two"].recording_id, filled.facts["erased"].recording_id

    async def quarantine() -> None:
        async with make.opened(filled) as files:
            await files.journal.set_recording_state(two, "quarantined")

    asyncio.run(quarantine())
    answers = asked(
        filled,
        ("GET", f"/v1/recordings/{erased}/segments/0/payload", {"Range": "bytes=0-15"}),
        ("GET", f"/v1/recordings/{two}/segments/0/payload", {"Range": "bytes=0-15"}),
        ("GET", f"/v1/recordings/{two}/segments/0/header", {}),
        ("GET", f"/v1/recordings/{two}/segments/0/header?form=verify", {}),
    )
    assert [a[0] for a in answers] == [404, 403, 403, 200]
    (read,) = [e["body"] for e in entries(filled) if e["kind"] == "recording.read"]
    assert (read["form"], read["state"]) == ("verify", "quarantined")
    noted = [e["body"]["why"] for e in entries(filled) if e["kind"] == "recording.read_refused"]
    assert noted == ["erased", "quarantined", "quarantined"]


def test_a_planted_link_is_not_followed(filled: make.Edge) -> None:
    two = filled.facts["two"].recording_id
    folder = filled.loaded.edge.vault / two[:2] / two
    for payload in list(folder.glob("*.payload")):
        payload.unlink()
        payload.symlink_to("/etc/passwd")
    answers = asked(filled, ("GET", f"/v1/recordings/{two}/segments/0/payload", {}))
    assert answers[0][0] in (409, 503)
    assert b"root:" not in answers[0][2]


def test_what_is_restricted_is_kept_and_read_by_nobody(filled: make.Edge) -> None:
    import sqlite3

    two = filled.facts["two"].recording_id
    with sqlite3.connect(filled.loaded.edge.journal) as conn:
        conn.execute(
            "INSERT INTO hold(hold_id, scope, target, reason, placed_by, placed_at, kind)"
            " VALUES('h', 'recording', ?, 'accuracy disputed', 'dpo', ?, 'restriction')",
            (two, make.AT),
        )
    path = f"/v1/recordings/{two}/segments/0/"
    answers = asked(
        filled, ("GET", path + "header", {}), ("GET", path + "payload", {"Range": "bytes=16-99"}),
        ("GET", path + "header?form=verify", {}), ("GET", path + "payload?form=verify", {"Range": "bytes=16-99"}),
        ("GET", path + "header?form=verify&purpose=legal_claims&case=c-7", {}),
    )  # fmt: skip
    assert [a[0] for a in answers] == [403, 403, 403, 403, 200]
    assert b"accuracy disputed" in answers[0][2]
    noted = [e["body"]["why"] for e in entries(filled) if e["kind"] == "recording.read_refused"]
    assert noted == ["restricted"] * 4
