"""Who is on a call: the members of the bridge its controlled channel is in now, filed as parties of the call.

Linked ids are no key for this: a party that comes by pickup or into a conference keeps its own, and an attended transfer
moves the caller into a bridge where the others have been for long.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from edge.calls import parties
from edge.calls.special import without_prefix
from edge.calls.world import World
from edge.consent.numbers import e164, is_never, is_trunk
from edge.consent.permit import PERMITTING
from edge.consent.standing import Present
from edge.errors import CallwardenError
from edge.model.entities import CallRow
from edge.model.live import NewParty, PartyRow
from edge.ports import Asterisk

log = structlog.get_logger("calls")

#: Channels that Asterisk makes for itself inside a conference: nobody speaks through them.
NOBODY: Final = ("CBAnn/", "CBRec/", "Announcer/", "Recorder/", "Surrogate/", "Bridge/")
_REFUSED: Final = frozenset({"refused", "objected", "withdrawn"})

#: What is on file for an agent's device now: `standing`, `refused` (revoked) or `none`.
StandingOf = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Somebody:
    """One channel on the call besides the call's own, and the party it is filed as."""

    channel_uid: str
    channel_name: str
    party: PartyRow
    never: bool

    @property
    def present(self) -> Present:
        """As the judgement sees it."""
        return Present(self.party.role, self.party.standing, self.never)


class Crowd:
    """Files who comes and who goes."""

    def __init__(
        self,
        world: World,
        asterisk: Asterisk,
        standing_of: StandingOf,
    ) -> None:
        self._world = world
        self._asterisk = asterisk
        self._standing_of = standing_of
        self._calls: dict[str, str] = {}  # by their own party's channel
        self._numbers: dict[str, str] = {}  # by channel, of those that are on a call now

    async def look(self, call: CallRow, channel_uid: str) -> Sequence[Somebody]:
        """Everybody who is with the call's channel now, each on file. Raises CallwardenError journal.*."""
        company = self._company(channel_uid)
        known = await self._world.journal.parties(call.call_id)
        filed = await self._file(call, company, known)
        if filed:
            known = await self._world.journal.parties(call.call_id)
        by_uid = {uid: party for party in known for uid in party.legs}
        found = []
        for uid, name in sorted(company.items()):
            if (party := by_uid.get(uid)) is not None:
                found.append(Somebody(uid, name, party, await self._never(uid, name)))
        return found

    async def _never(self, uid: str, name: str) -> bool:
        """Whether this is a number that is never recorded (also an inside one, whose number is not stored), or the party of
        a call that by its own policy or number never is."""
        own = self._calls.get(uid)
        call = await self._world.journal.call(own) if own is not None else None
        if call is not None and call.outcome == "not_recorded" and call.mode != "manual":
            return True
        telephony = self._world.telephony()
        if not telephony.never_numbers:
            return False
        dialled = without_prefix(await self._number(uid, name), telephony.prefixes)  # of a leg that was called
        return is_never(dialled, telephony.never_numbers, telephony.country)

    def began(self, call: CallRow) -> None:
        """Its party may come into other calls; also of a call that is never recorded."""
        self._calls[call.channel_uid] = call.call_id

    def ended(self, call_id: str) -> None:
        """This call is over."""
        self._calls = {uid: known for uid, known in self._calls.items() if known != call_id}

    def forget(self, channel_uid: str) -> None:
        """The channel is gone."""
        self._numbers.pop(channel_uid, None)

    def _company(self, channel_uid: str) -> Mapping[str, str]:
        everybody = self._asterisk.with_channel(channel_uid)
        return {uid: name for uid, name in everybody.items() if not name.startswith(NOBODY)}

    async def _file(self, call: CallRow, company: Mapping[str, str], known: Sequence[PartyRow]) -> bool:
        """Whether anything was written."""
        journal, at = self._world.journal, self._world.clock.wall_text()
        present = {uid for party in known for uid in party.present} - {call.channel_uid}
        changed = False
        for uid in present - company.keys():
            await journal.leg_left(uid, at)
            changed = True
        for uid in company.keys() - present:
            await journal.add_party(await self._new(call, uid, company[uid], at))
            changed = True
        for party in known:
            changed |= await self._renew(party, company)
        return changed

    async def _new(self, call: CallRow, uid: str, name: str, at: str) -> NewParty:
        own = self._calls.get(uid)
        outside = own is not None or is_trunk(name, self._world.telephony().trunks)
        heard, number_class, full = None, "withheld", None
        if outside:
            answered = await self._world.journal.call(own) if own is not None else None
            if answered is not None:  # a called party's channel is named with the digits that get a line out
                who = parties.of_call(answered)
            else:
                telephony = self._world.telephony()
                named = without_prefix(await self._number(uid, name), telephony.prefixes)
                number = next((n for n in named if e164(n, telephony.country)), named[0])
                who = parties.who("third", "", uid, "", number, telephony.country)
            heard, number_class, full = who.number_heard, who.number_class, who.number_e164
            if answered is None and full is None:  # an extension, or what was dialled to reach it, is nobody's number
                heard, number_class = None, "withheld" if number_class == "withheld" else "invalid"
        standing = await self._answer(own) if outside else self._standing_of(device(name))
        log.info("a party joined", call=call.call_id, role="third" if outside else "agent", standing=standing)
        return NewParty(
            secrets.token_hex(16), call.call_id, "third" if outside else "agent", uid, name, heard, number_class,
            standing, at, number_e164=full,
        )  # fmt: skip

    async def _renew(self, party: PartyRow, company: Mapping[str, str]) -> bool:
        """An agent's basis may have been revoked, and a party may have answered in its own call, since it came."""
        uid = next((uid for uid in party.legs if uid in company), None)
        if uid is None:
            return False
        if party.role == "agent":
            standing = self._standing_of(device(company[uid]))
        elif party.role == "third" and (own := self._calls.get(uid)) is not None:
            standing = await self._answer(own)
        else:
            return False
        if standing in (party.standing, "none"):
            return False
        await self._world.journal.set_standing(party.party_id, standing)
        return True

    async def _answer(self, call_id: str | None) -> str:
        """What a party answered in a call of its own."""
        row = await self._world.journal.call(call_id) if call_id is not None else None
        if row is None or row.outcome is None:
            return "none"
        if row.outcome in PERMITTING:
            return row.outcome
        return "refused" if row.outcome in _REFUSED else "none"

    async def _number(self, uid: str, name: str) -> str:
        """What the channel says of its number, "" when it cannot be asked."""
        if uid not in self._numbers:
            try:
                self._numbers[uid] = await self._asterisk.get_variable(name, "CALLERID(num)")
            except CallwardenError:
                return ""
        return self._numbers[uid]


def device(channel_name: str) -> str:
    """ "PJSIP/agent1-0000002a" to "PJSIP/agent1"."""
    return channel_name.rpartition("-")[0]
