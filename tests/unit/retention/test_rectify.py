"""Corrections: none makes a recording go earlier than was promised, and none leaves a number behind when numbers go."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge.consent.policy import Policy
from edge.consent.retention import House, Retention
from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.retention.executor import Executor
from tests.unit.retention.keeping_kit import NOON, Hands, kept, policy, talked
from tests.unit.retention.retention_kit import Place
from tests.unit.retention.test_expiry import DAY
from tests.unit.retention.test_many import digest


def named(name: str, **terms: object) -> Policy:
    return msgspec.structs.replace(policy(**terms), name=name)


def at(place: Place, today: dict[str, Retention] | None = None, **changes: Any) -> Executor:
    known = today or {}
    more = {"digest": digest, "country": lambda: "CZ", **changes}
    return place.executor(clock=Hands(), house=House, terms_of=known.get, **more)


async def refused(executor: Executor, call_id: str, change: dict[str, str]) -> CallwardenError:
    with pytest.raises(CallwardenError) as caught:
        await executor.by_hand.rectify(call_id, change, "oops", 1000)
    return caught.value


async def test_no_correction_of_a_policy_undoes_a_duty_or_a_period(place: Place) -> None:
    terms = {
        "support": {"recordings": Period("P6M"), "minimum": Period("P6M")},
        "brief": {"recordings": Period("P1D")},
        "lawful": {"recordings": Period("P1Y"), "minimum": Period("P6M")},
    }
    today = {name: Retention(**one) for name, one in terms.items()}
    executor = at(place, today)
    for name in terms:
        await executor.terms.approve(name, "uid:1000")
    new = await kept(place, NOON - 3 * DAY, policy(**terms["support"]))
    for name in ("brief", "lawful"):
        await talked(place, NOON - DAY, named(name, **terms[name]))
    error = await refused(executor, new.call_id, {"policy": "brief"})
    assert error.code == "calls.shorter"
    assert "minimum: P6M → P0D" in error.message
    assert (await refused(executor, new.call_id, {"policy": "nowhere"})).code == "not_found.policy"
    today["lawful"] = Retention(recordings=Period("P1D"), minimum=Period("P6M"))
    await executor.terms.approve("lawful", "uid:1000")
    assert (await refused(executor, new.call_id, {"policy": "lawful"})).code == "calls.shorter", "by today's terms"
    today["lawful"] = Retention(**terms["lawful"])
    await executor.by_hand.rectify(new.call_id, {"policy": "lawful"}, "oops", 1000)
    row = await place.journal.call(new.call_id)
    assert row is not None
    assert row.policy_id == "lawful"
    executor.look()
    await executor._forget()
    assert await place.state(new.recording_id) == "sealed"


async def test_a_duty_of_today_is_not_undone_either(place: Place) -> None:
    today = {"support": Retention(minimum=Period("P1Y")), "plain": Retention()}
    executor = at(place, today)
    new = await kept(place, NOON - 3 * DAY, policy())
    await talked(place, NOON - DAY, named("plain"))
    assert "minimum: P1Y → P0D" in (await refused(executor, new.call_id, {"policy": "plain"})).message
    today["plain"] = Retention(minimum=Period("P1Y"))
    await executor.by_hand.rectify(new.call_id, {"policy": "plain"}, "oops", 1000)


async def test_terms_that_nobody_approved_are_not_what_a_correction_is_held_to(place: Place) -> None:
    today = {"support": Retention(), "brief": Retention(recordings=Period("P7D"))}
    executor = at(place, today)
    for name in today:
        await executor.terms.approve(name, "uid:1000")
    mistyped = await kept(place, NOON - 3 * DAY, policy(recordings=Period("P1D")))
    await talked(place, NOON - DAY, named("brief", recordings=Period("P7D")))
    assert "P6M → P7D" in (await refused(executor, mistyped.call_id, {"policy": "brief"})).message


async def test_no_correction_moves_a_call_into_an_order_that_destroys_its_policy(place: Place) -> None:
    executor = at(place)
    new = await kept(place, NOON - 3 * DAY, policy())
    await talked(place, NOON - DAY, named("other"))
    jti = await place.order("erase", "policy", "other", exported_to="archive")
    error = await refused(executor, new.call_id, {"policy": "other"})
    assert (error.code, jti in (error.hint or "")) == ("calls.ordered", True)


@pytest.mark.parametrize("gone", ["names", "evidence"])
async def test_a_number_that_was_wrong_goes_with_the_numbers(place: Place, gone: str) -> None:
    call = await talked(place, NOON - 40 * DAY, policy(), outcome="notified", number="+420555100200")
    executor = at(place)
    right = {"number": "+420555100201", "language": "cs"}
    await executor.by_hand.rectify(call.call_id, right, "Mr Novak said so", 1000)

    async def left() -> list[tuple[str, str]]:
        query = "SELECT field, reason FROM rectification ORDER BY field"
        return await place.journal._readers.read(lambda conn: [tuple(row) for row in conn.execute(query)])

    assert await left() == [("language", "Mr Novak said so"), ("number", "Mr Novak said so")]
    if gone == "names":
        await place.journal.forget_calls([call.call_id], {})
    else:
        await place.journal.expire_evidence([call.call_id])
    assert await left() == [("language", "")]


async def test_an_hmac_is_replaced_by_an_hmac_only(place: Place) -> None:
    call = await talked(place, NOON - 40 * DAY, policy(), outcome="notified", number="+420555100200")
    await place.journal.forget_calls([call.call_id], {call.call_id: {call.party_id: "ab" * 32}})
    executor = at(place)
    assert (await refused(executor, call.call_id, {"number": "12"})).code == "calls.no_digest"

    async def stored() -> str:
        query = "SELECT number_hmac FROM party WHERE call_id=?"
        return await place.journal._readers.read(lambda conn: conn.execute(query, (call.call_id,)).fetchone()[0])

    assert await stored() == "ab" * 32
    await executor.by_hand.rectify(call.call_id, {"number": "+420555100201"}, "oops", 1000)
    assert await stored() == await digest("+420555100201")
