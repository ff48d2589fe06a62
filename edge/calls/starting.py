"""From an answer to what follows from it: a recording that runs, or a call that is known not to be recorded.

Write order `start`: keys; then one commit of event, permit and recording; then Asterisk; then (the caller of this) the
tag. A kill in between leaves a permit without audio, which the next start tells from a recording that runs.
"""

from __future__ import annotations

import secrets
from typing import Any

import structlog

from edge.calls import evidence, tags
from edge.calls.parties import Who, of_call
from edge.calls.talk import event_now, language_of
from edge.calls.world import World
from edge.consent import permit as permits
from edge.consent import withdrawal
from edge.consent.permit import Permit
from edge.consent.policy import Policy
from edge.consent.script import Decide
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import CallRow, NewRecording
from edge.ports import CallerGone, Dialogue, DialogueLost

log = structlog.get_logger("calls")


async def start_recording(
    world: World,
    dialogue: Dialogue,
    call: CallRow,
    policy: Policy,
    decision: Decide,
    *,
    who: Who | None = None,
    prepared: Any = None,
) -> str | None:
    """Store a permitting decision and start the recording it permits. Returns its id, or None when the decision is on
    file but no audio comes: then `recording_failed` is filed, and `unavailable` unless the caller is gone.

    prepared: keys from `RecorderPort.prepare`, made here when None. The tag is the caller's to write. Raises
    CallwardenError vault.* recipient.* journal.* when nothing was stored. After a failed commit nobody can say whether
    a row names the keys: they are left to the sweep of the next start.
    """
    who = who or of_call(call)
    if prepared is None:
        prepared = await world.recorder.prepare(policy)
    permit = permits.grant(
        secrets.token_hex(16), call.call_id, decision.outcome, decision.purposes, policy.name, policy.version
    )
    body = evidence.decided(policy, world.edge_id, decision, who)
    event = event_now(world, decision.outcome, body, who.party_id)
    new = world.recorder.rows(prepared, permit, policy, dialogue.channel_uid, dialogue.channel_name)
    await world.journal.grant(call.call_id, event, permit.permit_id, permit.purposes, new)
    hit("start.granted")
    return await _begin(world, dialogue, call, policy, permit, prepared, new, who, outcome=True)


async def start_again(world: World, dialogue: Dialogue, call: CallRow, policy: Policy, permit: Permit) -> str | None:
    """A further recording under a permit on file (a repair, a start after a stop). Returns its id, or None when it did
    not start: then `recording_failed` is filed and the call's outcome stays. Raises as `start_recording`."""
    prepared = await world.recorder.prepare(policy)
    new = world.recorder.rows(prepared, permit, policy, dialogue.channel_uid, dialogue.channel_name)
    await world.journal.add_recording(new)
    hit("start.granted")
    return await _begin(world, dialogue, call, policy, permit, prepared, new, of_call(call), outcome=False)


async def permit_of(world: World, call_id: str) -> Permit | None:
    """The call's permit as it is on file, None when there is none or it was revoked."""
    row = await world.journal.permit(call_id)
    if row is None:
        return None
    return permits.grant(row.permit_id, row.call_id, row.kind, row.purposes, row.policy_id, row.policy_version)


async def file_answer(
    world: World,
    call: CallRow,
    policy: Policy,
    decision: Decide,
    *,
    who: Who | None = None,
    outcome: bool = True,
    forget: str | None = None,
) -> int:
    """Store a decision that starts no recording; returns the event's seq. outcome: it is the call's own last word, and
    the call is `declined` (or stays permitted); False for a further party's answer. forget: HMAC of the number whose
    remembered answers go in the same commit. Raises CallwardenError journal.*."""
    who = who or of_call(call)
    body = evidence.decided(policy, world.edge_id, decision, who)
    event = event_now(world, decision.outcome, body, who.party_id)
    if not outcome:
        return await world.journal.add_event(call.call_id, event, forget=forget)
    state = "ended" if decision.outcome == "abandoned" else "declined"
    return await world.journal.add_event(call.call_id, event, state=state, outcome=decision.outcome, forget=forget)


async def _begin(
    world: World,
    dialogue: Dialogue,
    call: CallRow,
    policy: Policy,
    permit: Permit,
    prepared: Any,
    new: NewRecording,
    who: Who,
    *,
    outcome: bool,
) -> str | None:
    try:
        if outcome:  # who is recorded can withdraw from the first second on
            await tags.offer_features(dialogue)
            await _leave_star(world, dialogue, policy)
        order = world.recorder.begin(permit, prepared, new, policy)
        monitor_id = await dialogue.start_monitor(order.path, order.options)
    except (CallerGone, DialogueLost, CallwardenError) as error:
        await _not_started(world, call, policy, new.recording_id, error, who, outcome=outcome)
        return None
    hit("start.monitor_started")
    await world.recorder.confirm(new.recording_id, monitor_id)
    await world.lamps.lit(policy.lamp, call.call_id)
    log.info("recording", call=call.call_id, recording=new.recording_id, policy=policy.name, kind=permit.kind)
    return new.recording_id


async def _leave_star(world: World, dialogue: Dialogue, policy: Policy) -> None:
    """What the dialplan does on the star code with the daemon away; a sound that is not there is left out."""
    effect = withdrawal.unattended(
        basis=policy.basis, contract_withdraw=policy.contract_withdraw, on_withdraw=policy.on_withdraw
    )
    try:
        sound = world.prompts.resolve(effect.prompt, await language_of(world, dialogue, policy)).path
    except CallwardenError as error:
        log.warning("a withdrawal without the daemon would be silent", code=error.code, why=error.message)
        sound = ""
    await tags.leave_star(dialogue, "stop" if effect.stop else "note", sound)


async def _not_started(
    world: World, call: CallRow, policy: Policy, recording_id: str, error: Exception, who: Who, *, outcome: bool
) -> None:
    """The permit is stored but no audio will come: say so, in the record and to the operator."""
    reason = error.code if isinstance(error, CallwardenError) else type(error).__name__
    if not isinstance(error, CallerGone):
        await world.journal.alarm("agi.monitor", "a permitted recording did not start", where=recording_id)
    await world.recorder.fail(recording_id)
    body = evidence.base(policy, world.edge_id, who) | {"reason": reason}
    await world.journal.add_event(call.call_id, event_now(world, "recording_failed", body, who.party_id))
    if outcome and not isinstance(error, CallerGone):  # the channel's tag says so: the record and the tag must agree
        event = event_now(world, "unavailable", body, who.party_id)
        await world.journal.add_event(call.call_id, event, outcome="unavailable")
    log.warning("permitted, but nothing is recorded", call=call.call_id, why=reason)
