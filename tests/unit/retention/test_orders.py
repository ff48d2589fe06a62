"""Orders: erase a whole call, and withdraw, pause, resume of one that goes on."""

from __future__ import annotations

import json

import pytest

from edge.errors import CallwardenError
from edge.model.live import Actor
from formats.orders import open_receipt_document, receipt_document, verify_receipt
from tests.unit.retention.retention_kit import TRUST, Place
from tests.unit.store import store_makers as makers


async def proofs(place: Place, jti: str) -> list[tuple[str, str | None]]:
    order = await place.journal.order(jti)
    assert order is not None
    documents = [receipt_document(one.jws, json.loads(order.jws)) for one in await place.journal.receipts_of(jti)]
    claims = [open_receipt_document(one, TRUST).claims for one in documents]
    return [(one.result, one.recording_id) for one in claims]


async def left(place: Place, jti: str) -> list[object]:
    """What each receipt says is still to come of its call."""
    rows = await place.journal.receipts_of(jti)
    return [verify_receipt(one.jws, TRUST)[0].evidence.get("left") for one in rows]


async def test_a_call_goes_with_all_its_recordings(place: Place) -> None:
    first, _ = await place.record(ended=False)
    second, _ = await place.record(first.call_id)
    other, _ = await place.record()
    jti = await place.order("erase", "call", first.call_id)
    await place.executor().once()
    assert await proofs(place, jti) == [("done", first.recording_id), ("done", second.recording_id)]
    assert await left(place, jti) == [1, 0]
    order = await place.journal.order(jti)
    assert order is not None
    assert order.state == "answered"
    assert [await place.state(one.recording_id) for one in (first, second, other)] == ["erased", "erased", "sealed"]
    again = await place.order("erase", "call", first.call_id)
    nothing = await place.order("erase", "call", makers.new_id())
    await place.executor().once()
    assert (await place.results(again), await place.results(nothing)) == (["already"], ["not_found"])


async def test_a_hold_on_one_recording_holds_the_whole_order(place: Place) -> None:
    first, _ = await place.record(ended=False)
    second, _ = await place.record(first.call_id)
    await place.hold(first.call_id, "case 7")
    jti = await place.order("erase", "call", first.call_id)
    for _ in range(2):
        await place.executor().once()
    assert await place.results(jti) == ["deferred"]
    await place.release(first.call_id)
    await place.executor().once()
    assert await place.results(jti) == ["deferred", "done", "done"]
    assert await place.state(second.recording_id) == "erased"


async def test_a_call_half_erased_by_a_kill_is_finished_by_its_order(place: Place) -> None:
    first, _ = await place.record(ended=False)
    second, _ = await place.record(first.call_id)
    jti = await place.order("erase", "call", first.call_id)
    executor = place.executor()
    real, erased = executor._eraser.erase, 0

    async def once_only(*args: object, **more: object) -> None:
        nonlocal erased
        if erased:
            raise CallwardenError("sync.unreachable", "central cannot be reached", retryable=True)
        erased += 1
        await real(*args, **more)  # type: ignore[arg-type]

    executor._eraser.erase = once_only  # type: ignore[method-assign]
    await executor.once()
    assert await place.state(second.recording_id) == "erasing"
    assert [one.jti for one in await place.journal.orders(("executing",))] == [jti]
    await place.hold(first.call_id, "too late")
    await place.executor().once()
    assert await proofs(place, jti) == [("done", first.recording_id), ("done", second.recording_id)]
    assert await left(place, jti) == [1, 0]


async def test_withdraw_pause_and_resume_are_done_and_answered(place: Place) -> None:
    new, _ = await place.record(ended=False)
    pause = await place.order("pause", "call", new.call_id)
    await place.executor().once()
    assert [one.actor for one in await place.journal.open_pauses()] == [Actor("central", "central")]
    resume = await place.order("resume", "recording", new.recording_id)
    await place.executor().once()
    assert await place.journal.open_pauses() == []
    withdraw = await place.order("withdraw", "call", new.call_id)
    await place.executor().once()
    row = await place.journal.call(new.call_id)
    assert row is not None
    assert row.outcome == "withdrawn"
    assert await proofs(place, pause) == await proofs(place, resume) == [("done", None)]
    assert await proofs(place, withdraw) == [("done", new.recording_id)]
    assert place.calls.reasons == [f"order/{withdraw}"], "its free text stays out of the evidence"
    assert [what for what, _, _ in place.calls.asked] == ["pause", "resume", "withdraw"]
    await place.journal.end_call(new.call_id, makers.AT)
    await place.executor().once()
    assert await place.state(new.recording_id) == "erased", "stop_and_erase"


async def test_a_live_call_does_not_wait_for_erasures(place: Place) -> None:
    old, _ = await place.record()
    new, _ = await place.record(ended=False)
    erase = await place.order("erase", "call", old.call_id)
    withdraw = await place.order("withdraw", "call", new.call_id)
    executor = place.executor()
    real, heard = executor._eraser.erase, []

    async def slow(*args: object, **more: object) -> None:
        heard.append(await place.results(withdraw))
        await real(*args, **more)  # type: ignore[arg-type]

    executor._eraser.erase = slow  # type: ignore[method-assign]
    await executor.once()
    assert heard == [["done"]]
    assert await place.results(erase) == ["done"]


async def test_what_is_no_order_ends_nothing_when_the_journal_fails_over_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    jti = makers.new_id()
    await place.journal.take_delivery(1, jti, "{}", void=False, at=makers.AT)
    executor = place.executor()

    async def full(*_: object, **__: object) -> None:
        raise CallwardenError("journal.full", "no room", retryable=True)

    with monkeypatch.context() as patch:
        patch.setattr(place.journal, "answer", full)
        await executor.once()
    await executor.once()
    assert [result.partition(":")[0] for result in await place.results(jti)] == ["refused"]


@pytest.mark.parametrize(("cmd", "age_s"), [("pause", 61), ("resume", 61), ("withdraw", 3601)])
async def test_an_order_past_its_life_does_nothing(place: Place, cmd: str, age_s: float) -> None:
    new, _ = await place.record(ended=False)
    jti = await place.order(cmd, "call", new.call_id, age_s=age_s)
    await place.executor().once()
    assert await place.results(jti) == ["refused:command.expired"]
    assert place.calls.asked == []


async def test_an_unknown_call_is_not_found_and_a_refusal_says_why(place: Place) -> None:
    new, _ = await place.record(ended=False)
    unknown = [await place.order("pause", kind, makers.new_id()) for kind in ("call", "recording")]
    edge = await place.order("pause", "edge", "edge-1")
    await place.executor().once()
    for jti in (*unknown, edge):
        assert await place.results(jti) == ["not_found"]
    assert place.calls.asked == []
    for code, result in (
        ("calls.not_found", "not_found"),
        ("calls.not_live", "refused:calls.not_live"),
        ("ami.down", "refused:ami.down"),
    ):
        place.calls.fails = [CallwardenError(code, "no", retryable=code == "ami.down")]
        jti = await place.order("pause", "call", new.call_id)
        await place.executor().once()
        assert await place.results(jti) == [result]
    jti = await place.order("pause", "call", new.call_id)
    await place.executor(live=None).once()
    assert await place.results(jti) == ["refused:command.unsupported"]


async def test_a_withdrawal_that_fails_for_the_moment_is_tried_until_it_is_done(place: Place) -> None:
    new, _ = await place.record(ended=False)
    place.calls.fails = [CallwardenError("ami.down", "no link", retryable=True)]
    jti = await place.order("withdraw", "call", new.call_id)
    executor = place.executor()
    await executor.once()
    assert await place.results(jti) == []
    await executor.once()
    assert await place.results(jti) == ["done"]


@pytest.mark.parametrize(
    ("cmd", "results"),
    [("withdraw", ["done"]), ("pause", ["refused:command.interrupted"]), ("resume", ["refused:command.interrupted"])],
)
async def test_what_a_kill_interrupted_is_repeated_only_where_that_is_harmless(
    place: Place, cmd: str, results: list[str]
) -> None:
    new, _ = await place.record(ended=False)
    jti = await place.order(cmd, "call", new.call_id)
    await place.journal.begin_order(jti)
    await place.executor().once()
    assert await place.results(jti) == results
    assert len(place.calls.asked) == (cmd == "withdraw")


class HoldsMeanwhile:
    """Stops captures, and somebody places a hold while the last of a call's is stopped."""

    def __init__(self, place: Place, call_id: str, at: str) -> None:
        self.place, self.call_id, self.at = place, call_id, at

    async def stop(self, recording_id: str, reason: str) -> None:
        if recording_id == self.at:
            await self.place.hold(self.call_id, "court")
            self.at = ""


async def test_a_hold_between_the_recordings_of_a_call_keeps_all_of_them(place: Place) -> None:
    first, _ = await place.record()
    second, _ = await place.record(first.call_id)
    jti = await place.order("erase", "call", first.call_id)
    executor = place.executor(recorder=HoldsMeanwhile(place, first.call_id, second.recording_id))
    for _ in range(3):
        await executor.once()
    assert [await place.state(one.recording_id) for one in (first, second)] == ["sealed"] * 2
    assert await place.results(jti) == ["deferred"]
    await place.release(first.call_id)
    await executor.once()
    assert [await place.state(one.recording_id) for one in (first, second)] == ["erased"] * 2
    assert await place.results(jti) == ["deferred", "done", "done"]


async def test_what_was_begun_goes_on_beside_what_came_since_and_is_held(place: Place) -> None:
    first, _ = await place.record()
    jti = await place.order("erase", "call", first.call_id)
    await place.journal.begin_erase(first.recording_id, jti, "command")
    since, _ = await place.record(first.call_id)
    await place.hold(first.call_id, "court")
    for _ in range(3):
        await place.executor().once()
    assert [await place.state(one.recording_id) for one in (first, since)] == ["erased", "sealed"]
    assert await place.results(jti) == ["done", "deferred"]
    assert (await left(place, jti))[0] == 1, "not the last word"
    await place.release(first.call_id)
    await place.executor().once()
    assert await place.state(since.recording_id) == "erased"
    assert await place.results(jti) == ["done", "deferred", "done"]
    row = await place.journal.order(jti)
    assert row is not None
    assert row.state == "answered"
