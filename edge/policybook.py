"""The policies of now: which one a call is under, how they are read anew, and what about them is a standing alarm.

A reload is all or nothing. Order: read and judge everything (nothing has changed yet) → audit `policy.loaded` for each
policy that differs → the versions on file → the new ones are in effect for calls that come from now on → what central was
told last, with the events that tell it. A kill before the last step leaves files that the next start reads; it compares with
the versions on file and with the reports, and audits and reports what is left. Calls keep the value they began under.

A policy that an order brought (`ordered_policy` in the journal) is read in the place of the files' table of that name, by the
same loader. It is put into effect by the same steps, its row committed between the judging and the first entry.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from edge.config import EdgeConfig
from edge.config.reload import Reloaded, differences, reload
from edge.consent import epochs
from edge.consent.ability import Ability, cannot_honour
from edge.consent.jurisdiction import Alarm, lapsed, standing_alarms
from edge.consent.policy import Policy, select
from edge.consent.retention import Retention
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.ordered import OrderedPolicy
from edge.ports import AuditBook, Clock

log = structlog.get_logger("edge")

#: How often the calendar is looked at, seconds: an override ends with a day, and a standing alarm is said once a day.
LOOK_EVERY_S: Final = 600.0
#: Where the journal keeps the versions that were last in effect.
META: Final = "policies"


class Notes(AuditBook, Protocol):
    """What is needed of the journal."""

    async def meta(self, key: str) -> str | None: ...
    async def set_meta(self, key: str, value: str) -> None: ...
    async def ordered_policies(self) -> Sequence[OrderedPolicy]: ...
    async def report_policies(self, reports: Mapping[str, Mapping[str, Any]]) -> int: ...


class Asked(Protocol):
    """What of a dialogue names its policy."""

    policy_name: str
    dialled: str
    context: str
    queue: str


class PolicyBook:
    """The configuration in effect. `look`: judges a configuration by what it names (prompts, files), raising
    CallwardenError, before anything changes; what it returns is called once the configuration is in effect. `unusable`: orders
    whose policy did not fit any more at the start. `reports`: what central is told of each policy in effect, by name."""

    def __init__(
        self,
        config: EdgeConfig,
        journal: Notes,
        clock: Clock,
        look: Callable[[EdgeConfig], Awaitable[Callable[[], None]]],
        reports: Callable[[EdgeConfig], Mapping[str, Mapping[str, Any]]] = lambda config: {},
    ) -> None:
        self.config = config
        self._journal = journal
        self._clock = clock
        self._look = look
        self._reports = reports
        self._one = asyncio.Lock()
        self._ability: Ability | None = None
        self._unable: frozenset[str] = frozenset()
        self._said: set[tuple[str, Alarm]] = set()
        self.unusable: set[str] = set()

    # ------------------------------------------------------------ what others ask

    def policy_for(self, dialogue: Asked) -> Policy | None:
        """The policy of a call that comes now, None when there is none. Raises CallwardenError policy.override_expired,
        recipient.epoch_missing or policy.cannot_honour for one that may not be used any more: then nothing is recorded."""
        config = self.config
        policy = select(
            config.policies,
            name=dialogue.policy_name,
            did=dialogue.dialled,
            queue=dialogue.queue,
            context=dialogue.context,
            country=config.telephony.country,
        )
        if policy is None:
            return None
        if lapsed(policy, config.jurisdictions, self._clock.wall().date()):
            message = f'the override that policy "{policy.name}" stands on has run out'
            raise CallwardenError("policy.override_expired", message, where=config.where("policy", policy.name))
        if epochs.lacks_key(policy, self._clock.wall().date()):
            message = f'policy "{policy.name}" has no key for this month'
            raise CallwardenError("recipient.epoch_missing", message, where=config.where("policy", policy.name))
        if policy.name in self._unable:
            message = f'this Asterisk cannot honour policy "{policy.name}"'
            raise CallwardenError("policy.cannot_honour", message, where=config.where("policy", policy.name))
        return policy

    def terms_of(self, policy_id: str) -> Retention | None:
        """How long a policy keeps things today; None for one that is gone."""
        policy = self.config.policies.get(policy_id)
        return policy.retention if policy else None

    def policy(self, name: str) -> Policy | None:
        """The policy of that name in effect now."""
        return self.config.policies.get(name)

    def version(self, name: str) -> str | None:
        """Its version; None where there is none."""
        policy = self.policy(name)
        return policy.version if policy is not None else None

    def standing(self) -> list[Alarm]:
        """Overrides in force or run out, and months without a key, for `status`."""
        config, today = self.config, self._clock.wall().date()
        return standing_alarms(config.policies, config.jurisdictions, today) + epochs.alarms(config.policies, today)

    # ------------------------------------------------------------ life

    async def begin(self) -> None:
        """At the start of the daemon: take up what orders brought, audit what changed since the last one, say what stands."""
        await self._take_up()
        before = json.loads(await self._journal.meta(META) or "{}")
        after = {name: policy.version for name, policy in self.config.policies.items()}
        await self._file(differences(before, after), after)
        await self._journal.report_policies(self._reports(self.config))
        await self.say_what_stands()

    async def watch(self) -> None:
        """Once a day, and when an override runs out: the standing alarms again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.say_what_stands()

    async def say_what_stands(self) -> None:
        """Alarm what stands, each once a day."""
        day = self._clock.wall().date().isoformat()
        standing = {(day, alarm) for alarm in self.standing()}
        for _, alarm in sorted(standing - self._said, key=lambda s: s[1].policy):
            log.warning(alarm.message, code=alarm.code)
            await self._journal.alarm(alarm.code, alarm.message)
        self._said = standing

    async def learn(self, ability: Ability) -> None:
        """The AMI link knows the server now: policies that it cannot honour record nothing until it can."""
        async with self._one:
            self._ability = ability
            problems = {p.name: cannot_honour(p, ability) for p in self.config.policies.values()}
            known, self._unable = self._unable, frozenset(name for name, found in problems.items() if found)
            for name in sorted(self._unable):
                for problem in problems[name]:
                    message = f'policy "{name}": {problem.message}'
                    log.error(message, hint=problem.hint)
                    if name not in known:
                        await self._journal.alarm(problem.code, message)

    # ------------------------------------------------------------ policies by order

    async def _take_up(self) -> None:
        """The files with what is in force by order. An ordered table that does not fit any more (its month has no key, a
        recipient is retired) leaves its policy without a table: nothing is recorded under it, an alarm says so, and another
        order or the files can mend it. Raises CallwardenError where the files themselves are wrong."""
        ordered = await self._ordered()
        while ordered:
            try:
                found = await asyncio.to_thread(reload, self.config, self._clock.wall().date(), ordered)
                take_effect = await self._look(found.config)
            except CallwardenError as error:
                label = error.where.rpartition(":")[0]
                names = [name for name, (one, text) in ordered.items() if one == label and text is not None]
                if not names:
                    raise
                ordered[names[0]] = (label, None)
                self.unusable.add(label.partition(" ")[2])
                why = f'policy "{names[0]}" by {label} cannot be used, so nothing is recorded under it: {error.message}'
                await self._journal.alarm("policy.order_unusable", f"{why}; fix: {error.hint}", where=error.where)
                continue
            self.config = found.config
            take_effect()
            return

    async def _ordered(self, change: OrderedPolicy | None = None) -> dict[str, tuple[str, str | None]]:
        """Name to (where from, text) of what is in force by order, with `change` among it."""
        rows = {one.name: one for one in await self._journal.ordered_policies() if one.acting}
        if change is not None:
            rows[change.name] = change
        found = {name: (_label(one.jti), one.toml) for name, one in rows.items() if one.toml}
        gone = {_label(jti) for jti in self.unusable}
        return {name: (label, None if label in gone else text) for name, (label, text) in found.items()}

    async def judge(self, change: OrderedPolicy) -> Policy | None:
        """The policy as it would be with `change` in force, None where there is none. Raises CallwardenError with file (or
        order), line and fix; nothing changes."""
        async with self._one:
            found, _ = await self._judged(await self._ordered(change))
            return found.config.policies.get(change.name)

    async def adopt(self, change: OrderedPolicy, commit: Callable[[], Awaitable[None]]) -> str | None:
        """Put `change` into effect once `commit` has filed it; the policy's version from now on, None where there is none.
        Raises CallwardenError before `commit`, and then nothing has changed."""
        async with self._one:
            found, take_effect = await self._judged(await self._ordered(change))
            await commit()
            hit("policy.order_filed")
            await self._effect(found, take_effect)
        await self.say_what_stands()
        return self.version(change.name)

    async def _judged(self, ordered: Mapping[str, tuple[str, str | None]]) -> tuple[Reloaded, Callable[[], None]]:
        found = await asyncio.to_thread(reload, self.config, self._clock.wall().date(), ordered)
        self._refuse_unable(found.config)
        return found, await self._look(found.config)

    async def _effect(self, found: Reloaded, take_effect: Callable[[], None]) -> None:
        await self._file(found.changed, {name: policy.version for name, policy in found.config.policies.items()})
        self.config = found.config
        take_effect()
        self._unable = frozenset()  # judged before
        await self._journal.report_policies(self._reports(self.config))

    # ------------------------------------------------------------ reload

    async def reload(self) -> Mapping[str, Any]:
        """Read the configuration anew. Answers `says`, `policies` (name to version), `changed` (names), `sections`,
        `restart`. Raises CallwardenError with file, line and fix; then the old one stays, and an alarm says so."""
        async with self._one:
            try:
                found, take_effect = await self._judged(await self._ordered())
            except CallwardenError as error:
                log.error("the reload was refused; the old policies stay", why=error.message, where=error.where)
                message = f"{error.message} [{error.code}]; fix: {error.hint or 'see the message'}"
                await self._journal.alarm("config.reload_refused", message, where=error.where)
                raise
            await self._effect(found, take_effect)
        versions = {name: policy.version for name, policy in found.config.policies.items()}
        await self.say_what_stands()
        log.info("the policies were read anew", changed=sorted(found.changed), restart=list(found.restart))
        return _answer(found, versions)

    def _refuse_unable(self, config: EdgeConfig) -> None:
        if self._ability is None:
            return
        for policy in config.policies.values():
            for problem in cannot_honour(policy, self._ability):
                where = config.where("policy", policy.name, *problem.key.split("."))
                raise CallwardenError(problem.code, problem.message, hint=problem.hint, where=where)

    async def _file(self, changed: Mapping[str, tuple[str | None, str | None]], versions: Mapping[str, str]) -> None:
        for name, (old, new) in changed.items():
            await self._journal.note_audit("policy.loaded", body={"policy": name, "old": old, "new": new})
            hit("policy.audited")
        if changed:
            await self._journal.set_meta(META, json.dumps(dict(versions), sort_keys=True))
            hit("policy.filed")


def _label(jti: str) -> str:
    """Where a text stands that order `jti` brought."""
    return f"order {jti}"


def _answer(found: Reloaded, versions: Mapping[str, str]) -> Mapping[str, Any]:
    words = {(False, True): "new", (True, False): "gone", (True, True): "changed"}
    told = [f"{name} ({words[old is not None, new is not None]})" for name, (old, new) in found.changed.items()]
    told += [f"[{section}]" for section in found.sections]
    says = f"read anew: {', '.join(told)}" if told else "read anew: nothing has changed"
    if found.restart:
        says += f"; only a restart puts into effect: {', '.join(found.restart)}"
    return {
        "says": says,
        "policies": dict(versions),
        "changed": list(found.changed),
        "sections": list(found.sections),
        "restart": list(found.restart),
    }
