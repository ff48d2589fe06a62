"""Nothing goes by a clock that cannot be believed: jumps within a run, odd starts, and what explains them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.audit.checkpoints import Checkpointer
from edge.consent.units import Period
from edge.model.entities import Checkpoint
from edge.model.live import DueErasure
from edge.retention.clockjump import Reading, agrees, jumped, odd_at_start
from edge.retention.clockwatch import ClockWatch
from formats.ids import format_time
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet
from formats.note import Note
from tests.unit.retention.keeping_kit import NOON, Hands, kept, policy
from tests.unit.retention.retention_kit import TRUST, Place

WITNESS = SigningKey.from_seed(bytes([9]) * 32)
WITNESSED = KeySet.of(
    [*TRUST.entries, KeyEntry(kid=WITNESS.kid, role="witness", owner="callwarden/fleet/witness", jwk=WITNESS.verify_key.jwk(),
                           not_before="2025-01-01T00:00:00.000Z")]
)  # fmt: skip
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def alarms(place: Place, code: str = "retention.clock") -> list[str]:
    def job(conn):  # type: ignore[no-untyped-def]
        return [row[0] for row in conn.execute("SELECT message FROM alarm WHERE code=? ORDER BY seq", (code,))]

    return await place.journal._readers.read(job)


@pytest.mark.parametrize(
    ("jump", "says"),
    [
        (HOUR, "the clock jumped forward by 60 minutes to 2026-06-15 13:00 UTC"),
        (-HOUR, "the clock jumped back by 60 minutes to 2026-06-15 11:00 UTC"),
        (timedelta(days=3653), "the clock jumped forward by 10 years to 2036-06-15 12:00 UTC"),
        (datetime(1970, 1, 1, tzinfo=UTC) - NOON, "the clock jumped back by 56 years to 1970-01-01 00:00 UTC"),
        (timedelta(minutes=4), None),  # a correction by NTP
        (timedelta(seconds=-1), None),  # a leap second
    ],
)
def test_a_jump_within_a_run(jump: timedelta, says: str | None) -> None:
    hands = Hands()
    before = Reading(hands.wall(), hands.mono_ns())
    hands.jump(jump)
    assert jumped(before, Reading(hands.wall(), hands.mono_ns())) == says


@pytest.mark.parametrize(
    "day", ["2026-03-29T00:59:00", "2026-10-25T00:59:00", "2028-02-28T23:59:00", "2026-12-31T23:59:00"]
)
def test_summer_time_a_leap_day_and_new_year_are_no_jumps(day: str) -> None:
    hands = Hands(datetime.fromisoformat(f"{day}+00:00"))
    before = Reading(hands.wall(), hands.mono_ns())
    hands.sleep(DAY)
    assert jumped(before, Reading(hands.wall(), hands.mono_ns())) is None


@pytest.mark.parametrize(
    ("newest", "now", "odd"),
    [
        (None, NOON, False),
        (None, datetime(1970, 1, 1, tzinfo=UTC), True),
        (NOON, NOON + HOUR, False),
        (NOON, NOON - HOUR, True),
        (NOON, NOON - timedelta(minutes=4), False),
        (NOON, NOON + 6 * DAY, False),
        (NOON, NOON + 8 * DAY, True),
        (NOON, NOON + timedelta(days=3653), True),
    ],
)
def test_an_odd_start(newest: datetime | None, now: datetime, odd: bool) -> None:
    assert (odd_at_start(newest, now) is not None) == odd


def test_a_witness_agrees_when_it_signed_a_moment_ago() -> None:
    assert agrees(NOON, NOON + timedelta(minutes=19))
    assert agrees(NOON, NOON - timedelta(minutes=4))
    assert not agrees(NOON, NOON + HOUR)
    assert not agrees(NOON, NOON - HOUR)


async def everything_is_over(place: Place, at: datetime) -> tuple[str, str]:
    """A recording that goes by its age and one whose withdrawal is due, both long before `at`."""
    terms = policy(recordings=Period("P1M"))
    old = await kept(place, at - 40 * DAY, terms)
    withdrawn = await kept(place, at - 2 * DAY, policy())
    await place.journal.add_due(DueErasure(withdrawn.recording_id, format_time(at - DAY), "withdrawal"))
    return old.recording_id, withdrawn.recording_id


@pytest.mark.parametrize(
    "jump",
    [HOUR, -HOUR, timedelta(days=3653), datetime(1970, 1, 1, tzinfo=UTC) - NOON],
    ids=["1h", "-1h", "10y", "1970"],
)
async def test_a_jump_fires_nothing_and_is_alarmed_once(place: Place, jump: timedelta) -> None:
    hands = Hands()
    executor = place.executor(clock=hands)
    assert await executor.clock.trusted() == NOON
    first, second = await everything_is_over(place, NOON + max(jump, timedelta(0)))
    hands.jump(jump)
    for _ in range(3):
        hands.sleep(timedelta(minutes=11))
        await executor.once()
        await executor._forget()
    assert [await place.state(one) for one in (first, second)] == ["sealed", "sealed"]
    assert len(await alarms(place)) == 1
    assert executor.notes()[0].startswith("retention: the clock jumped")
    hands.jump(-jump)  # it comes back
    await executor.once()
    await executor._forget()
    assert executor.notes() == []


async def test_the_daemon_started_ten_years_ahead_waits_for_a_person(place: Place) -> None:
    await ClockWatch(place.executor(clock=Hands())._means).trusted()
    first, second = await everything_is_over(place, NOON)
    later = Hands(NOON + timedelta(days=3653))
    for _ in range(2):  # and a restart explains nothing
        executor = place.executor(clock=later)
        await executor.once()
        await executor._forget()
        assert await place.state(first) == "sealed"
    assert len(await alarms(place)) == 1
    assert await executor.clock.believe("uid:1000")
    await executor.once()
    await executor._forget()
    assert [await place.state(one) for one in (first, second)] == ["erased", "erased"]
    assert not await executor.clock.believe("uid:1000"), "nothing is odd any more"
    settled = [e.entry for e in await place.journal.audit_entries(0, 1000) if "retention.clock_explained" in e.entry]
    assert len(settled) == 1
    assert '"by":"uid:1000"' in settled[0]


async def test_an_order_needs_no_clock(place: Place) -> None:
    new = await kept(place, datetime.now(UTC) - DAY, policy())
    await place.journal.set_meta("retention_clock_doubt", '{"why": "it jumped", "size": 0}')
    await place.order("erase", "recording", new.recording_id)
    await place.executor().once()
    assert await place.state(new.recording_id) == "erased"


async def cosign(place: Place, at: datetime) -> None:
    await place.journal.note_audit("something.happened")
    made = await Checkpointer(place.journal, place.means.key).make()
    assert made is not None
    note = Note.parse(made.note).cosign("callwarden/fleet/witness", WITNESS, round(at.timestamp()))
    await place.journal.save_checkpoint(Checkpoint(made.size, made.note, str(note)))


@pytest.mark.parametrize(("elsewhere", "shift", "believed"), [(True, 0, True), (True, 3600, False), (False, 0, False)])
async def test_a_witness_elsewhere_explains_a_jump(place: Place, elsewhere: bool, shift: int, believed: bool) -> None:
    """One on the same machine has the same wrong clock; one that signed before the jump says nothing about it."""
    hands = Hands()
    executor = place.executor(clock=hands, trust=WITNESSED, witness_elsewhere=elsewhere)
    await executor.clock.trusted()
    hands.jump(2 * HOUR)
    await cosign(place, hands.at)  # before anybody looked
    assert await executor.clock.trusted() is None
    await cosign(place, hands.at + timedelta(seconds=shift))
    assert (await executor.clock.trusted() is not None) == believed


async def test_a_start_behind_what_a_witness_signed_is_odd(place: Place) -> None:
    await cosign(place, NOON + HOUR)
    assert await place.executor(clock=Hands(), trust=WITNESSED).clock.trusted() is None
