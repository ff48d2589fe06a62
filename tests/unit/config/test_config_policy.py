"""The policy: its version, its tick, who it is for, and what its prompt must say."""

from __future__ import annotations

import hashlib
import itertools
import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.consent.policy import (
    CHUNK_BYTES,
    Capture,
    Match,
    Policy,
    choose_language,
    required_sayings,
    seal_tick,
    select,
)
from edge.consent.policy_rules import problems
from edge.consent.units import Period, Seconds

ASK = Policy(name="support", mode="opt_in", purposes=("quality", "evidence"), languages=("en", "cs"))


def test_version_is_the_hash_of_the_canonical_document() -> None:
    document = json.loads(ASK.document)
    assert document["answer_window"] == {"ms": 5000}
    assert document["retention"]["recordings"] == "P6M"
    assert ASK.document == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert ASK.version == hashlib.sha256(ASK.document.encode()).hexdigest()


def test_equal_content_has_one_version_however_it_was_written() -> None:
    again = msgspec.structs.replace(ASK, answer_window=Seconds.parse("PT5S"))
    assert again.version == ASK.version


@pytest.mark.parametrize(
    "changed",
    [
        {"yes_key": "2"},
        {"purposes": ("quality",)},
        {"recipients": ("age1x",)},
        {"answer_window": Seconds(6)},
        {"remember": Period("P1D")},
        {"match": Match(did=("1",))},
        {"capture": Capture(rate=16000)},
        {"name": "sales"},
    ],
)
def test_every_change_is_a_new_version(changed: dict[str, object]) -> None:
    assert msgspec.structs.replace(ASK, **changed).version != ASK.version


def test_tick_of_the_default_format_is_the_policys_own() -> None:
    assert seal_tick(ASK) == 4.0
    fast = msgspec.structs.replace(ASK, capture=Capture("sln16", channels=2))
    assert seal_tick(fast) == pytest.approx(1.536)
    slow = msgspec.structs.replace(ASK, capture=Capture(channels=1, seal_every=Seconds(8)))
    assert seal_tick(slow) == pytest.approx(4.904)


@pytest.mark.parametrize(("codec", "channels"), list(itertools.product(("sln", "sln16", "ulaw", "alaw"), (1, 2))))
@pytest.mark.parametrize("every", [0.5, 4, 8])
def test_tick_keeps_both_promises_in_every_format(codec: str, channels: int, every: float) -> None:
    capture = Capture(codec=codec, channels=channels, seal_every=Seconds(every))  # type: ignore[arg-type]
    tick = seal_tick(msgspec.structs.replace(ASK, capture=capture))
    stdio = 32 * 1024 * (2 if capture.two_files else 1)
    assert 0 < tick <= every
    assert CHUNK_BYTES + tick * capture.byte_rate + stdio <= 256 * 1024
    assert CHUNK_BYTES / capture.byte_rate + tick <= 10


SALES = Policy(name="sales", mode="never", match=Match(did=("+420555100300",), queue=("sales",), context=("in",)))
HELP = msgspec.structs.replace(ASK, match=Match(did=("+420 555 100 200",), queue=("support",)))
BOTH = {"sales": SALES, "support": HELP}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"name": "sales", "did": "+420555100200"}, "sales"),
        ({"name": "unknown", "did": "+420555100200"}, None),
        ({"did": "00420555100200"}, "support"),
        ({"did": "420555100300"}, "sales"),
        ({"did": "555100200"}, None),
        ({"queue": "support", "context": "in"}, "support"),
        ({"did": "+420555100300", "queue": "support"}, "sales"),
        ({"context": "in"}, "sales"),
        ({"context": "IN"}, None),
        ({}, None),
        ({"did": "'; DROP TABLE"}, None),
    ],
)
def test_select(asked: dict[str, str], found: str | None) -> None:
    policy = select(BOTH, **asked)
    assert (policy.name if policy else None) == found


@pytest.mark.parametrize(
    ("channel", "spoken"),
    [("cs", "cs"), ("cs_CZ", "cs"), ("en_US_f_Allison", "en"), ("CS", "cs"), ("de", "en"), ("", "en"), ("csx", "en")],
)
def test_language_of_a_channel(channel: str, spoken: str) -> None:
    assert choose_language(ASK, channel) == spoken


def test_what_the_prompt_must_say() -> None:
    assert required_sayings(ASK) == ("recording", "purpose:quality", "purpose:evidence", "withdrawal", "key:1")
    assert required_sayings(SALES) == ()


def test_supported_policies_have_no_problems() -> None:
    assert [list(problems(p)) for p in (ASK, SALES)] == [[], []]


@pytest.mark.parametrize("key", ["", "12", "a", " "])
def test_yes_key_is_one_key(key: str) -> None:
    assert [p.code for p in problems(msgspec.structs.replace(ASK, yes_key=key))] == ["policy.bad_key"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5), ("1.5s", 1.5), ("2m", 120), ("1h", 3600), ("PT5S", 5), ("PT1M30S", 90)],
)
def test_durations(text: str, seconds: float) -> None:
    assert Seconds.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "PT", "P1D", "s", "1e3s", "٥s", 5, None, True])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Seconds.parse(text)


@pytest.mark.parametrize("text", ["", "P", "6M", "PT5S", "P1H", "P-1D", "P1.5M", 6, None])
def test_what_is_no_period(text: object) -> None:
    with pytest.raises(ValueError, match="expected a period"):
        Period.parse(text)


@pytest.mark.parametrize(
    ("start", "period", "end"),
    [
        ("2026-01-31", "P1M", "2026-02-28"),
        ("2024-01-31", "P1M", "2024-02-29"),
        ("2026-08-31", "P6M", "2027-02-28"),
        ("2026-12-15", "P1M", "2027-01-15"),
        ("2026-05-05", "P1Y6M", "2027-11-05"),
        ("2026-05-05", "P2W", "2026-05-19"),
        ("2026-05-05", "P0D", "2026-05-05"),
    ],
)
def test_after_counts_calendar_months(start: str, period: str, end: str) -> None:
    moment = datetime.fromisoformat(start).replace(hour=23, minute=59, tzinfo=UTC)
    assert Period.parse(period).after(moment).strftime("%Y-%m-%d %H:%M") == f"{end} 23:59"


FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (2000, 2100))


@given(
    st.datetimes(FIRST, LAST),
    st.integers(0, 100),
    st.integers(0, 11),
    st.integers(0, 400),
)
def test_most_days_is_never_too_few(start: datetime, years: int, months: int, days: int) -> None:
    if years == 100 and months:
        months = 0
    period = Period.parse(f"P{years}Y{months}M{days}D")
    assert (period.after(start) - start).days <= period.most_days
