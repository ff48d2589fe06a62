"""What every handler shares: configuration, database, keeper, keys, the clock and who waits for deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from msgspec.structs import replace

from central.config import CentralConfig
from central.conn import Conn
from central.db import Database, open_database
from central.edgebook import EdgeBook, former_key
from central.errors import CentralError
from central.fleet.beats import Beats
from central.guesses import Guesses
from central.hooks.facts import alarm_told
from central.incidents import book as incidents
from central.keeperlink import Keeper, KeeperLink
from central.keyfiles import read_key
from central.log import OwnLog
from central.media.room import Room, open_room
from central.minimise.ring import RingFile
from central.replay import ReplayCache
from central.slotfile import SlotFile
from formats import canonical
from formats.ids import format_time
from formats.keys import SigningKey, VerifyKey
from formats.keyset import KeyEntry, KeySet, entry

#: No edge has this name.
NO_EDGE: Final = ""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass
class Central:
    """The running service's parts. `wall` gives aware UTC; tests give their own."""

    config: CentralConfig
    db: Database
    edges: EdgeBook = field(init=False)
    search: RingFile = field(init=False)
    keeper: Keeper
    store: SigningKey
    witness: SigningKey
    wall: Callable[[], datetime] = utc_now
    log: OwnLog = field(default_factory=OwnLog)
    replays: ReplayCache = field(default_factory=ReplayCache)
    beats: Beats = field(default_factory=Beats)
    guesses: Guesses = field(default_factory=Guesses)
    media: Room | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _doorbells: dict[str, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.edges = EdgeBook(self.db)
        self.search = RingFile(self.config.search_keys)

    def now(self) -> str:
        """RFC 3339 UTC with milliseconds and Z."""
        return format_time(self.wall())

    def doorbell(self, edge_id: str) -> asyncio.Event:
        """The event set at the next delivery for this edge; take it before looking whether there is one."""
        return self._doorbells.setdefault(edge_id, asyncio.Event())

    def keys(self, conn: Conn, edge_id: str | None = None) -> KeySet:
        """See `key_set`."""
        names = self.config.witness_name
        return key_set(conn, self.store.verify_key, self.witness.verify_key, names, edge_id=edge_id)

    def ring(self, edge_id: str) -> None:
        """Wake the long-polls of an edge."""
        bell = self._doorbells.pop(edge_id, None)
        if bell is not None:
            bell.set()

    def wake_all(self) -> None:
        """Shutdown: every long-poll answers at once with what there is."""
        self.closing.set()
        for edge_id in list(self._doorbells):
            self.ring(edge_id)

    def alarm(self, conn: Conn, edge_id: str, code: str, message: str, subject: str = "", cause: str = "") -> None:
        """Store an alarm, log it, and open the incident it means or join it to one, inside the caller's transaction. subject: the
        recording or call it names. cause: which of several, of a code that has them."""
        at = self.now()
        made = conn.execute(
            "INSERT INTO alarm(at, edge_id, code, message) VALUES (?,?,?,?) RETURNING id",
            (at, edge_id, code, message[:500]),
        ).fetchone()
        self.log.append(conn, at, "alarm.raised", {"edge_id": edge_id, "code": code})
        alarm_told(self, conn, edge_id, code, int(made[0]), at)
        incidents.heard(self, conn, edge_id, f"{code}/{cause}" if cause else code, message, subject)


CENTRAL = web.AppKey("central", Central)


def open_central(config: CentralConfig, *, wall: Callable[[], datetime] = utc_now) -> Central:
    """Open every file central needs (blocking; before the loop serves). Raises CentralError config.* keeper.*."""
    store, witness = read_key(config.store_key), read_key(config.witness_key)
    keeper: Keeper
    if config.keeper_socket is not None:
        keeper = KeeperLink(config.keeper_socket)
    else:
        keeper = SlotFile(config.keeper, allow_copy_on_write=config.allow_copy_on_write)
    try:
        media = open_room(config.media)
        database = open_database(config, keeper)
    except CentralError:
        keeper.close()
        raise
    return Central(config=config, db=database, keeper=keeper, store=store, witness=witness, wall=wall, media=media)


def sweep_keeper(central: Central, conn: Conn) -> int:
    """Job at start: shred slots that no header row names, and detach slots of recordings that have a tombstone."""
    bury(central.keeper, conn)
    return central.keeper.sweep(named_slots(conn))


def bury(keeper: Keeper, conn: Conn) -> None:
    """Job: a kill in the middle of an erase may leave rows that name the slots of a recording with a tombstone."""
    buried = [
        row[0]
        for row in conn.execute(
            "SELECT keeper_slot FROM header JOIN recording USING (recording_id) JOIN tombstone USING (edge_id, recording_id)"
            " WHERE keeper_slot IS NOT NULL"
        )
    ]
    if buried:
        keeper.shred(buried)
        conn.executemany(
            "UPDATE header SET keeper_slot=NULL, sealed_header=NULL WHERE keeper_slot=?", [(n,) for n in buried]
        )


def named_slots(conn: Conn) -> frozenset[int]:
    """Job: every slot that a row names."""
    return frozenset(
        r[0]
        for r in conn.execute(
            "SELECT keeper_slot FROM header WHERE keeper_slot IS NOT NULL"
            " UNION SELECT opening_slot FROM orders WHERE opening_slot IS NOT NULL"
            " UNION SELECT slot FROM subject_case WHERE slot IS NOT NULL"
            " UNION SELECT keeper_slot FROM call_number"
        )
    )


def key_set(
    conn: Conn, store: VerifyKey, witness: VerifyKey, witness_name: str, *, edge_id: str | None = None
) -> KeySet:
    """Everyone central knows: itself, people, edges (all, or only `edge_id`; none with NO_EDGE), retired keys with their dates.
    An edge that waits for approval is not known yet; the key of one that was revoked counts up to then.

    The owner of the witness's entry is its name in cosignatures.
    """
    entries = [entry(store, "store", "central"), entry(witness, "witness", witness_name)]
    for row in conn.execute("SELECT kid, role, owner, jwk, retired_at FROM key ORDER BY registered_at, kid"):
        entries.append(
            KeyEntry(
                kid=row["kid"], role=row["role"], owner=row["owner"], jwk=_jwk(row["jwk"]), retired=row["retired_at"]
            )
        )
    whose, values = ("", ()) if edge_id is None else (" WHERE edge_id=?", (edge_id,))
    for row in conn.execute(f"SELECT edge_id, jwk, state, state_at FROM edge{whose} ORDER BY edge_id", values):  # noqa: S608
        if row["edge_id"] == edge_id or (edge_id is None and row["state"] != "waiting"):
            one = entry(VerifyKey.from_jwk(_jwk(row["jwk"])), "edge", row["edge_id"], edge_id=row["edge_id"])
            entries.append(replace(one, retired=row["state_at"]) if row["state"] == "revoked" else one)
    query = f"SELECT edge_id, jwk, retired_at FROM edge_key{whose} ORDER BY edge_id, retired_at, kid"  # noqa: S608 - constants
    for row in conn.execute(query, values):
        entries.append(former_key(row["edge_id"], row["jwk"], row["retired_at"]))
    return KeySet.of(entries)


def _jwk(text: str) -> dict[str, Any]:
    value = canonical.loads(text)
    assert isinstance(value, dict)
    return value
