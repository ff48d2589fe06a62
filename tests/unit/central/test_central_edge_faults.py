"""One edge's fault is one edge's: nonsense in its heartbeat, rows of a later version, a central that was away, races of standing."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.unit.central.central_kit import TestCentral, TestEdge
from tests.unit.central.test_central_edges import Pulse, alarms, shown

#: The last moment that a time can name: nothing can be added to it.
LAST = "9999-12-31T23:59:59.999Z"


async def test_an_edge_that_began_at_the_end_of_time_hinders_nobody(central: TestCentral, edge: TestEdge) -> None:
    first, second = Pulse.of(edge), Pulse.of(edge)
    second.started = LAST
    for pulse in (first, second, first):
        central.offset += timedelta(seconds=20)
        await pulse.beat()
    assert (await shown(central))["heartbeat"]["session"] == first.session
    await Pulse.of(TestEdge(central, "pbx-2")).beat(live=3)
    assert (await shown(central, "pbx-2"))["heartbeat"]["live"] == 3


async def test_what_cannot_be_judged_of_one_edge_hinders_no_other(central: TestCentral, edge: TestEdge) -> None:
    other = TestEdge(central, "pbx-2")
    for one in (edge, other):
        await Pulse.of(one).beat()
    assert central.running is not None
    await central.running.central.db.run(
        lambda conn: conn.execute("UPDATE heartbeat SET sessions='[' WHERE edge_id='pbx-1'").rowcount
    )
    await Pulse.of(edge).beat(live=7)
    await Pulse.of(other).beat(live=8)
    assert (await shown(central, "pbx-2"))["heartbeat"]["live"] == 8
    assert (await central.admin("GET", "/v1/edges"))[0] == 200


async def test_a_row_of_a_later_version_is_understood(central: TestCentral, edge: TestEdge) -> None:
    pulse = Pulse.of(edge)
    await pulse.beat()
    assert central.running is not None
    [(data,)] = await central.rows("SELECT data FROM heartbeat")
    later = {**json.loads(data), "more": {"of": "it"}}
    del later["spool"]
    await central.running.central.db.run(
        lambda conn: conn.execute("UPDATE heartbeat SET data=?", (json.dumps(later),)).rowcount
    )
    await pulse.beat(live=9)
    assert (await shown(central))["heartbeat"]["live"] == 9


async def test_a_stop_closes_everything_whatever_the_last_writing_says(
    central: TestCentral, edge: TestEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert central.running is not None
    running, central.running = central.running, None

    async def broken(_: object) -> None:
        raise OverflowError("date value out of range")

    monkeypatch.setattr(running.central.beats, "write", broken)
    with pytest.raises(OverflowError):
        await running.stop()
    await central.start()  # the keeper is locked by nobody
    assert await alarms(central) == []
