"""The composition root: builds every stage and adapter, joins them, and runs them until told to stop.

The only file that knows two stages or adapters. Order at start: look at the host, open journal and slots, take up live
captures (sealing goes on before anything else works), then the doors: AMI, AGI, central, the local socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import os
import random
import signal
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from asyncinotify import Inotify, Mask

from edge import host
from edge.adopt.standing import Standing
from edge.agi.server import AgiServer
from edge.ami.link import AmiLink, AmiSettings
from edge.api.deps import ApiDeps
from edge.api.keydesk import KeyDesk
from edge.api.server import make_app, serve
from edge.audit.checkpoints import Checkpointer
from edge.audit.log import AuditLog
from edge.calls.conductor import Conductor
from edge.calls.flow import World
from edge.calls.lamps import Lamps
from edge.calls.tracker import Tracker
from edge.clock import SystemClock
from edge.config import EdgeConfig, check, load
from edge.config.check import group_id
from edge.config.keyfacts import ConfigKeys
from edge.config.schema import is_loopback
from edge.consent.ability import Ability
from edge.consent.epochs import named_by
from edge.errors import CallwardenError
from edge.gate import Gate
from edge.integrity.inspector import Inspector
from edge.integrity.inspector import Means as InspectorMeans
from edge.media.uploader import Uploader
from edge.model.software import SOFTWARE
from edge.notices.sender import Notices
from edge.notices.settings import settings_of
from edge.number_key import NumberKey
from edge.pinned import PinnedKeys
from edge.policybook import PolicyBook
from edge.prompts.catalogue import Catalogue
from edge.prompts.check import check_policies
from edge.prompts.report import reports
from edge.recorder.adopting import Adopter
from edge.recorder.leftovers import CaptureLeftovers
from edge.recorder.manifests import manifest_maker
from edge.recorder.recorder import Recorder
from edge.recorder.resume import ResumeFolder
from edge.recorder.spool import Spool
from edge.recorder.tools import Tools, Watch
from edge.retention.door import RetentionDoor
from edge.retention.executor import Executor, Means
from edge.retention.means import Bounds
from edge.sinks import Sinks
from edge.store.journal import Journal
from edge.sync.heart import Vitals, policy_hash
from edge.sync.service import Sync, incarnation_of
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from edge.vault.temps import VaultTemps
from formats.jws import sign_general
from formats.keys import SigningKey, load_key

log = structlog.get_logger("edge")

#: How often the journal notes that the daemon lives; a gap at the next start becomes the `outage` entry, seconds.
ALIVE_EVERY_S: Final = 30.0


def run(path: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises CallwardenError when it cannot start."""
    config = load(path)
    host.refuse_core_dumps()
    host.refuse("host", check(config))
    asyncio.run(_main(config))


class Daemon:
    """Everything that runs, by name. Built by `_main`; `readiness` is what `callwarden status` shows of it."""

    def __init__(self, config: EdgeConfig, key: SigningKey, trust: PinnedKeys) -> None:
        self.clock = SystemClock()
        self.key = key
        self.trust = trust
        self.audit = AuditLog()
        self.gate = Gate()
        edge, asterisk = config.edge, config.asterisk
        self.journal = Journal.open(edge.journal, audit=self.audit, clock=self.clock, edge_id=edge.id)
        self.policies = PolicyBook(
            config, self.journal, self.clock, self._look, lambda of: reports(of, self.prompts.resolve)
        )
        self.slots = ShredSlots.open(
            str(edge.state / "shred.keys"),
            owner=self.journal.instance_id,
            allow_copy_on_write="cow-filesystem" in edge.waive,
        )
        self.number_key = NumberKey(self.journal, self.slots)
        self.vault = PayloadVault(str(edge.vault))
        self.prompts = Catalogue.load(edge.prompts, edge.prompt_cache)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="sealer")
        host.refuse("prompts", check_policies(config, self.prompts))
        token = host.secret(asterisk.agi_token_file)
        self.sinks = Sinks()
        self.ami = AmiLink(
            AmiSettings(
                *host.address(str(asterisk.ami)),
                asterisk.ami_user,
                asterisk.ami_secret_file,
                dead_man_s=round(asterisk.dead_man),
            ),
            self.sinks,
            token,
            self._ami_trouble,
        )
        self.spool = Spool(edge.spool, group_id(asterisk.group))
        self.spool.prove()
        self.resume = ResumeFolder(edge.resume, self.journal.incarnation, self.clock)
        self.recorder = Recorder(
            Tools(
                journal=self.journal,
                slots=self.slots,
                vault=self.vault,
                spool=self.spool,
                resume=self.resume,
                clock=self.clock,
                asterisk=self.ami,
                make_manifest=manifest_maker(edge.id, key),
                worker=self.worker,
            ),
            Watch(
                on_one_sided=lambda recording_id, side: self.conductor.mending.one_sided(recording_id, side),
                on_gap=lambda recording_id: self.conductor.mending.gap(recording_id),
                on_rogue=lambda channel_uid: self.conductor.mending.rogue(channel_uid),
            ),
        )
        self.archive_worker = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self.adopter = Adopter(
            dataclasses.replace(self.recorder.tools, worker=self.archive_worker),
            edge.id,
            lambda name: self.config.policies.get(name),
            lambda: self.config.telephony.country,
        )
        self.standing = Standing(self.adopter, self.journal, config.adopt, lambda: self.gate.refusal())
        world = World(
            journal=self.journal,
            recorder=self.recorder,
            prompts=self.prompts,
            clock=self.clock,
            edge_id=edge.id,
            policy_for=self.policies.policy_for,
            not_ready=self.not_ready,
            number_key=self.number_key,
            telephony=lambda: self.config.telephony,
            silent_prior=lambda policy: self.config.jurisdictions.rule(policy.jurisdiction).silent_prior,
            lamps=Lamps(self.ami),
        )
        self.conductor = Conductor(
            world, self.ami, self._standing_of, lambda: [policy.lamp for policy in self.config.policies.values()]
        )
        self.tracker = Tracker(world, self.ami, self.conductor)
        self.sinks.heard_by(self.recorder, self.tracker, self.conductor)
        self.sinks.met = self._met
        self.agi = AgiServer(
            asterisk.agi_socket,
            token,
            self.tracker.take,
            mode=0o660,
            gid=group_id(asterisk.group),
            on_turned_away=self._turned_away,
        )
        self.checkpoints = Checkpointer(self.journal, key)
        self.sync = self._sync()
        self.uploader = self._uploader(self.sync) if self.sync else None
        self.executor = Executor(
            Means(
                journal=self.journal,
                slots=self.slots,
                vault=self.vault,
                recorder=self.recorder,
                keeper=self.sync.keeper if self.sync else None,
                clock=self.clock,
                key=key,
                trust=trust,
                edge_id=edge.id,
                terms_of=self.policies.terms_of,
                policies=lambda: self.config.policies,
                head=self._head,
                worker=self.worker,
                live=self.conductor,
                digest=self.number_key.digest,
                hasher=self.number_key.hasher,
                house=lambda: self.config.retention,
                witness_elsewhere=not is_loopback(urlsplit(config.central.url).hostname or "localhost"),
                bounds=self._bounds,
                country=lambda: self.config.telephony.country,
                elsewhere=self.sync.elsewhere if self.sync else None,
                uploads=self.uploader.wake if self.uploader else None,
                gate=self.gate,
                rewrap=self._rewrap,
                policy_desk=self.policies,
            )
        )
        settings_of(config)  # a secret that cannot be used stops the start, not a text one day
        self.notices = Notices(
            self.journal, self.clock, lambda: settings_of(self.config), self.number_key.digest, random.random
        )
        self._tasks: set[asyncio.Task[Any]] = set()

    def _sync(self) -> Sync | None:
        central = self.config.central
        if not central.url or not central.enabled:
            log.warning("no central is configured: nothing is reported and no order can come")
            return None
        witnesses = self.trust.with_role("witness")
        return Sync(
            url=central.url,
            edge_id=self.config.edge.id,
            key=self.key,
            ca_pem=central.ca_file.read_bytes() if central.ca_file else None,
            trust=self.trust,
            witness_name=witnesses[0].owner if witnesses else "none",
            journal=self.journal,
            slots=self.slots,
            clock=self.clock,
            incarnation=incarnation_of(self.journal.incarnation),
            gate=self.gate,
            search_key=self.config.edge.state / "search.key",
            delivered=lambda: self.executor.wake(),
            state=self.config.edge.state,
            vitals=self._vitals,
        )

    def _uploader(self, sync: Sync) -> Uploader:
        return Uploader(
            journal=self.journal,
            vault=self.vault,
            door=sync.media,
            rate=lambda: self.config.central.media_rate * 1024,
            jitter=random.random,
            gate=self.gate,
        )

    # ------------------------------------------------------------ decisions that need two neighbours

    @property
    def config(self) -> EdgeConfig:
        """What is in effect now; a reload replaces it."""
        return self.policies.config

    def _bounds(self) -> Bounds:
        erasure = self.config.erasure
        return Bounds(erasure.window, erasure.late, erasure.daily_share, erasure.daily_free)

    async def _look(self, config: EdgeConfig) -> Callable[[], None]:
        """Judge a configuration that is to be put into effect by what it names: files and prompts, read anew."""
        prompts = await asyncio.to_thread(Catalogue.load, config.edge.prompts, config.edge.prompt_cache)
        host.refuse("host", await asyncio.to_thread(check, config))
        settings_of(config)
        host.refuse("prompts", check_policies(config, prompts))

        def take_effect() -> None:
            self.prompts.become(prompts)
            self.conductor.judge_all()

        return take_effect

    async def _rewrap(self, recording_id: str, number: int, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A header that an order brought, by the steps of the local door; nobody's uid."""
        return await KeyDesk(self._deps()).rewrap(recording_id, number, body, -1, self.clock.wall_text())

    async def reload(self) -> None:
        """SIGHUP: as `POST /v1/reload`; what is wrong is in the log and an alarm."""
        with contextlib.suppress(CallwardenError):
            await self.policies.reload()

    async def _head(self) -> str | None:
        made = await self.checkpoints.make()
        return made.note if made else None

    def not_ready(self) -> CallwardenError | None:
        """Why nothing may be recorded now."""
        if not self.ami.up:
            return CallwardenError("ami.down", "no AMI link: a recording could not be stopped")
        if not self.journal.writable:
            return CallwardenError("journal.unwritable", "the journal cannot be written")
        return self.recorder.not_ready()

    def _standing_of(self, device: str) -> str:
        """What is on file for an agent's device: `standing`, `refused` once it was taken back, or `none`."""
        today = self.clock.wall().date()
        for agent in self.config.agents.values():
            if agent.device == device:
                if agent.revoked:
                    return "refused"
                return "none" if agent.until is not None and agent.until.as_date < today else "standing"
        return "none"

    def _alarm(self, code: str, message: str) -> None:
        self.spawn(self.journal.alarm(code, message))

    def _ami_trouble(self, code: str, message: str) -> None:
        """An alarm; and where the account never worked and no capture needs us, the end: only a person can mend that,
        and one at the keyboard sees it now. Once it has worked, the link tries again, slowly."""
        self._alarm(code, message)
        if code in ("ami.auth", "ami.secret") and not self.sinks.was_up and not self.recorder.live:
            asterisk = self.config.asterisk
            self.failed = CallwardenError(
                code,
                message,
                hint="the secret in ami_secret_file must be that of the account in manager.conf, whose permit lines must"
                " allow this address; `callwarden dialplan manager` prints that account",
                where=f"{asterisk.ami_user}@{asterisk.ami}, {asterisk.ami_secret_file}",
            )
            os.kill(os.getpid(), signal.SIGTERM)

    def _met(self) -> None:
        """What the server at hand can do goes to the recorder and the policies before a call comes."""
        able = self.ami.ability
        self.recorder.has_d = able.interleave
        options = frozenset("bSrti") | frozenset("D" * able.interleave) | frozenset("B" * able.beep)
        self.spawn(self.policies.learn(Ability(able.version, options)))

    def _turned_away(self, count: int) -> None:
        log.warning("the guard let calls go on unrecorded", count=count)
        self.spawn(self.journal.alarm("agi.turned_away", f"the guard let {count} calls go on unrecorded"))

    def readiness(self) -> Mapping[str, Any]:
        """What only the running daemon knows."""
        why = self.not_ready()
        return {
            "ready": why is None and self.agi.guards > 0,
            "reason": (why.message if why else "") or ("" if self.agi.guards else "no guard is connected"),
            "ami_up": self.ami.up,
            "guards": self.agi.guards,
            "journal_writable": self.journal.writable,
            "calls": self.tracker.open,
            "captures": self.recorder.live,
            "standing": [*(alarm.message for alarm in self.policies.standing()), *self.executor.notes()],
            "restored": (shut.message if (shut := self.gate.refusal()) else ""),
            "local_playback": [p.name for p in self.config.policies.values() if self.config.keys.local in named_by(p)],
            "oldest_unsealed_s": round(self.recorder.oldest_unsealed_s(), 3),
            **(self.sync.status() if self.sync else {"central_up": False, "errors": {}}),
            "adopt": self.standing.status(),
            "pid": os.getpid(),
        }

    def _vitals(self) -> Vitals:
        """What the heartbeat says beside what is in the journal."""
        why, edge = self.not_ready(), self.config.edge
        return Vitals(
            policy=policy_hash({name: policy.version for name, policy in self.config.policies.items()}),
            unsealed=self.recorder.oldest_unsealed_s(),
            version=SOFTWARE,
            free=host.free_bytes(edge.vault),
            spool=host.free_bytes(edge.spool),
            live=self.recorder.live,
            ready=why is None and self.agi.guards > 0,
            why=(why.message if why else "") or ("" if self.agi.guards else "no guard is connected"),
        )

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Everything up to open doors."""
        swept = await asyncio.to_thread(self.slots.sweep, await self.journal.slots_in_use())
        await self.audit.unlock(self.journal, self.slots)
        if swept:
            log.info("keys that no row names were destroyed", count=swept)
        if (mark := await self.journal.restore_mark()) is not None:
            self.gate.shut(f"what was erased since {mark.made_at} is not known here yet")
        await self._note_outage()
        await self.trust.take_up(self.journal)
        await self.policies.begin()
        await self.recorder.recover()
        await self.adopter.recover()
        await self.tracker.recover()
        self.executor.wake()
        self.spawn(self.recorder.run())
        self.spawn(self._watch_spool())
        self.spawn(self.executor.run())
        self.spawn(self.notices.run())
        self.spawn(self.standing.run())
        self.spawn(self.checkpoints.run())
        self.spawn(self.policies.watch())
        self.spawn(self._live())
        await self.agi.start()
        self.spawn(self.ami.run())
        if self.sync:
            self.spawn(self.sync.run())
        if self.uploader:
            self.spawn(self.uploader.run())
        self.door = await serve(make_app(self._deps()), self.config.edge.socket)
        # What is here now stays: the collector need not walk through it again and again while calls run.
        gc.collect()
        gc.freeze()
        log.info("callwarden is up", edge=self.config.edge.id, policies=sorted(self.config.policies), pid=os.getpid())

    def _deps(self) -> ApiDeps:
        """What the local door works with."""
        return ApiDeps(
            edge_id=self.config.edge.id,
            edge_jwk=self.key.verify_key.jwk(),
            journal=self.journal,
            reader=self.journal.views,
            slots=self.slots,
            vault=self.vault,
            readiness=self.readiness,
            live=self.conductor,
            adopt=self.adopter,
            retention=RetentionDoor(self.executor.sight, self.executor),
            reload=self.policies.reload,
            trust=self.trust,
            erasure=self.executor.by_hand,
            keys=ConfigKeys(lambda: self.config),
            attest=lambda typ, payload: sign_general(payload, [(self.key, self.key.kid)], typ),
            refusal=self.gate.refusal,
            accepted=self.executor.wake,
            inspector=Inspector(
                InspectorMeans(
                    journal=self.journal,
                    vault=self.vault,
                    slots=self.slots,
                    leftovers=(CaptureLeftovers(self.spool, self.resume), VaultTemps(self.vault.root)),
                    clock=self.clock,
                    trust=self.trust,
                    running=True,
                )
            ),
        )

    async def stop(self) -> None:
        """Doors first. Captures stay Asterisk's: the next start goes on with them."""
        await self.agi.close()
        await self.door.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.sync:
            await self.sync.close()
        await self.journal.set_meta("alive_at", self.clock.wall_text())
        await self.journal.close()
        self.worker.shutdown()
        self.archive_worker.shutdown()
        await self.slots.close()
        log.info("callwarden has stopped")

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run in the background; a task that dies of a bug takes the daemon down, which systemd starts again."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the daemon died; it ends to be started again", exc_info=error)
            os.kill(os.getpid(), signal.SIGTERM)
            self.failed = error

    failed: BaseException | None = None

    async def _watch_spool(self) -> None:
        """Tell the recorder of new and closed files at once; its own rescan is the safety net."""
        with Inotify() as inotify:
            inotify.add_watch(self.config.edge.spool, Mask.CLOSE_WRITE | Mask.CREATE)
            async for event in inotify:
                if event.name is not None:
                    self.recorder.file_closed(str(event.name))

    async def _live(self) -> None:
        while True:
            try:
                await self.journal.set_meta("alive_at", self.clock.wall_text())
            except CallwardenError as error:  # captures must be seen through, and the writer tries again by itself
                log.error("the journal cannot be written", code=error.code, why=error.message)
            await asyncio.sleep(ALIVE_EVERY_S)

    async def _note_outage(self) -> None:
        last = await self.journal.meta("alive_at")
        if last is not None:
            await self.journal.note_audit("outage", body={"from": last, "to": self.clock.wall_text()})


async def _main(config: EdgeConfig) -> None:
    key = load_key(config.edge.signing_key_file.read_bytes())
    trust = PinnedKeys.of_file(config.edge.trust_file.read_bytes())
    daemon = Daemon(config, key, trust)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: daemon.spawn(daemon.reload()))
    await daemon.start()
    host.notify_systemd("READY=1")
    await stop.wait()
    host.notify_systemd("STOPPING=1")
    await daemon.stop()
    if daemon.failed is not None:
        raise daemon.failed


__all__ = ["Daemon", "run"]
