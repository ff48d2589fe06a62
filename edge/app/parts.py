"""What the daemon is built of, and the decisions that need two of its parts."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import structlog

from edge import host
from edge.adopt.standing import Standing
from edge.agi.server import AgiServer
from edge.ami.link import AmiLink, AmiSettings
from edge.api.keydesk import KeyDesk
from edge.app.localdoor import deps_of
from edge.app.report import not_ready, vitals
from edge.app.tasks import Tasks
from edge.audit.checkpoints import Checkpointer
from edge.audit.log import AuditLog
from edge.calls.conductor import Conductor
from edge.calls.flow import World
from edge.calls.lamps import Lamps
from edge.calls.tracker import Tracker
from edge.clock import SystemClock
from edge.config import EdgeConfig, check
from edge.config.check import group_id
from edge.config.schema import is_loopback
from edge.consent.ability import Ability
from edge.errors import CallwardenError
from edge.gate import Gate
from edge.media.uploader import Uploader
from edge.notices.sender import Notices
from edge.notices.settings import settings_of
from edge.number_key import NumberKey
from edge.pinned import PinnedKeys
from edge.policybook import PolicyBook
from edge.prompts.catalogue import Catalogue
from edge.prompts.check import check_policies
from edge.prompts.report import reports
from edge.recorder.adopting import Adopter
from edge.recorder.manifests import manifest_maker
from edge.recorder.recorder import Recorder
from edge.recorder.resume import ResumeFolder
from edge.recorder.spool import Spool
from edge.recorder.tools import Tools, Watch
from edge.retention.executor import Executor, Means
from edge.retention.means import Bounds
from edge.sinks import Sinks
from edge.store.journal import Journal
from edge.sync.service import Sync, incarnation_of
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from formats.keys import SigningKey

log = structlog.get_logger("edge")


class Parts:
    """Every stage and adapter, by name, joined and at rest. tasks: where what they begin by themselves runs."""

    def __init__(self, config: EdgeConfig, key: SigningKey, trust: PinnedKeys, tasks: Tasks) -> None:
        self.tasks = tasks
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
            not_ready=lambda: not_ready(self),
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
            vitals=lambda: vitals(self),
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
        return await KeyDesk(deps_of(self)).rewrap(recording_id, number, body, -1, self.clock.wall_text())

    async def _head(self) -> str | None:
        made = await self.checkpoints.make()
        return made.note if made else None

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
        self.tasks.spawn(self.journal.alarm(code, message))

    def _ami_trouble(self, code: str, message: str) -> None:
        """An alarm; and where the account never worked and no capture needs us, the end: only a person can mend that,
        and one at the keyboard sees it now. Once it has worked, the link tries again, slowly."""
        self._alarm(code, message)
        if code in ("ami.auth", "ami.secret") and not self.sinks.was_up and not self.recorder.live:
            asterisk = self.config.asterisk
            self.tasks.fail(
                CallwardenError(
                    code,
                    message,
                    hint="the secret in ami_secret_file must be that of the account in manager.conf, whose permit lines must"
                    " allow this address; `callwarden dialplan manager` prints that account",
                    where=f"{asterisk.ami_user}@{asterisk.ami}, {asterisk.ami_secret_file}",
                )
            )

    def _met(self) -> None:
        """What the server at hand can do goes to the recorder and the policies before a call comes."""
        able = self.ami.ability
        self.recorder.has_d = able.interleave
        options = frozenset("bSrti") | frozenset("D" * able.interleave) | frozenset("B" * able.beep)
        self.tasks.spawn(self.policies.learn(Ability(able.version, options)))

    def _turned_away(self, count: int) -> None:
        log.warning("the guard let calls go on unrecorded", count=count)
        self.tasks.spawn(self.journal.alarm("agi.turned_away", f"the guard let {count} calls go on unrecorded"))
