"""Whether a call may be put under another policy. A correction is one person's word; what was promised to be kept is no mistake
of the row, so nothing goes earlier by it, and no order to erase a policy gets calls that nobody reviewed for it."""

from __future__ import annotations

from edge.consent.retention import Retention
from edge.errors import CallwardenError
from edge.model.entities import CallRow
from edge.retention.approval import Terms, approved_then, shorter
from edge.retention.sight import Sight
from edge.retention.terms import TermsBook
from formats.errors import FormatError
from formats.orders import read_order


async def version_for(sight: Sight, terms: TermsBook, call_id: str, policy_id: str) -> str:
    """The version of `policy_id` that the call gets. Raises journal.unknown, not_found.policy, calls.unreadable,
    calls.shorter, calls.ordered."""
    call = await sight.journal.call(call_id)
    if call is None:
        raise CallwardenError("journal.unknown", "no call of this id", where=call_id)
    version = await sight.journal.newest_version(policy_id)
    if version is None:
        raise CallwardenError("not_found.policy", "no call was ever under such a policy", where=policy_id)
    then = await terms.recorded(call.policy_id, call.policy_version)
    new = await terms.recorded(policy_id, version)
    if then is None or new is None:
        raise CallwardenError(
            "calls.unreadable", "a policy's document cannot be read: nothing is compared", where=call_id
        )
    today = (await terms.standing(policy_id)).today
    promised = await _promised(sight, terms, call, then)
    if lost := _lost(promised, sight.terms_of(call.policy_id), [new] if today is None else [new, today], sight):
        raise CallwardenError(
            "calls.shorter",
            f"the call would be kept shorter than its own policy promised: {'; '.join(lost)}",
            hint="correct it to a policy that keeps no less; what is to go earlier is erased by an order",
            where=call_id,
        )
    await _no_order(sight, policy_id)
    return version


async def _promised(sight: Sight, terms: TermsBook, call: CallRow, then: Retention) -> list[Retention]:
    """The terms it began under, and those that count in their place."""
    approvals = (await terms.standing(call.policy_id)).approvals
    row = await sight.journal.kept_recording(call.recordings[0]) if call.recordings else None
    before = len(approvals) if row is None else sum(one.last_call < row.call_seq for one in approvals)
    instead = approved_then(approvals, before, then, call.policy_id)
    return [then] if instead is None or instead.policy is None else [then, instead.policy]


def _lost(then: list[Retention], today: Retention | None, new: list[Retention], sight: Sight) -> tuple[str, ...]:
    """What would be shorter by any of the new terms than then, and today's duties that none of them has."""

    def less(old: Retention, other: Retention) -> tuple[str, ...]:
        house = sight.house()
        return shorter(Terms(old, house), Terms(other, house), "policy")

    found = dict.fromkeys(what for old in then for one in new for what in less(old, one))
    if today is not None:
        duties = [{what for what in less(today, one) if what.split(":")[0].endswith("minimum")} for one in new]
        missed = set.intersection(*({what.split(":")[0] for what in one} for one in duties))
        found |= dict.fromkeys(what for what in sorted(duties[0]) if what.split(":")[0] in missed)
    return tuple(found)


async def _no_order(sight: Sight, policy_id: str) -> None:
    for row in await sight.journal.orders(("received", "deferred", "executing")):
        try:
            claims = read_order(row.jws)
        except FormatError:
            continue  # it will be refused
        if claims.cmd == "erase" and (claims.target.kind, claims.target.id) == ("policy", policy_id):
            raise CallwardenError(
                "calls.ordered",
                "an order destroys the calls of that policy: nobody reviewed this one for it",
                hint=f"callwarden order show {row.jti}; wait for its end, or cancel it",
                where=policy_id,
            )
