"""Orders that change what is in force, and orders for what is stored: policies, pinned keys, uploads, further headers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.config import EdgeConfig, load
from edge.errors import CallwardenError
from edge.pinned import PinnedKeys, replaced
from edge.policybook import PolicyBook
from edge.retention import fetchorders, keyorders, stuck
from edge.retention.executor import Executor
from edge.retention.receipts import Receipts
from formats.ids import format_time
from formats.keychange import read_key_change, sign_key_change, with_new_key
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet
from formats.orders import verify_receipt
from tests.unit.retention.retention_kit import AUDITOR, DPO, DPO2, EDGE, STORE, TRUST, Place
from tests.unit.retention.test_many import Clock
from tests.unit.store import store_makers as makers

NEW = SigningKey.from_seed(bytes([9]) * 32)
CONFIG = """[edge]
id = "edge-1"
waive = ["no-recovery-recipient"]
[policy.sales]
mode = "opt_in"
jurisdiction = "CZ"
purposes = ["quality"]
recipients = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
hold = "pause"
"""
TABLE = CONFIG[CONFIG.index("[policy.sales]") :]
LOOSER = TABLE.replace('hold = "pause"', 'hold = "record"')
TIGHTER = TABLE.replace('hold = "pause"', "barge_in = false")


class Here:
    """An edge with its files, policies and pinned keys; `start` is a start of the daemon."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.folder, self.clock = place, folder, Clock()
        (folder / "edge.toml").write_text(CONFIG)
        (folder / "trust.json").write_bytes(TRUST.dump())
        self.headers: list[tuple[str, int]] = []
        self.refuses: list[CallwardenError] = []
        self.woken = 0
        self.looks: list[CallwardenError] = []

    async def start(self) -> None:
        async def look(config: EdgeConfig) -> Callable[[], None]:
            if self.looks:
                raise self.looks.pop()
            return lambda: None

        journal = self.place.journal
        self.book = PolicyBook(load(self.folder / "edge.toml"), journal, self.clock, look)  # type: ignore[arg-type]
        self.trust = PinnedKeys.of_file((self.folder / "trust.json").read_bytes())
        await self.trust.take_up(journal)
        await self.book.begin()
        self.executor: Executor = self.place.executor(
            clock=self.clock, policy_desk=self.book, trust=self.trust, rewrap=self.rewrap, uploads=self.wake,
        )  # fmt: skip

    def wake(self) -> None:
        self.woken += 1

    async def rewrap(self, recording_id: str, number: int, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.refuses:
            raise self.refuses.pop(0)
        self.headers.append((recording_id, number))
        return {"version": 2, "did": "replaced"}

    async def later(self, **span: float) -> None:
        self.clock.go(**span)
        await self.executor.once()

    async def policy(self, toml: str, name: str = "sales", **more: Any) -> str:
        content = {"toml": toml, **more.pop("content", {})}
        return await self.order("policy", "policy", name, content=content, keys=(STORE, DPO), **more)

    async def keys(self, *entries: KeyEntry, **more: Any) -> str:
        document = json.loads(KeySet.of(entries).dump())
        more = {"keys": (STORE, DPO), **more}
        return await self.order("keys", "fleet", "fleet", content={"keyset": document}, **more)

    async def order(self, cmd: str, kind: str, target: str, **more: Any) -> str:
        """Issued by the moved clock, so that a later one is later."""
        ahead = self.clock.ahead.total_seconds()
        jti = await self.place.order(cmd, kind, target, age_s=-ahead, **more)
        await self.executor.once()
        return jti

    async def last(self, jti: str) -> tuple[str, dict[str, Any], str]:
        """Result, evidence and reason of the last word, verified."""
        claims = verify_receipt((await self.place.journal.receipts_of(jti))[-1].jws, TRUST)[0]
        return claims.result, claims.evidence, claims.reason or ""

    async def alarms(self) -> list[str]:
        return await self.place.journal._readers.read(
            lambda conn: [str(row[0]) for row in conn.execute("SELECT code FROM alarm ORDER BY seq")]
        )

    @property
    def sales(self) -> Any:
        return self.book.config.policies["sales"]


@pytest.fixture
async def here(place: Place, tmp_path: Path) -> Here:
    made = Here(place, tmp_path)
    await made.start()
    return made


def people(*without: SigningKey) -> list[KeyEntry]:
    gone = {one.kid for one in without}
    return [one for one in TRUST.entries if one.role != "edge" and one.kid not in gone]


def of(key: SigningKey, role: Any = "dpo", owner: str = "Nora") -> KeyEntry:
    return KeyEntry(kid=key.kid, role=role, owner=owner, jwk=key.verify_key.jwk())


# ---------------------------------------------------------------- policy


async def test_a_tighter_policy_counts_at_once_and_a_restart_keeps_it(here: Here) -> None:
    jti = await here.policy(TIGHTER)
    assert here.sales.barge_in is False
    result, evidence, _ = await here.last(jti)
    assert (result, evidence["version"]) == ("done", here.sales.version)
    assert evidence["ordered_by"] == sorted([STORE.kid, DPO.kid])
    await here.start()
    assert here.sales.barge_in is False
    await here.book.reload()
    assert here.sales.barge_in is False, "an order wins over the file"


async def test_a_looser_policy_waits_a_day_alarms_and_can_be_cancelled(here: Here) -> None:
    jti = await here.policy(LOOSER)
    assert here.sales.hold == "pause"
    result, evidence, why = await here.last(jti)
    assert (result, evidence["looser"]) == ("deferred", ["hold"])
    assert "hold" in why
    assert "policy.loosens" in await here.alarms()
    await here.later(hours=23.9)
    assert here.sales.hold == "pause"
    await here.start()
    await here.later(hours=0.2)
    assert here.sales.hold == "record"
    assert (await here.last(jti))[0] == "done"
    again = await here.policy(LOOSER.replace("quality", "training"))
    stop = await here.order("cancel", "order", again, keys=(AUDITOR,))
    assert (await here.last(again))[0] == "refused:command.cancelled"
    assert (await here.last(stop))[0] == "done"
    await here.later(hours=25)
    assert here.sales.purposes == ("quality",)
    late = await here.order("cancel", "order", jti, keys=(DPO2,))
    assert (await here.last(late))[0] == "refused:command.too_late"


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (TABLE.replace('"opt_in"', '"ask_nicely"'), "config.value", ":2: "),
        ('[policy.sales]\nmode = "notice"\n', "policy.", "fix: "),
        ("[policy.sales\n", "config.syntax", ":1: "),
        ("x = " + "[" * 5000, "config.syntax", "nested too deeply"),
        ("x." * 5000 + "x = 1", "config.syntax", "nested too deeply"),
        (TABLE + "retries = " + "1" * 5000, "config.syntax", "64 bits"),
        (TABLE + "retries = 0x" + "f" * 5000, "config.syntax", "64 bits"),
        (TABLE + "beep = inf", "config.", "fix: "),
        (TABLE + "answer_window = nan", "config.", "fix: "),
        (TABLE + "answer_window = 1e300", "config.", "fix: "),
        (TABLE + 'remember = "P' + "9" * 5000 + 'Y"', "config.", "fix: "),
        (TABLE + '[policy.sales.retention]\nrecordings = "P99999999999Y"', "config.", "fix: "),
        ('[policy.other]\nmode = "never"\n', "config.order", "fix: "),
        (TABLE + '[edge]\nid = "mine"\n', "config.order", "[policy.sales] alone"),
    ],
)
async def test_what_the_loader_refuses_is_refused_with_line_and_fix(
    here: Here, text: str, code: str, says: str
) -> None:
    before = here.sales.version
    jti = await here.policy(text)
    result, _, why = await here.last(jti)
    assert result.startswith(f"refused:{code}")
    assert f"order {jti}" in why
    assert says in why
    assert here.sales.version == before
    assert await here.place.journal.ordered_policies() == []


async def test_what_is_in_force_is_shown(here: Here) -> None:
    before = await here.executor.by_hand.in_force()
    assert (before["policies"], before["keys_by"]) == ([], "")
    tight = await here.policy(TIGHTER)
    here.clock.go(seconds=1)
    loose = await here.policy(LOOSER)
    pinned = await here.keys(*people(DPO2))
    shown = await here.executor.by_hand.in_force()
    assert [(one["state"], one["order"]) for one in shown["policies"]] == [("in force", tight), ("waits", loose)]
    assert shown["keys_by"] == pinned
    assert {one["kid"]: one["retired"] is not None for one in shown["keys"]}[DPO2.kid]


async def test_a_journal_put_back_does_not_revive_a_cancelled_policy(here: Here) -> None:
    jti = await here.policy(LOOSER)
    row = await here.place.journal.order(jti)
    assert row is not None
    gone = await Receipts(here.place.means).of_order(row, "refused:command.cancelled", at=here.clock.wall_text())
    await here.place.journal.take_back_receipts([gone])
    await here.later(hours=25)
    assert here.sales.hold == "pause"
    assert (await here.last(jti))[0] == "refused:command.cancelled"
    assert await here.place.journal.ordered_policies() == []


async def test_an_empty_text_puts_the_file_back_in_force(here: Here) -> None:
    await here.policy(TIGHTER)
    here.clock.go(seconds=1)
    jti = await here.policy("")
    assert (await here.last(jti))[0] == "deferred", "the file's own is looser than what is in force"
    await here.later(hours=25)
    assert here.sales.barge_in is True
    assert (await here.last(jti))[0] == "done"


async def test_an_older_order_does_not_undo_a_newer_one(here: Here) -> None:
    older = await here.place.order(
        "policy", "policy", "sales", content={"toml": LOOSER}, keys=(STORE, DPO), age_s=60, )  # fmt: skip
    jti = await here.place.order("policy", "policy", "sales", content={"toml": TIGHTER}, keys=(STORE, DPO))
    await here.executor.once()
    assert (await here.last(jti))[0] == "done"
    await here.later(hours=25)
    assert (await here.last(older))[0] == "refused:command.superseded"
    assert here.sales.barge_in is False


async def test_an_order_for_other_edges_is_not_for_this_one(here: Here) -> None:
    jti = await here.policy(TIGHTER, content={"edges": ["edge-2"]})
    assert (await here.last(jti))[0] == "refused:command.audience"
    assert here.sales.barge_in is True
    assert (await here.last(await here.policy(TIGHTER, content={"edges": ["edge-1"]})))[0] == "done"


async def test_an_ordered_policy_that_fits_no_more_records_nothing_and_the_daemon_starts(here: Here) -> None:
    await here.policy(TIGHTER)
    rows = await here.place.journal.ordered_policies()
    here.looks = [
        CallwardenError("recipient.retired", "a retired key", hint="order it anew", where=f"order {rows[0].jti}:5")
    ]
    await here.start()
    assert "sales" not in here.book.config.policies
    assert "policy.order_unusable" in await here.alarms()
    await here.book.reload()
    here.clock.go(seconds=1)
    assert (await here.last(await here.policy(TIGHTER)))[0] == "deferred", "a new policy records more than none"


# ---------------------------------------------------------------- keys


async def test_new_keys_count_after_a_day_and_gone_ones_no_more_from_now_on(here: Here) -> None:
    jti = await here.keys(*people(DPO2), of(NEW))
    result, evidence, _ = await here.last(jti)
    assert result == "deferred"
    assert evidence["added"] == [NEW.kid]
    assert evidence["removed"] == [DPO2.kid]
    assert "auth.keys_ordered" in await here.alarms()
    await here.start()
    recording, _ = await here.place.record()
    for key in (NEW, DPO2):
        refused = await here.order("erase", "recording", recording.recording_id, keys=(STORE, key))
        assert (await here.last(refused))[0].startswith("refused:auth.")
    await here.later(hours=24.1)
    assert (await here.last(jti))[0] == "done"
    done = await here.order("erase", "recording", recording.recording_id, keys=(STORE, NEW))
    assert (await here.place.results(done))[-1] == "done"


async def test_a_cancelled_key_set_never_counts(here: Here) -> None:
    jti = await here.keys(*people(), of(NEW))
    stop = await here.order("cancel", "order", jti, keys=(AUDITOR,))
    assert (await here.last(jti))[0] == "refused:command.cancelled"
    assert (await here.last(stop))[0] == "done"
    await here.later(hours=25)
    await here.start()
    assert NEW.kid not in {one.kid for one in here.trust.entries}


@pytest.mark.parametrize("gone", [STORE, DPO])
async def test_an_edge_is_not_left_without_a_store_or_a_dpo(here: Here, gone: SigningKey) -> None:
    without = [one for one in people() if one.role != {STORE.kid: "store", DPO.kid: "dpo"}[gone.kid]]
    assert (await here.last(await here.keys(*without)))[0] == "refused:command.keys"
    assert here.trust.entries == TRUST.entries


async def test_a_key_is_replaced_by_two_orders_and_a_cancellation_leaves_one_that_counts(here: Here) -> None:
    swap = await here.keys(*people(DPO, DPO2), of(NEW))
    assert (await here.last(swap))[0] == "refused:command.keys", "cancelled, it would leave nobody"
    beside = await here.keys(*people(DPO2), of(NEW))
    here.clock.go(seconds=1)
    assert (await here.last(await here.keys(*people(DPO, DPO2), of(NEW))))[0] == "refused:command.keys"
    await here.order("cancel", "order", beside, keys=(AUDITOR,))
    assert (await here.last(beside))[0] == "refused:command.cancelled"
    assert [one.kid for one in here.trust.active(here.clock.wall_text()).with_role("dpo")] == [DPO.kid]
    here.clock.go(seconds=1)
    assert (await here.last(await here.keys(*people(DPO2), of(NEW))))[0] == "deferred"
    await here.later(hours=24.1)
    assert (await here.last(await here.keys(*people(DPO, DPO2), of(NEW))))[0] == "done"
    recording, _ = await here.place.record()
    erased = await here.order("erase", "recording", recording.recording_id, keys=(STORE, NEW))
    assert (await here.place.results(erased))[-1] == "done"


@pytest.mark.parametrize("soon", [True, False])
async def test_a_key_that_ends_or_never_begins_is_not_what_is_left(here: Here, soon: bool) -> None:
    if soon:
        ends = format_time(here.clock.wall() + timedelta(seconds=5))
        left = [msgspec.structs.replace(one, retired=ends) if one.role == "dpo" else one for one in people()]
    else:
        left = [*people(DPO, DPO2), msgspec.structs.replace(of(NEW), not_before="2099-01-01T00:00:00.000Z")]
    assert (await here.last(await here.keys(*left)))[0] == "refused:command.keys"
    assert here.trust.entries == TRUST.entries


async def test_a_key_set_does_not_move_an_edge_into_another_fleet(here: Here) -> None:
    keys = [one for one in TRUST.entries if one.role != "edge"]
    mine = of(SigningKey.from_seed(bytes([11]) * 32), "witness", "callwarden/fleet/witness")
    here.trust.become(KeySet.of([*TRUST.entries, mine]))
    theirs = of(SigningKey.from_seed(bytes([12]) * 32), "witness", "callwarden/other/witness")
    assert (await here.last(await here.keys(*keys, theirs)))[0] == "refused:command.fleet"
    assert (await here.last(await here.keys(*keys)))[0] == "refused:command.keys"
    both = of(SigningKey.from_seed(bytes([12]) * 32), "witness", "callwarden/fleet/witness")
    assert (await here.last(await here.keys(*keys, mine, both)))[0] == "deferred"


async def test_a_key_set_needs_the_store_and_a_dpo_and_is_newer_than_the_last(here: Here) -> None:
    alone = await here.keys(*people(), of(NEW), keys=(STORE,))
    assert (await here.last(alone))[0] == "refused:auth.count"
    assert (await here.last(await here.keys(*people())))[0] == "already"
    older = await here.place.order(
        "keys", "fleet", "fleet", content={"keyset": json.loads(KeySet.of([*people(), of(NEW)]).dump())},
        keys=(STORE, DPO), age_s=60,
    )  # fmt: skip
    newer = await here.place.order(
        "keys", "fleet", "fleet", content={"keyset": json.loads(KeySet.of(people(DPO2)).dump())}, keys=(STORE, DPO),
    )  # fmt: skip
    rows = {one.jti: one for one in await here.place.journal.orders(("received",))}
    await here.executor._carry_out(rows[newer])
    await here.executor.once()
    assert (await here.last(newer))[0] == "done"
    assert (await here.last(older))[0] == "refused:command.superseded"


async def test_a_trust_file_that_somebody_changed_wins_with_an_alarm(here: Here) -> None:
    await here.keys(*people(DPO2))
    assert DPO2.kid not in {one.kid for one in here.trust.active(here.clock.wall_text()).entries}
    (here.folder / "trust.json").write_bytes(KeySet.of([*TRUST.entries, of(NEW)]).dump())
    await here.start()
    assert {DPO2.kid, NEW.kid} <= {one.kid for one in here.trust.active(here.clock.wall_text()).entries}
    assert "auth.trust_file" in await here.alarms()


@pytest.mark.parametrize("older_row", [False, True])
async def test_a_new_key_of_the_edge_leaves_what_was_ordered(here: Here, older_row: bool) -> None:
    """`callwarden key change-edge` rewrites the trust file: about this edge alone. Also where the journal is of a version
    that noted the SHA-256 of the whole file."""
    await here.keys(*people(DPO2))
    file = here.folder / "trust.json"
    if older_row:
        whole = hashlib.sha256(file.read_bytes()).hexdigest()
        await here.place.journal._writer.do(lambda conn: conn.execute("UPDATE pinned SET file_sha256=?", (whole,)))
        await here.start()
        await here.start()
    old, new = EDGE, SigningKey.from_seed(bytes([13]) * 32)
    change = read_key_change(sign_key_change("edge-1", old, new, here.clock.wall_text()))
    file.write_bytes(with_new_key(TRUST, change).dump())
    await here.start()
    counting = {one.kid for one in here.trust.active(here.clock.wall_text()).entries}
    assert DPO2.kid not in counting, "it was ordered away"
    assert {new.kid, DPO.kid} <= counting
    assert old.kid not in counting
    assert here.trust.find(old.kid).role == "edge"
    assert "auth.trust_file" not in await here.alarms()
    here.clock.go(seconds=1)
    assert (await here.last(await here.keys(*people(DPO2), of(NEW))))[0] == "deferred"
    await here.start()
    assert {one.kid for one in here.trust.with_role("edge")} == {old.kid, new.kid}


async def test_a_key_set_that_lists_the_edges_own_key_is_refused(here: Here) -> None:
    jti = await here.keys(*people(), of(EDGE, "auditor", "Eve"))
    assert (await here.last(jti))[0] == "refused:command.keys"
    assert here.trust.entries == TRUST.entries


async def test_a_bug_in_one_order_stops_no_other(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> None:
        raise RuntimeError("nobody thought of this")

    recording, _ = await here.place.record()
    monkeypatch.setattr(keyorders, "replaced", breaks)
    jti = await here.keys(*people(DPO2))
    assert await here.place.results(jti) == []
    done = await here.order("erase", "recording", recording.recording_id)
    assert (await here.place.results(done))[-1] == "done"
    monkeypatch.undo()
    await here.executor.once()
    assert (await here.last(jti))[0] == "done"


async def test_an_order_that_a_bug_stops_is_alarmed_once_and_tried_less_and_less(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def breaks(*_: Any) -> None:
        tried.append(here.clock.mono_ns())
        raise ZeroDivisionError("of +420777123456")

    async def passes(count: int) -> int:
        """How many tries so many passes make, one a minute."""
        before = len(tried)
        for _ in range(count):
            await here.later(minutes=1)
        return len(tried) - before

    monkeypatch.setattr(keyorders, "replaced", breaks)
    jti = await here.keys(*people(DPO2))
    while len(tried) < stuck.TRIES - 1:
        await here.executor.once()
    assert "command.stuck" not in await here.alarms()
    await here.executor.once()
    told = [row.body for row in await here.place.journal.outbox(1000) if row.type == "alarm.raised"]
    (alarm,) = [one for one in told if one["code"] == "command.stuck"]
    assert (jti in alarm["message"], "ZeroDivisionError" in alarm["message"], alarm["where"]) == (True, True, jti)
    assert "777123456" not in alarm["message"]
    await here.executor.once()
    assert len(tried) == stuck.TRIES, "it waits now"
    assert await passes(60) < 15
    assert 1 <= await passes(20) <= 3, "and never gives up"
    assert (await here.alarms()).count("command.stuck") == 1
    monkeypatch.undo()
    await here.start()
    await here.executor.once()
    assert (await here.last(jti))[0] == "done", "a start tries it at once"


async def test_a_cancellation_counts_while_the_clock_is_doubted(here: Here) -> None:
    jti = await here.keys(*people(), of(NEW))
    here.clock.jump = timedelta(hours=30)
    await here.executor.once()
    assert here.executor.clock.doubt
    await here.place.order("cancel", "order", jti, keys=(AUDITOR,))
    await here.executor.once()
    assert (await here.last(jti))[0] == "refused:command.cancelled"
    await here.start()
    assert NEW.kid not in {one.kid for one in here.trust.entries}


@pytest.mark.parametrize("again", [False, True])
async def test_a_journal_put_back_does_not_revive_a_cancelled_key_set(here: Here, tmp_path: Path, again: bool) -> None:
    """Its last answer came back from central, with the order that cancelled it (`again`) or without."""
    jti = await here.keys(*people(), of(NEW))
    journal = here.place.journal
    before = await journal.pinned()
    row = await journal.order(jti)
    assert before is not None
    assert row is not None
    gone = await Receipts(here.place.means).of_order(
        row, "refused:command.cancelled", at=here.clock.wall_text(), reason="cancelled by order 1"
    )
    await journal.take_back_receipts([gone])
    here.clock.go(hours=25)
    await here.start()
    if again:
        stop = await here.order("cancel", "order", jti, keys=(AUDITOR,))
        assert (await here.last(stop))[0] == "done"
    await here.executor.once()
    assert (await here.last(jti))[0] == "refused:command.cancelled"
    await here.start()
    assert NEW.kid not in {one.kid for one in here.trust.entries}


def test_a_key_that_stays_neither_begins_earlier_nor_ends_later() -> None:
    now, acts_at = "2026-03-01T10:00:00.000Z", "2026-03-02T10:00:00.000Z"
    pending = msgspec.structs.replace(of(NEW), not_before="2026-03-01T20:00:00.000Z")
    retired = msgspec.structs.replace(of(DPO2), retired="2026-02-01T00:00:00.000Z")
    keys, facts = replaced(KeySet.of([pending, retired]), KeySet.of([of(NEW), of(DPO2)]), now, acts_at)
    assert keys.find(NEW.kid).not_before == pending.not_before
    assert keys.find(DPO2.kid).retired == retired.retired
    assert facts == {"added": [], "removed": [], "acts_at": None}
    other, facts = replaced(KeySet.of([of(NEW)]), KeySet.of([of(NEW, "auditor")]), now, acts_at)
    assert other.find(NEW.kid).not_before == acts_at, "another role is another key"
    assert facts["added"] == [NEW.kid]


# ---------------------------------------------------------------- fetch


async def test_what_central_fetches_waits_for_who_uploads_it(here: Here) -> None:
    recording, _ = await here.place.record()
    jti = await here.order("fetch", "recording", recording.recording_id)
    assert (await here.last(jti))[:2] == ("deferred", {"wanted": [recording.recording_id]})
    assert here.woken == 1
    (wanted,) = await here.place.journal.wanted_media()
    assert (wanted.recording_id, wanted.jti) == (recording.recording_id, jti)
    await here.later(hours=30)
    assert len(await here.place.results(jti)) == 1, "begun in time, it may take long"
    for _ in range(2):
        await here.place.journal.media_served(jti, recording.recording_id, "done", {"sha512": "00"})
    await here.executor.once()
    result, evidence, _ = await here.last(jti)
    assert result == "done"
    assert evidence["media"] == {recording.recording_id: {"result": "done", "sha512": "00"}}
    assert await here.place.journal.wanted_media() == []


async def test_a_call_is_fetched_whole_and_what_fails_is_said(here: Here) -> None:
    first, _ = await here.place.record(ended=False)
    second, _ = await here.place.record(first.call_id)
    jti = await here.order("fetch", "call", first.call_id)
    await here.place.journal.media_served(jti, first.recording_id, "done", {})
    await here.executor.once()
    assert len(await here.place.results(jti)) == 1
    await here.order("erase", "recording", second.recording_id)
    await here.executor.once()
    assert (await here.last(jti))[0] == "refused:command.state", "it is gone, and nobody waits for it"


async def test_restricted_unknown_and_too_many(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    recording, _ = await here.place.record()
    assert (await here.last(await here.order("fetch", "recording", makers.new_id())))[0] == "not_found"
    monkeypatch.setattr(fetchorders, "FETCHES_PER_HOUR", 1)
    await here.order("fetch", "recording", recording.recording_id)
    assert (await here.last(await here.order("fetch", "recording", recording.recording_id)))[
        0
    ] == "refused:command.rate"
    assert "retention.bulk_fetch" in await here.alarms()
    await here.later(hours=1.1)
    await here.order("restrict", "recording", recording.recording_id)
    jti = await here.order("fetch", "recording", recording.recording_id)
    assert (await here.last(jti))[0] == "refused:command.restricted"


async def test_nobody_who_uploads(here: Here) -> None:
    recording, _ = await here.place.record()
    executor = here.place.executor(clock=here.clock)
    jti = await here.place.order("fetch", "recording", recording.recording_id)
    await executor.once()
    assert (await here.last(jti))[0] == "refused:command.unsupported"


# ---------------------------------------------------------------- rewrap

HEADERS = [{"segment": n, "statement": "a.b.c", "header": "AAAA"} for n in range(2)]


async def test_headers_that_an_order_brings(here: Here) -> None:
    recording, _ = await here.place.record()
    jti = await here.order(
        "rewrap", "recording", recording.recording_id, keys=(STORE, DPO), content={"headers": HEADERS}
    )
    result, evidence, _ = await here.last(jti)
    assert result == "done"
    assert [one["segment"] for one in evidence["segments"]] == [0, 1]
    assert here.headers == [(recording.recording_id, 0), (recording.recording_id, 1)]


async def test_a_header_that_is_refused_and_one_that_is_tried_again(here: Here) -> None:
    recording, _ = await here.place.record()
    here.refuses = [CallwardenError("vault.io", "the disk", retryable=True)]
    jti = await here.order(
        "rewrap", "recording", recording.recording_id, keys=(STORE, DPO), content={"headers": HEADERS}
    )
    assert await here.place.results(jti) == []
    here.refuses = [CallwardenError("command.recipients", "not these")]
    await here.executor.once()
    result, _, why = await here.last(jti)
    assert result == "refused:command.recipients"
    assert "segment 0" in why
    signed = await here.order(
        "rewrap", "recording", recording.recording_id, content={"headers": HEADERS}, keys=(STORE,)
    )
    assert (await here.last(signed))[0] == "refused:auth.count"
