"""The process that is killed: a header is put into the place of another. usage: keys_child.py FOLDER prepare|rewrap|resend

`prepare` stores one sealed recording, its header for OLD; prints its id. `rewrap` carries a header for NEW to the desk, as
the command does, unless that was done.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

from edge.api.deps import ApiDeps
from edge.api.keydesk import KeyDesk
from edge.model.entities import HeaderRow, NewRecording
from formats.age import X25519Identity, make_header, open_header
from formats.errors import NoMatchError
from formats.keys import b64url
from formats.manifest import key_id
from formats.rewrap import RewrapClaims, sign_rewrap
from formats.shred import seal_header, unseal_header
from tests.unit.retention.retention_kit import DPO, TRUST, Place
from tests.unit.store import store_makers as makers

OLD, NEW = (X25519Identity.generate(bytes([n]) * 32) for n in (1, 2))
FILE_KEY = bytes(range(16))


class Facts:
    """One policy, for NEW alone."""

    def recipients_of(self, policy: str) -> tuple[str, ...] | None:
        return (str(NEW.recipient()),) if policy == "support" else None

    def policies(self) -> dict[str, dict[str, list[str]]]:
        return {"support": {"recipients": [str(NEW.recipient())]}}


def desk(place: Place) -> KeyDesk:
    journal = place.journal
    return KeyDesk(ApiDeps("edge-1", {}, journal, journal.views, place.slots, place.vault, trust=TRUST, keys=Facts()))


async def prepare(place: Place) -> str:
    """One sealed recording of a caller who agreed."""
    call, secret = makers.call(), secrets.token_bytes(32)
    await place.journal.open_call(call)
    slot = await place.slots.put(secret)
    plain = makers.recording(call.call_id, slot)
    header = make_header(FILE_KEY, [OLD.recipient()], randbytes=secrets.token_bytes)
    segment = plain.segment
    sealed = seal_header(header, secret, secrets.token_bytes(12), plain.recording_id, segment.segment_id, 1)
    row = HeaderRow(segment.segment_id, 1, "age1", sealed, slot, (str(OLD.recipient()),), key_id(FILE_KEY))
    new: NewRecording = replace(plain, segment=replace(segment, header=row))
    await place.journal.grant(call.call_id, makers.event("given", call.party_id), new.permit_id, ("quality",), new)
    for state in ("recording", "closing"):
        await place.journal.set_recording_state(new.recording_id, state)
    await place.journal.close_segment(makers.closed(new, 2))
    await place.journal.seal_recording(
        new.recording_id, ending="complete", frames=32768, ended_at=makers.AT, manifest="m.a.n"
    )
    await place.journal.end_call(call.call_id, makers.AT)
    return new.recording_id


async def rewrap(place: Place, recording_id: str) -> None:
    row = await place.journal.recording(recording_id)
    assert row is not None
    (segment,) = row.segments
    if segment.header.version != 1:
        return
    header = make_header(FILE_KEY, [NEW.recipient()], randbytes=secrets.token_bytes)
    claims = RewrapClaims(
        edge_id="edge-1", recording_id=recording_id, segment_id=segment.segment_id, number=0, version=2, suite="age1",
        policy="support", recipients=(str(NEW.recipient()),), key_id=key_id(FILE_KEY).hex(),
        header_sha256=hashlib.sha256(header).hexdigest(), at=makers.AT,
    )  # fmt: skip
    body = {"statement": sign_rewrap(claims, DPO), "header": b64url(header)}
    await desk(place).rewrap(recording_id, 0, body, 0, makers.SystemClock().wall_text())


async def openers(place: Place, folder: Path, recording_id: str) -> list[str]:
    """Who opens the recording now: one word for every header row that gives the file key."""
    with sqlite3.connect(folder / "journal.db") as conn:
        rows = conn.execute("SELECT segment_id, version, sealed_header, slot FROM header WHERE slot > 0").fetchall()
    found = []
    for segment_id, version, sealed, slot in rows:
        text = unseal_header(sealed, await place.slots.read(slot), recording_id, segment_id, version)
        for name, identity in (("old", OLD), ("new", NEW)):
            try:
                assert open_header(text, [identity]) == FILE_KEY
            except NoMatchError:
                continue
            found.append(name)
    return found


async def main() -> None:
    place = await Place.open(Path(sys.argv[1]))
    try:
        if sys.argv[2] == "prepare":
            print(await prepare(place))
        elif sys.argv[2] == "rewrap":
            await rewrap(place, sys.argv[3])
        else:
            await desk(place).resend()
    finally:
        await place.close()


if __name__ == "__main__":
    asyncio.run(main())
