"""The way to an edge's facts while its daemon is stopped: its journal, vault and slots, under the daemon's own locks.

The same desk answers as in the daemon, so shapes and audit entries are the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from callwarden.door import Json, Reading, Source
from callwarden.keyfiles import read_signing_key, read_trust
from edge.api.actdesk import ActDesk, StatedBy
from edge.api.auditdesk import AuditDesk
from edge.api.backupdesk import BackupDesk, Copy
from edge.api.deps import ApiDeps
from edge.api.desk import Desk
from edge.api.evidencedesk import EvidenceDesk
from edge.api.keepingdesk import KeepingDesk
from edge.api.keydesk import KeyDesk
from edge.api.routes_erasure import ErasureDesk
from edge.api.verifydesk import VerifyDesk
from edge.api.words import ReadBy
from edge.audit.log import AuditLog
from edge.clock import SystemClock
from edge.config import EdgeConfig
from edge.config.keyfacts import ConfigKeys
from edge.errors import CallwardenError
from edge.gate import pending
from edge.integrity.inspector import Inspector, Means
from edge.number_key import NumberKey
from edge.recorder.leftovers import CaptureLeftovers
from edge.recorder.resume import ResumeFolder
from edge.recorder.spool import Spool
from edge.retention.door import RetentionDoor
from edge.retention.sight import Sight
from edge.store.journal import Journal
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from edge.vault.temps import VaultTemps
from formats.jws import sign_general

T = TypeVar("T")
#: Name of the slot file in [edge] state.
SLOT_FILE = "shred.keys"


class _LateSlots:
    """The slot file, opened when a key is wanted: lists and `why` need none."""

    def __init__(self, config: EdgeConfig, owner: str) -> None:
        self._config, self._owner = config, owner
        self._slots: ShredSlots | None = None

    async def read(self, slot: int) -> bytes:
        """See `edge.ports.Slots`."""
        return await (await self._opened()).read(slot)

    async def _opened(self) -> ShredSlots:
        if self._slots is None:
            path = self._config.edge.state / SLOT_FILE
            if not path.exists():  # opening would make a new one
                raise CallwardenError(
                    "vault.missing_keys", "there is no slot file: nothing can be opened", where=str(path)
                )
            waived = "cow-filesystem" in self._config.edge.waive
            self._slots = ShredSlots.open(str(path), owner=self._owner, allow_copy_on_write=waived)
        return self._slots

    async def live(self) -> Sequence[int]:
        """See `edge.ports.Slots`."""
        return await (await self._opened()).live()

    async def put(self, secret: bytes) -> int:
        """Never: a command that reads makes no key."""
        raise NotImplementedError

    async def shred(self, slots: Sequence[int]) -> None:
        """Never: erasing is the daemon's work."""
        raise NotImplementedError

    async def release(self, slots: Sequence[int]) -> None:
        """Destroy keys that no row names, which `verify --repair` found."""
        await (await self._opened()).release(slots)

    def sweep(self, in_use: Sequence[int]) -> int:
        """Never, as `shred`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Give the file back."""
        if self._slots is not None:
            await self._slots.close()


class OfflineDoor:
    """Implements `callwarden.door.Door`."""

    def __init__(
        self,
        deps: ApiDeps,
        runner: asyncio.Runner,
        owner: tuple[int, int],
        unlock: Callable[[], Coroutine[Any, Any, int]],
    ) -> None:
        self._unlock = unlock
        self._desk, self._acts, self._audit = Desk(deps), ActDesk(deps), AuditDesk(deps)
        self._verify = VerifyDesk(deps)
        self._erasure = ErasureDesk(deps)
        self._evidence, self._keeping = EvidenceDesk(deps, self._desk), KeepingDesk(deps, self._desk)
        self._keys = KeyDesk(deps)
        self._backups, self._refusal = BackupDesk(deps), deps.refusal
        self._runner, self._owner = runner, owner

    def _run(self, question: Coroutine[Any, Any, T], *, always: bool = False) -> T:
        """`always`: it gives nothing out that could have been erased after a backup that was put back."""
        if not always and (refusal := self._refusal()) is not None:
            question.close()
            raise refusal
        with acting_as(self._owner):
            return self._runner.run(question)

    def status(self) -> Json:
        """See `Door`; so for all that follow."""
        return self._run(self._desk.status(), always=True)

    def calls(self) -> Json:
        return self._run(self._desk.calls())

    def recordings(self) -> Json:
        return self._run(self._desk.recordings())

    def why(self, call: str) -> Json:
        return self._run(self._desk.why(call))

    def receipts(self, subject: str) -> list[Json]:
        return list(self._run(self._desk.receipts(subject)))

    def bundle(self, recording: str) -> Json:
        return self._run(self._desk.bundle(recording))

    def header(self, recording_id: str, number: int, reading: Reading) -> bytes:
        return self._run(self._desk.header(recording_id, number, _by(reading)))

    @contextmanager
    def payload(
        self, recording_id: str, number: int, reading: Reading, part: tuple[int, int] | None = None
    ) -> Iterator[Source]:
        wanted = None if part is None else f"bytes={part[0]}-{part[1] - 1}"
        found = self._run(self._desk.payload(recording_id, number, _by(reading), wanted))
        with found.file as file:
            file.seek(found.first)
            yield _Bounded(file, found.end - found.first)

    def exported(self, recording_id: str, reading: Reading) -> None:
        self._run(self._desk.exported(recording_id, _by(reading)))

    def reads(self, recording: str) -> Json:
        return self._run(self._desk.reads(recording))

    def verify_begin(self, *, deep: bool, anew: bool) -> Json:
        return self._run(self._verify.begin(deep=deep, anew=anew, uid=os.getuid()))

    def verify_recording(self, recording_id: str, *, run: str, repair: bool, plaintext: str | None) -> Json:
        if repair:
            self._run(self._unlock())  # as above
        return self._run(
            self._verify.recording(recording_id, run=run, repair=repair, plaintext=plaintext, uid=os.getuid())
        )

    def verify_rest(self, *, run: str, repair: bool) -> Json:
        return self._run(self._verify.rest(run=run, repair=repair, uid=os.getuid()))

    def waveform(self, recording_id: str, number: int, reading: Reading) -> bytes:
        return self._run(self._desk.waveform(recording_id, number, _by(reading)))

    def evidence(self, call: str, form: str, reading: Reading, *, signed: bool = True) -> Json:
        self._run(self._unlock())  # its audit entry names the call by an HMAC
        return self._run(self._evidence.evidence(call, form, _by(reading), signed=signed))

    def act(self, act: str, call: str, role: str, reason: str, seconds: float) -> Json:
        """Raises daemon.stopped: no call goes on without its daemon."""
        return self._run(self._acts.act(act, call, StatedBy(os.getuid(), role, reason), seconds))

    def reload(self) -> Json:
        return self._run(self._acts.reload(os.getuid()))

    def keys(self) -> Json:
        return self._run(self._keys.keys())

    def headers(self, after: int) -> list[Json]:
        return self._run(self._keys.headers(after))

    def resend(self) -> Json:
        """Raises daemon.stopped."""
        return self._run(self._keys.resend())

    def rewrap(self, recording_id: str, number: int, body: Json) -> Json:
        """Raises daemon.stopped: the daemon alone writes keys."""
        return self._run(self._keys.rewrap(recording_id, number, body, os.getuid(), ""))

    def audit_entries(self, start: int, end: int) -> list[Json]:
        return self._run(self._audit.audit_entries(start, end), always=True)

    def audit_checkpoints(self) -> Json:
        return self._run(self._audit.audit_checkpoints(), always=True)

    def backups(self) -> list[Json]:
        return list(self._run(self._backups.backups(), always=True))

    def backup_begun(self, backup_id: str, place: str, expires_at: str | None) -> None:
        self._run(self._backups.begin(Copy(backup_id, place, expires_at), os.getuid()), always=True)

    def backup_made(self, backup_id: str) -> None:
        self._run(self._backups.finish(backup_id, os.getuid()), always=True)

    def accept_restore(self, reason: str) -> Json:
        return self._run(self._backups.accept(os.getuid(), reason), always=True)

    def retention_plan(self, policy: str, at: str) -> Json:
        return self._run(self._keeping.plan(policy, at))

    def retention_run(self) -> Json:
        """Raises daemon.stopped, as the acts that follow: nothing would act on them."""
        return self._run(self._keeping.run(os.getuid()))

    def retention_approve(self, scopes: Sequence[str]) -> Json:
        return self._run(self._keeping.approve(scopes, os.getuid()))

    def retention_clock_ok(self) -> Json:
        return self._run(self._keeping.clock_ok(os.getuid()))

    def policies(self) -> list[Json]:
        return self._run(self._keeping.policies(), always=True)

    def holds(self, *, released: bool) -> list[Json]:
        return self._run(self._keeping.holds(released=released))

    def place_hold(self, asked: Json) -> Json:
        return self._run(self._keeping.place(asked, os.getuid()))

    def release_hold(self, hold: str) -> Json:
        return self._run(self._keeping.release(hold, os.getuid()))

    def erasure(self, verb: str, body: Json) -> Json:
        return self._run(self._erasure.answer(verb, body, os.getuid()))


def _by(reading: Reading) -> ReadBy:
    return ReadBy(os.getuid(), reading.purpose, reading.case, reading.form, reading.span)


class _Bounded:
    """A file up to its committed length."""

    def __init__(self, file: Source, length: int) -> None:
        self._file, self._left = file, length

    def read(self, size: int = -1, /) -> bytes:
        piece = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        return piece


@contextmanager
def acting_as(owner: tuple[int, int]) -> Iterator[None]:
    """As root, work under the journal owner's ids: a file that SQLite makes as root would lock the daemon out."""
    uid, gid = owner
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _inspector(config: EdgeConfig, journal: Journal, slots: _LateSlots, vault: PayloadVault) -> Inspector | None:
    """None where the trust file cannot be read, which only `verify` needs."""
    try:
        trust = read_trust(config.edge.trust_file)
    except CallwardenError:
        return None
    clock = SystemClock()
    leftovers = CaptureLeftovers(
        Spool(config.edge.spool, None), ResumeFolder(config.edge.resume, journal.instance_id, clock)
    )
    return Inspector(Means(journal, vault, slots, (leftovers, VaultTemps(vault.root)), clock, trust, running=False))


@contextmanager
def open_offline(config: EdgeConfig) -> Iterator[OfflineDoor]:
    """Raises journal.locked when a daemon has the journal, auth.key when its signing key cannot be read."""
    info = config.edge.journal.stat()
    owner = (info.st_uid, info.st_gid)
    key = read_signing_key(config.edge.signing_key_file)
    with asyncio.Runner() as runner:
        with acting_as(owner):
            audit = AuditLog()
            journal = Journal.open(config.edge.journal, audit=audit, clock=SystemClock(), edge_id=config.edge.id)
            slots = _LateSlots(config, journal.instance_id)
            vault = PayloadVault(str(config.edge.vault))
            mark = runner.run(journal.restore_mark())
        waits = mark is not None and not mark.accepted
        sight = Sight(
            journal=journal, clock=SystemClock(),
            terms_of=lambda name: config.policies[name].retention if name in config.policies else None,
            policies=lambda: config.policies, house=lambda: config.retention,
            hasher=NumberKey(journal, slots).hasher, country=lambda: config.telephony.country,
        )  # fmt: skip
        deps = ApiDeps(
            config.edge.id, key.verify_key.jwk(), journal, journal.views, slots, vault,
            keys=ConfigKeys(lambda: config),
            attest=lambda typ, payload: sign_general(payload, [(key, key.kid)], typ), retention=RetentionDoor(sight),
            refusal=lambda: pending("its daemon has not asked central what was erased since") if waits else None,
            inspector=_inspector(config, journal, slots, vault),
        )  # fmt: skip
        try:
            yield OfflineDoor(deps, runner, owner, lambda: audit.unlock(journal, slots))
        finally:
            with acting_as(owner):
                runner.run(slots.close())
                runner.run(journal.close())
