"""What FreePBX's names and Asterisk's call records say, and what hostile ones cannot do."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adopt.cdr import KEPT, rows
from edge.adopt.facts import Records, describe
from edge.adopt.names import local, named, zone_fits
from edge.errors import CallwardenError
from edge.model.adoption import Facts
from formats.wavscan import Sound

PRAGUE = ZoneInfo("Europe/Prague")
SOUND = Sound("sln", 8000, 1, 44, 16000)
HEAD = (
    "calldate,clid,src,dst,dcontext,channel,dstchannel,lastapp,lastdata,duration,billsec,disposition,amaflags,"
    "accountcode,uniqueid,userfield,did,recordingfile,cnum,cnam,linkedid,peeraccount,sequence"
)


@pytest.mark.parametrize(
    ("name", "kind", "dest", "caller", "uid"),
    [
        ("in-5551234-777123456-20240105-101500-1704446100.12.wav", "in", "5551234", "777123456", "1704446100.12"),
        ("out-777123456-201-20240105-101500-1704446100.7.wav", "out", "777123456", "201", "1704446100.7"),
        ("q-600-+420777123456-20240105-101500-1704446100.12.wav", "q", "600", "+420777123456", "1704446100.12"),
        ("rg-600-anonymous-20240105-101500-1704446100.12.WAV", "rg", "600", "anonymous", "1704446100.12"),
        ("internal-201-202-20240105-101500-pbx1-1704446100.12.wav", "internal", "201", "202", "pbx1-1704446100.12"),
        ("force-a-b-c-20240105-101500-1704446100.12.wav", "force", "a-b", "c", "1704446100.12"),
    ],
)
def test_names(name: str, kind: str, dest: str, caller: str, uid: str) -> None:
    found = named(name, PRAGUE)
    assert found is not None
    assert (found.type, found.dest, found.caller, found.uniqueid) == (kind, dest, caller, uid)
    assert found.at == datetime(2024, 1, 5, 9, 15, tzinfo=UTC)
    assert found.outside == ("777123456" if kind == "out" else caller)
    assert zone_fits(found.at, uid)


@pytest.mark.parametrize(
    "name", ["rec001.wav", "in-1-2-20241305-101500-1704446100.1.wav", "in-1-2-20240105-1704446100.1.wav", ".wav", ""]
)
def test_names_of_others(name: str) -> None:
    assert named(name, PRAGUE) is None


def test_the_hour_that_comes_twice_is_told_by_the_calls_id() -> None:
    first, second = datetime(2024, 10, 27, 0, 30, tzinfo=UTC), datetime(2024, 10, 27, 1, 30, tzinfo=UTC)
    for at in (first, second):
        assert local("20241027023000", "%Y%m%d%H%M%S", PRAGUE, f"{int(at.timestamp())}.5") == at


def test_a_wrong_zone_shows() -> None:
    found = named("in-1-2-20240105-101500-1704446100.12.wav", ZoneInfo("America/New_York"))
    assert found is not None
    assert not zone_fits(found.at, found.uniqueid)


def records(*lines: str) -> Records:
    found = Records(PRAGUE)
    found.add(rows(lines))
    return found


def facts(name: str, known: Records) -> Facts:
    return describe(f"2024/01/05/{name}", "/m", SOUND, "ab" * 32, records=known, written_at=1704450000.5).facts


def test_a_freepbx_export() -> None:
    name = "q-600-777123456-20240105-101510-1704446100.12.wav"
    known = records(
        HEAD,
        '2024-01-05 10:15:00,"""Eva"" <777123456>",777123456,600,ext-queues,a,b,Queue,"x,y",70,60,ANSWERED,3,,'
        f"1704446100.12,,5551234,{name},,,1704446099.11,,1",
    )
    found = facts(name, known)
    assert (found.started_at, found.started_from) == ("2024-01-05T09:15:00.000Z", "cdr")
    assert (found.number, found.direction, found.uniqueid) == ("777123456", "inbound", "1704446100.12")
    assert found.linkedid == "1704446099.11"


def test_other_separators_orders_and_marks() -> None:
    for sign in ";\t":
        known = records(
            "\ufeff" + sign.join(["uniqueid", "CallDate", "src", "dst", "recordingfile"]),
            sign.join(["1704446100.1", "2024-01-05 10:15:00", "1", "2", "/var/x/rec.wav"]),
        )
        assert facts("rec.wav", known).uniqueid == "1704446100.1"


def test_a_master_csv_without_names() -> None:
    line = (
        '"","777123456","600","from-trunk","""Eva"" <777123456>","PJSIP/t-1","","Dial","x","2024-01-05 10:15:00",'
        '"2024-01-05 10:15:05","2024-01-05 10:16:00",60,55,"ANSWERED","DOCUMENTATION","1704446100.12",""'
    )
    known = records(line)
    assert known.count == 1
    found = facts("in-600-777123456-20240105-101505-1704446100.12.wav", known)
    assert (found.started_from, found.number) == ("cdr", "777123456")


def test_without_a_record_the_name_and_without_a_name_the_file() -> None:
    found = facts("out-777123456-201-20240105-101500-1704446100.7.wav", records(HEAD))
    assert (found.started_from, found.direction, found.number) == ("name", "outbound", "777123456")
    bare = facts("rec.wav", records(HEAD))
    assert (bare.started_from, bare.started_at, bare.uniqueid) == ("file", "2024-01-05T10:19:59.500Z", "")


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(CallwardenError, match=r"Master\.csv") as error:
        list(rows(["hello", "world"]))
    assert error.value.code == "adopt.cdr"


def test_ids_that_are_none_are_left_out() -> None:
    known = records(
        "uniqueid,calldate,src,dst,recordingfile,linkedid", '"x\'; DROP",2024-01-05 10:15:00,1,2,rec.wav,../../etc'
    )
    found = facts("rec.wav", known)
    assert (found.uniqueid, found.linkedid) == ("", "")


@given(st.lists(st.text(max_size=200), max_size=20))
def test_no_text_breaks_the_reader(lines: list[str]) -> None:
    for row in rows([HEAD, *lines]):
        assert len(row) == len(KEPT)
        assert all(len(cell) <= 512 for cell in row)


@given(st.text(max_size=80), st.floats(allow_nan=True))
def test_no_name_and_no_time_breaks_the_description(name: str, written_at: float) -> None:
    try:
        described = describe(f"{name}.wav", "/m", SOUND, "ab" * 32, records=Records(PRAGUE), written_at=written_at)
    except CallwardenError as error:
        if error.code not in ("adopt.name", "adopt.time"):
            raise
        return
    assert described.facts.place.startswith("/m/")


def test_two_copies_of_one_file_are_one_and_two_calls_are_two() -> None:
    one = facts("in-600-7-20240105-101505-1704446100.12.wav", records(HEAD))
    moved = describe(
        "elsewhere/in-600-7-20240105-101505-1704446100.12.wav",
        "/n",
        SOUND,
        "ab" * 32,
        records=records(HEAD),
        written_at=1.0,
    ).facts
    assert one.identity == moved.identity
    for other in ("in-600-7-20240105-101505-1704446100.13.wav", "in-600-8-20240105-101505-1704446100.12.wav"):
        assert facts(other, records(HEAD)).identity != one.identity
