"""Seeded histories of a bad network: batches lost, doubled, delayed and out of order. None lost, none applied twice."""

from __future__ import annotations

import random
import secrets

from formats.wire import Event
from tests.unit.central.central_kit import TestEdge, an_id

HISTORIES = 150


def story(edge: TestEdge, rng: random.Random) -> tuple[list[Event], dict[str, bool]]:
    """Events of a few recordings in order, and which recordings are erased at the end."""
    events: list[Event] = []
    erased: dict[str, bool] = {}
    for _ in range(rng.randint(1, 4)):
        recording = an_id()
        events.append(edge.opened(len(events) + 1, recording, key=secrets.token_bytes(32)))
        data = {"recording_id": recording, "state": "sealed"}
        events.append(edge.event(len(events) + 1, "recording.sealed", recording, data))
        if rng.random() < 0.4:
            events.append(edge.replaced(len(events) + 1, recording, key=secrets.token_bytes(32)))
        erased[recording] = rng.random() < 0.5
        if erased[recording]:
            data = {"recording_id": recording, "cause": "command"}
            events.append(edge.event(len(events) + 1, "recording.erased", recording, data))
    return events, erased


async def test_56_seeded_histories_converge(edge: TestEdge) -> None:
    expected: dict[str, bool] = {}
    for seed in range(HISTORIES):
        rng = random.Random(seed)
        edge.incarnation = seed + 1
        events, erased = story(edge, rng)
        expected |= erased
        acknowledged, late = 0, list[list[Event]]()
        while acknowledged < len(events):
            batch = events[acknowledged : acknowledged + rng.randint(1, 5)]
            fate = rng.random()
            if fate < 0.2:
                late.append(batch)  # delayed: it arrives after its repetition
                continue
            if fate < 0.3:
                batch = events[max(acknowledged - 2, 0) : acknowledged + 3]
            if fate < 0.4 and len(batch) > 2:
                batch = [batch[0], *batch[2:]]  # a gap
            status, answer = await edge.send(*batch)
            assert status == 200
            if fate < 0.6:
                continue  # the answer was lost
            assert answer["contiguous"] >= acknowledged
            acknowledged = answer["contiguous"]
            if late and rng.random() < 0.5:
                await edge.send(*late.pop())
        for batch in late:
            await edge.send(*batch)
    rows = await edge.central.rows("SELECT recording_id, state FROM recording")
    assert {recording: state == "erased" for recording, state in rows} == expected
    # One header of each that is left has its key, the newest; of one that was replaced nothing is held.
    kept = await edge.central.rows(
        "SELECT recording_id, count(keeper_slot), max(version) = max(CASE WHEN keeper_slot IS NOT NULL THEN version END)"
        " FROM header GROUP BY 1"
    )
    assert {recording: held for recording, held, _ in kept} == {one: int(not gone) for one, gone in expected.items()}
    assert all(newest for recording, _, newest in kept if not expected[recording])
    ((twice,),) = await edge.central.rows("SELECT count(*) FROM header WHERE version = 1")
    assert twice > 20
    ((events_stored, distinct),) = await edge.central.rows("SELECT count(*), count(DISTINCT event_id) FROM event")
    ((contiguous,),) = await edge.central.rows("SELECT sum(contiguous) FROM stream")
    assert events_stored == distinct == contiguous
