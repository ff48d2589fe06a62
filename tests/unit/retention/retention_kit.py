"""Retention over the real journal, slot file and vault, with keys of its own fleet; calls carried out by a small stand-in."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from edge.audit.log import AuditLog
from edge.consent.retention import House
from edge.errors import CallwardenError
from edge.model.entities import NewCall, NewRecording
from edge.model.live import Actor, DueErasure, PauseRow
from edge.retention.executor import Executor, Means
from edge.store.journal import Journal
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from formats import canonical
from formats.ids import format_time, parse_time
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet
from formats.orders import OrderClaims, Person, Target, sign_order
from formats.roles import Role
from tests.unit.store import store_makers as makers

STORE, DPO, EDGE, DPO2, AUDITOR = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3, 4, 5))
SINCE = "2025-01-01T00:00:00.000Z"
_PEOPLE: tuple[tuple[SigningKey, Role, str], ...] = (
    (STORE, "store", "central"), (DPO, "dpo", "Dana"), (EDGE, "edge", "edge-1"), (DPO2, "dpo", "Dora"),
    (AUDITOR, "auditor", "Ann"),
)  # fmt: skip
TRUST = KeySet.of(
    KeyEntry(
        kid=key.kid, role=role, owner=owner, jwk=key.verify_key.jwk(), not_before=SINCE,
        edge_id="edge-1" if role == "edge" else None,
    )
    for key, role, owner in _PEOPLE
)  # fmt: skip


def now_plus(seconds: float) -> str:
    return format_time(parse_time(makers.SystemClock().wall_text()) + timedelta(seconds=seconds))


class NobodyLive:
    """No call is live here: nothing to stop."""

    async def stop(self, recording_id: str, reason: str) -> None:
        assert reason == "erase"


class Calls:
    """The calls stage as retention meets it: rows first, in the real journal. `fails`: raised before anything is done."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.fails: list[CallwardenError] = []
        self.asked: list[tuple[str, str, Actor]] = []
        self.reasons: list[str] = []

    async def withdraw(self, call_id: str, actor: Actor, reason: str) -> Mapping[str, Any]:
        self._enter("withdraw", call_id, actor)
        self.reasons.append(reason)
        call = await self.journal.call(call_id)
        assert call is not None
        if call.outcome != "withdrawn":
            due = [DueErasure(one, now_plus(-1), "withdrawal") for one in call.recordings]
            await self.journal.withdraw(call_id, makers.event("withdrawn"), "withdrawn", due, forget=None)
        return {
            "call": call_id,
            "did": "withdrawn",
            "says": "the recording has stopped",
            "recording": call.recordings[0],
        }

    async def pause(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        self._enter("pause", call_id, actor)
        await self.journal.open_pause(PauseRow(makers.new_id(), call_id, "asked", actor, makers.AT, None))
        return {"call": call_id, "did": "paused", "says": "the recording is paused"}

    async def resume(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        self._enter("resume", call_id, actor)
        for one in await self.journal.open_pauses():
            await self.journal.close_pause(one.pause_id, makers.AT, actor)
        return {"call": call_id, "did": "resumed", "says": "the recording goes on"}

    def _enter(self, what: str, call_id: str, actor: Actor) -> None:
        self.asked.append((what, call_id, actor))
        if self.fails:
            raise self.fails.pop(0)


class Place:
    """One edge's disk, without daemon. Made with `open`."""

    journal: Journal
    slots: ShredSlots
    vault: PayloadVault
    worker: ThreadPoolExecutor
    calls: Calls
    means: Means

    @classmethod
    async def open(cls, folder: Path, **changes: Any) -> Place:
        place = cls()
        log = AuditLog()
        place.journal = Journal.open(folder / "journal.db", audit=log, clock=makers.SystemClock(), edge_id="edge-1")
        place.slots = ShredSlots.open(
            str(folder / "shred.keys"), owner=place.journal.instance_id, count=64, allow_copy_on_write=True
        )
        place.slots.sweep(await place.journal.slots_in_use())
        await log.unlock(place.journal, place.slots)
        place.vault = PayloadVault(str(folder / "vault"))
        place.worker = ThreadPoolExecutor(1)
        place.calls = Calls(place.journal)

        async def no_head() -> str | None:
            return None

        place.means = Means(
            journal=place.journal, slots=place.slots, vault=place.vault,
            recorder=NobodyLive(), keeper=None, clock=makers.SystemClock(),  # type: ignore[arg-type]
            key=EDGE, trust=TRUST, edge_id="edge-1", terms_of=lambda _: None, head=no_head,
            worker=place.worker, house=lambda: House(approve="at_once"), live=place.calls,  # type: ignore[arg-type]
        )  # fmt: skip
        place.means = replace(place.means, **changes)
        return place

    def executor(self, **changes: Any) -> Executor:
        return Executor(replace(self.means, **changes))

    async def close(self) -> None:
        await self.journal.close()
        await self.slots.close()
        self.worker.shutdown()

    async def record(
        self, call_id: str | None = None, *, ended: bool = True, call: NewCall | None = None, **changes: Any
    ) -> tuple[NewRecording, bytes]:
        """A sealed recording with its payload, of a new call (`changes`: what is different about it) or under a given
        call's permit; and its shred key."""
        secret = secrets.token_bytes(32)
        slot = await self.slots.put(secret)
        if call_id is None:
            call = call or makers.call(**changes)
            await self.journal.open_call(call)
            new = makers.recording(call.call_id, slot)
            await self.journal.grant(
                call.call_id, makers.event("given", call.party_id), new.permit_id, ("quality",), new
            )
        else:
            permit = await self.journal.permit(call_id)
            assert permit is not None
            new = replace(makers.recording(call_id, slot), permit_id=permit.permit_id)
            await self.journal.add_recording(new)
        self.vault.create(new.recording_id, new.segment.segment_id)
        self.vault.append(new.recording_id, new.segment.segment_id, 0, b"sealed")
        for state in ("recording", "closing"):
            await self.journal.set_recording_state(new.recording_id, state)
        await self.journal.close_segment(makers.closed(new, 2))
        await self.journal.seal_recording(
            new.recording_id, ending="complete", frames=32768, ended_at=makers.AT, manifest="m.a.n"
        )
        if ended:
            await self.journal.end_call(new.call_id, makers.AT)
        return new, secret

    async def person(self, number: str = makers.NUMBER, *keys: SigningKey, cmd: str = "erase", **claims: Any) -> str:
        """An order about a person, with its opening; its jti."""
        person = Person(secrets.token_bytes(16), number)
        claims = ({"located": makers.new_id()} if cmd == "erase" else {}) | claims
        slot = await self.slots.put(person.packed())
        return await self.order(cmd, "person", person.id, keys=keys, slot=slot, **claims)

    async def order(
        self, cmd: str, kind: str, target: str, *, age_s: float = 0, keys: Sequence[SigningKey] = (),
        slot: int | None = None, **more: Any,
    ) -> str:  # fmt: skip
        """An order in the inbox, signed by `keys` (whom the table demands, where none are given); its jti."""
        iat = now_plus(-age_s)
        claims = OrderClaims(
            iss="fleet", jti=makers.new_id(), iat=iat, fleet="fleet", cmd=cmd,  # type: ignore[arg-type]
            target=Target(kind, target), reason="the caller asked for it",  # type: ignore[arg-type]
            **({"as_of": iat} | more),
        )  # fmt: skip
        document = sign_order(claims, keys or {"erase": [STORE, DPO], "release": [DPO, AUDITOR]}.get(cmd, [STORE]))
        seq = await self.journal.last_delivery() + 1
        text = canonical.dumps(document).decode()
        await self.journal.take_delivery(seq, claims.jti, text, void=False, at=iat, slot=slot)
        return claims.jti

    async def results(self, jti: str) -> list[str]:
        return [one.result for one in await self.journal.receipts_of(jti)]

    async def state(self, recording_id: str) -> str:
        row = await self.journal.recording(recording_id)
        assert row is not None
        return row.state

    async def hold(self, target: str, reason: str) -> None:
        def job(conn: sqlite3.Connection) -> None:
            conn.execute(
                "INSERT INTO hold(hold_id, scope, target, reason, placed_by, placed_at) VALUES(?, 'call', ?, ?, 'dpo', ?)",
                (makers.new_id(), target, reason, makers.AT),
            )

        await self.journal._writer.do(job)

    async def release(self, target: str) -> None:
        def job(conn: sqlite3.Connection) -> None:
            conn.execute("UPDATE hold SET released_at=? WHERE target=?", (makers.AT, target))

        await self.journal._writer.do(job)
