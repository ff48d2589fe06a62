"""Feature codes: somebody in the bridge pressed one, and the dialplan opened a session on that channel."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import structlog

from edge.calls import parties, tags
from edge.calls.crowd import device
from edge.calls.followed import Exchange, Followed
from edge.calls.parties import Who
from edge.calls.talk import language_of, say
from edge.calls.world import World
from edge.errors import CallwardenError
from edge.model.live import OUTSIDE, Actor
from edge.ports import Dialogue

log = structlog.get_logger("calls")


class Doer(Protocol):
    """What a code can ask for (the conductor)."""

    async def pressed_withdraw(self, call_id: str, actor: Actor, who: Who) -> str:
        """Take back; returns the prompt that says so."""
        ...

    async def pause(self, call_id: str, actor: Actor) -> Mapping[str, Any]: ...
    async def resume(self, call_id: str, actor: Actor) -> Mapping[str, Any]: ...
    async def start(self, call_id: str, actor: Actor) -> Mapping[str, Any]: ...


class Codes:
    """`calls`: those that go on, by id; `by_uid`: whose own channel it is; `spawn`: run in the background."""

    def __init__(
        self,
        world: World,
        asterisk: Exchange,
        doer: Doer,
        calls: Mapping[str, Followed],
        by_uid: Mapping[str, str],
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
    ) -> None:
        self._world = world
        self._asterisk = asterisk
        self._doer = doer
        self._calls = calls
        self._by_uid = by_uid
        self._spawn = spawn

    async def pressed(self, dialogue: Dialogue) -> None:
        """Do what the code means and say so to who pressed it. Raises CallerGone, DialogueLost."""
        found = await self._who(dialogue.channel_uid)
        if found is None:
            log.info("a feature code outside any call of ours", channel=dialogue.channel_uid, word=dialogue.feature)
            return
        followed, who = found
        actor = Actor(who.role, "" if who.role in OUTSIDE else device(dialogue.channel_name))
        try:
            prompt = await self._do(dialogue.feature, followed.call_id, who, actor)
            if dialogue.feature == "withdraw":  # until here the dialplan takes it for lost
                await dialogue.set_variable(tags.FEATURE_DONE, "yes")
            if prompt:
                await say(self._world, dialogue, prompt, await language_of(self._world, dialogue, followed.policy))
        except CallwardenError as error:
            log.warning("a feature code came to nothing", word=dialogue.feature, code=error.code, why=error.message)
            if not error.code.startswith("calls."):
                await self._world.journal.alarm(error.code, error.message, where=error.where)

    async def _do(self, word: str, call_id: str, who: Who, actor: Actor) -> str:
        """The prompt that says what was done. What takes longer than the guard's patience goes on in the background."""
        if word == "withdraw":
            return await self._doer.pressed_withdraw(call_id, actor, who)
        if actor.kind in OUTSIDE:
            log.info("a code that is the agent's was pressed by somebody else", call=call_id, word=word)
            return ""
        if word == "start":
            self._spawn(self._doer.start(call_id, actor))
            return ""
        recorded = bool(self._world.recorder.live_of(call_id))
        work = self._doer.pause if word == "pause" else self._doer.resume
        self._spawn(work(call_id, actor))
        return {"pause": "paused", "resume": "resumed"}[word] if recorded else ""

    async def _who(self, uid: str) -> tuple[Followed, Who] | None:
        """The call a channel is on and who it is there: the call's own party, or one of the others."""
        if (call_id := self._by_uid.get(uid)) is not None:
            call = await self._world.journal.call(call_id)
            return None if call is None else (self._calls[call_id], parties.of_call(call))
        for other in self._asterisk.with_channel(uid):
            if (call_id := self._by_uid.get(other)) is None or call_id not in self._calls:
                continue
            for party in await self._world.journal.parties(call_id):
                if uid in party.legs:
                    return self._calls[call_id], Who(
                        party.role, party.party_id, uid, "", party.number_heard, party.number_class, None
                    )  # fmt: skip
            return self._calls[call_id], Who("agent", "", uid, "", None, "withheld", None)
        return None
