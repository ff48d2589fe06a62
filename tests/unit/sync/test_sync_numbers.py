"""What travels of a number: what is stored when it is sent, as the call's own policy says, and the word that it is gone."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from central.minimise import ring
from edge.errors import CallwardenError
from edge.model.entities import OutboxRow
from edge.model.holds import HoldRow
from edge.model.live import NewParty
from tests.unit.central.central_kit import TestCentral
from tests.unit.store import store_makers as make
from tests.unit.sync.sync_kit import SyncEdge

NUMBER, OTHER = "+420777123456", "+420777123457"


def under(form: str, number: str | None = NUMBER) -> dict[str, Any]:
    """A call whose policy lets numbers travel in this form."""
    document = json.dumps({"central": {"number": form}})
    return {"policy_document": document, "policy_version": form, "number_e164": number}


async def reported(edge: SyncEdge) -> list[OutboxRow]:
    return [row for row in await edge.rows() if row.type == "call.numbers"]


async def found(edge: SyncEdge, number: str = NUMBER) -> list[str]:
    body = {"number": number, "purpose": "quality", "reason": "asked"}
    status, answer = await edge.central.admin("POST", "/v1/calls/search", body)
    assert status == 200, answer
    return [one["call_id"] for one in answer["calls"]]


@pytest.mark.parametrize("form", ["clear", "hashed"])
async def test_a_number_is_told_at_the_end_and_the_outbox_has_none(edge: SyncEdge, form: str) -> None:
    recording, _ = await edge.record(**under(form))
    [row] = await reported(edge)
    assert row.body == {"call_id": recording.call_id, "form": form, "policy_id": "support", "started_at": make.AT}
    await edge.sync.flush()
    assert await found(edge) == [recording.call_id]
    assert (edge.central.folder / "edge-search.key").exists() == (form == "hashed")


@pytest.mark.parametrize("changes", [under("none"), under("clear", None), {"number_e164": NUMBER}])
async def test_nothing_is_told_where_the_policy_or_the_number_says_so(edge: SyncEdge, changes: dict[str, Any]) -> None:
    await edge.record(**changes)
    assert await reported(edge) == []
    await edge.sync.flush()
    assert await found(edge) == []


@pytest.mark.parametrize("outcome", ["refused", "objected", "abandoned"])
async def test_who_did_not_agree_is_never_told_of(edge: SyncEdge, outcome: str) -> None:
    call = make.call(**under("clear"))
    await edge.journal.open_call(call)
    await edge.journal.add_event(call.call_id, make.event("requested", call.party_id), state="asking")
    assert await reported(edge) == []  # not while it goes on, either
    await edge.journal.add_event(call.call_id, make.event(outcome, call.party_id), state="ended", outcome=outcome)
    assert await reported(edge) == []


async def test_what_is_gone_before_it_was_sent_never_travels(edge: SyncEdge) -> None:
    recording, _ = await edge.record(**under("clear"))
    await erase(edge, recording.recording_id)
    sent = await sent_data(edge)
    assert [one["numbers"] for one in sent] == [[], []]
    await edge.sync.flush()
    assert await edge.central.rows("SELECT gone FROM call_numbers") == [(1,)]


async def erase(edge: SyncEdge, recording_id: str) -> None:
    await edge.journal.begin_erase(recording_id, None, "retention")
    await edge.journal.finish_erase(recording_id, erased_at=make.AT, cause="retention", key_ids=[], receipt=None)


async def sent_data(edge: SyncEdge) -> list[dict[str, Any]]:
    return [dict((await edge.sync._pump._event(row)).data) for row in await reported(edge)]


@pytest.mark.parametrize("form", ["clear", "hashed"])
async def test_a_correction_takes_the_place_and_an_erasure_ends_it(edge: SyncEdge, form: str) -> None:
    recording, _ = await edge.record(**under(form))
    await edge.sync.flush()
    await edge.journal.rectify(recording.call_id, {}, (OTHER, OTHER, "plain", None), "misheard", 1000)
    await edge.sync.flush()
    assert (await found(edge), await found(edge, OTHER)) == ([], [recording.call_id])
    await erase(edge, recording.recording_id)
    await edge.sync.flush()
    assert await found(edge, OTHER) == []


async def test_a_call_that_comes_under_another_policy_takes_its_number_along(edge: SyncEdge) -> None:
    recording, _ = await edge.record(**under("clear"))
    await edge.record(**under("none"), policy_id="brief")
    await edge.sync.flush()
    changes = {"policy": "brief", "policy_version": "none"}
    await edge.journal.rectify(recording.call_id, changes, None, "wrong line", 1000)
    await edge.sync.flush()
    assert await found(edge) == []


async def test_a_third_party_is_told_of_and_an_agent_is_not(edge: SyncEdge) -> None:
    call = make.call(**under("clear"))
    await edge.journal.open_call(call)
    for role, number in (("third", OTHER), ("agent", "+420777000000")):
        await edge.journal.add_party(
            NewParty(
                make.new_id(), call.call_id, role, secrets.token_hex(4), "PJSIP/x-1", number, "plain", "given", make.AT,
                number_e164=number,
            )
        )  # fmt: skip
    await edge.journal.add_event(call.call_id, make.event("requested", call.party_id), state="asking")
    await edge.journal.add_event(call.call_id, make.event("given", call.party_id), state="ended", outcome="given")
    [one] = await sent_data(edge)
    assert {number["number"] for number in one["numbers"]} == {NUMBER, OTHER}


async def test_a_resend_tells_what_is_stored_now(edge: SyncEdge) -> None:
    kept, _ = await edge.record(**under("hashed"))
    gone, _ = await edge.record(**under("hashed"))
    await edge.sync.flush()
    await erase(edge, gone.recording_id)
    await edge.sync.flush()
    await edge.journal.begin_resend()
    await edge.journal.resend_calls(0, 100)
    await edge.sync.flush()
    assert await found(edge) == [kept.call_id]


async def test_the_key_is_fetched_once_kept_and_fetched_again_when_central_has_another(
    central: TestCentral, tmp_path: Path
) -> None:
    file = tmp_path / "search.key"
    edge = await SyncEdge.open(central, tmp_path, search_key=file)
    try:
        for _ in range(2):
            await edge.record(**under("hashed"))
            await edge.sync.flush()
        assert file.stat().st_mode & 0o777 == 0o600
        first = file.read_text().strip()
        assert first == ring.read_ring(central.config.search_keys).newest.key.hex()
        journal = b"".join(path.read_bytes() for path in tmp_path.glob("journal.db*"))
        assert first.encode() not in journal
        assert bytes.fromhex(first) not in journal
        new = ring.rotate(central.config.search_keys, retire=False).newest
        await edge.record(**under("hashed"))
        await edge.sync.flush()  # central names its new key in the answer
        await edge.record(**under("hashed"))
        await edge.sync.flush()
        assert file.read_text().strip() == new.key.hex()
        entries = [row[0] for row in await central.rows("SELECT entry FROM log")]
        assert sum('"search_key.given"' in one for one in entries) == 2
        assert len(await found(edge)) == 4
    finally:
        await edge.close()


async def test_a_file_others_could_read_is_not_believed(central: TestCentral, tmp_path: Path) -> None:
    file = tmp_path / "search.key"
    file.write_text(secrets.token_hex(32))
    file.chmod(0o644)
    edge = await SyncEdge.open(central, tmp_path, search_key=file)
    try:
        await edge.record(**under("hashed"))
        await edge.sync.flush()
        assert file.read_text().strip() == ring.read_ring(central.config.search_keys).newest.key.hex()
        assert file.stat().st_mode & 0o777 == 0o600
    finally:
        await edge.close()


async def test_without_a_key_at_central_hashes_stay_here_and_the_rest_flows(edge: SyncEdge) -> None:
    path = edge.central.config.search_keys
    kept = path.read_bytes()
    path.unlink()
    hidden, _ = await edge.record(**under("hashed"))
    plain, _ = await edge.record(**under("clear"))
    await edge.sync.flush()
    assert await edge.waiting() == 0
    assert await found(edge) == [plain.call_id]
    [(code,)] = [row for row in await edge.central.rows("SELECT code FROM alarm") if row[0] == "sync.search_key"]
    assert code
    path.write_bytes(kept)
    path.chmod(0o600)
    later, _ = await edge.record(**under("hashed"))
    await edge.sync.flush()
    await edge.journal.begin_resend()
    await edge.journal.resend_calls(0, 100)
    await edge.sync.flush()  # the first answer names the key
    assert set(await found(edge)) >= {plain.call_id}
    await edge.journal.begin_resend()
    await edge.journal.resend_calls(0, 100)
    await edge.sync.flush()
    assert set(await found(edge)) == {hidden.call_id, plain.call_id, later.call_id}


async def test_a_key_that_is_not_the_stores_is_refused(central: TestCentral, tmp_path: Path) -> None:
    from central import setup
    from formats.keyset import KeySet, entry
    from tests.unit.central.central_kit import a_key

    known = setup.trust(central.config, "edge-1")
    wrong = KeySet.of([*[one for one in known.entries if one.role != "store"], entry(a_key().verify_key, "store", "x")])
    edge = await SyncEdge.open(central, tmp_path, trust=wrong, search_key=tmp_path / "search.key")
    try:
        await edge.record(**under("hashed"))
        with pytest.raises(CallwardenError) as caught:
            await edge.sync.flush()
        assert caught.value.code == "sync.search_key"
        assert not (tmp_path / "search.key").exists()
        assert await edge.waiting() > 0  # tried again later
    finally:
        await edge.close()


@pytest.mark.parametrize("scope", ["recording", "call"])
async def test_restrictions_are_told_and_released(edge: SyncEdge, scope: str) -> None:
    recording, _ = await edge.record()
    target = recording.recording_id if scope == "recording" else recording.call_id
    hold = HoldRow(make.new_id(), "restriction", scope, target, "objection", None, "uid:1", make.AT, "")
    await edge.journal.place_hold(hold)
    await edge.sync.flush()
    path = f"/v1/recordings/{recording.recording_id}"
    status, answer = await edge.central.admin("GET", path)
    assert (status, answer["code"]) == (403, "command.restricted")
    assert (await edge.central.admin("GET", path + "?purpose=legal_claims&case=7"))[0] == 200
    await edge.journal.begin_resend()
    await edge.journal.resend_calls(0, 100)
    await edge.sync.flush()
    await edge.journal.release_hold(hold.hold_id, ["one", "two"], make.AT)
    await edge.sync.flush()
    assert (await edge.central.admin("GET", path))[0] == 200


@pytest.mark.parametrize("restored", [True, False])
async def test_a_released_restriction_is_told_again(edge: SyncEdge, restored: bool) -> None:
    """To a central whose backup has the restriction and not its release; told before, since the outbox keeps nothing."""
    recording, _ = await edge.record()
    hold = HoldRow(make.new_id(), "restriction", "call", recording.call_id, "objection", None, "uid:1", make.AT, "")
    kept = HoldRow(make.new_id(), "hold", "call", recording.call_id, "a case", None, "uid:1", make.AT, "")
    for one in (hold, kept):
        await edge.journal.place_hold(one)
        await edge.journal.release_hold(one.hold_id, ["one", "two"], make.AT)
    await edge.sync.flush()
    path = f"/v1/recordings/{recording.recording_id}"
    await edge.central.running.central.db.run(lambda conn: conn.execute("DELETE FROM restriction_over"))
    assert (await edge.central.admin("GET", path))[0] == 403
    if restored:
        while await edge.journal.tell_calls_again("0" * 32, 1):
            pass
    else:
        await edge.journal.begin_resend()
    again = [row for row in await edge.rows() if row.type == "restriction.released"]
    assert [row.subject for row in again] == [hold.hold_id]
    await edge.sync.flush()
    assert (await edge.central.admin("GET", path))[0] == 200


async def test_a_persons_restriction_is_told_call_by_call(edge: SyncEdge) -> None:
    one, _ = await edge.record()
    other, _ = await edge.record()
    hold = HoldRow(make.new_id(), "restriction", "person", "ab" * 32, "objection", None, "uid:1", make.AT, "")
    await edge.journal.place_hold(hold)
    await edge.journal.cover([(hold.hold_id, one.call_id)], {})
    await edge.journal.cover([(hold.hold_id, one.call_id)], {})
    assert sum(row.type == "restriction.placed" for row in await edge.rows()) == 1
    await edge.sync.flush()
    codes = [(await edge.central.admin("GET", f"/v1/recordings/{r.recording_id}"))[0] for r in (one, other)]
    assert codes == [403, 200]
