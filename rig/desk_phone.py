"""A desk phone on a fixed port: it is rung, answers, dials out under its own name, holds and transfers.

Agents and the far end of the trunk in the scenarios; `rig/phone.py` is the caller.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from rig.phone import Phone
from rig.sip_text import SipMessage, audio_port, offer, parse, render
from rig.tones import Pcm


class Leg(Phone):
    """One call of a desk phone. Ends, speaks, holds and transfers like any phone's."""

    _own_sip = False

    @classmethod
    async def ringing(cls, desk: DeskPhone, invite: SipMessage) -> Leg:
        """A call that comes in: rings until `answer` or `reject`."""
        leg = cls(desk.pbx_port, desk.user, desk.user, desk.voice)
        leg._sip = desk.sip
        leg._invite = invite
        leg._call_id = invite.headers["call-id"]
        leg._from = f"{invite.headers['to']};tag={secrets.token_hex(6)}"
        leg._to = invite.headers["from"]
        leg._target = invite.headers["contact"].partition("<")[2].partition(">")[0]
        leg._cseq = secrets.randbelow(1000) + 1
        await leg._open_media()
        leg._respond(180, "Ringing")
        return leg

    @property
    def from_number(self) -> str:
        """The user part of the far side's address: the caller's number as this phone sees it."""
        return self._to.partition("sip:")[2].partition("@")[0]

    @property
    def invite(self) -> SipMessage:
        """The request that rang this phone, with every header."""
        return self._invite

    async def answer(self) -> None:
        """Pick up."""
        self._respond(200, "OK", offer(self._port(self._rtp)))
        self._media_port = audio_port(self._invite.body)
        self.answered_at = time.time()
        self._task = asyncio.create_task(self._speak())

    def reject(self, status: int = 486, reason: str = "Busy Here") -> None:
        """Refuse the call."""
        self._respond(status, reason)
        self._finish("pbx")

    @classmethod
    async def dialling(cls, desk: DeskPhone, ext: str, within: float) -> Leg:
        """A call this phone makes; returns when it is answered or refused."""
        leg = cls(desk.pbx_port, desk.user, desk.user, desk.voice)
        leg._sip = desk.sip
        leg._to = f"<sip:{ext}@127.0.0.1:{desk.pbx_port}>"
        leg._target = f"sip:{ext}@127.0.0.1:{desk.pbx_port}"
        desk.legs[leg._call_id] = leg
        await leg._open_media()
        answer = await leg.request("INVITE", offer(leg._port(leg._rtp)), within=within)
        leg._send("ACK", leg._cseq)
        if answer.status >= 300:
            leg.refused = answer.status
            leg._finish("")
            return leg
        leg.answered_at = time.time()
        leg._media_port = audio_port(answer.body)
        leg._task = asyncio.create_task(leg._speak())
        return leg

    def received(self, message: SipMessage) -> None:
        """A message of this dialog."""
        if message.method == "CANCEL":
            self._answer(message)
            self._respond(487, "Request Terminated")
            self._finish("pbx")
        elif message.method == "INVITE" and message.headers["cseq"] == self._invite_cseq and self._last:
            self._sip.sendto(self._last, ("127.0.0.1", self.pbx_port))  # said again because our answer was lost
        elif message.method:
            self._answer(message)
        else:
            self._response(message)

    async def _open_media(self) -> None:
        loop = asyncio.get_running_loop()
        self._rtp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._on_rtp), ("127.0.0.1", 0))

    def _respond(self, status: int, reason: str, sdp: str = "") -> None:
        headers = [("Via", via) for via in self._invite.vias]
        headers += [(name.title(), self._invite.headers[name]) for name in ("from", "call-id", "cseq")]
        headers.append(("To", self._from))
        headers.append(("Contact", f"<sip:{self.number}@127.0.0.1:{self._port(self._sip)}>"))
        if sdp:
            headers.append(("Content-Type", "application/sdp"))
        self._last = render(f"SIP/2.0 {status} {reason}", headers, sdp)
        self._sip.sendto(self._last, ("127.0.0.1", self.pbx_port))

    @property
    def _invite_cseq(self) -> str:
        return self._invite.headers["cseq"] if self._invite is not None else ""

    _invite: SipMessage = None  # type: ignore[assignment]
    _last: bytes = b""


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, got: Callable[[bytes], None]) -> None:
        self.got = got

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.got(data)


class DeskPhone:
    """The device. `async with DeskPhone(pbx_port, "agent1", port, voice) as desk`, then `ring`, `pick_up` or `dial`."""

    def __init__(self, pbx_port: int, user: str, port: int, voice: Pcm | None = None) -> None:
        self.pbx_port, self.user, self.port, self.voice = pbx_port, user, port, voice
        self.legs: dict[str, Leg] = {}
        self._rung: asyncio.Queue[Leg] = asyncio.Queue()
        self._making: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> DeskPhone:
        loop = asyncio.get_running_loop()
        self.sip, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._got), ("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        for leg in self.legs.values():
            try:
                await leg.hang_up()
            except TimeoutError:
                leg._finish("caller")
        self.sip.close()

    async def ring(self, within: float = 30.0) -> Leg:
        """The next call that comes in; it rings. Raises TimeoutError."""
        return await asyncio.wait_for(self._rung.get(), within)

    async def pick_up(self, within: float = 30.0) -> Leg:
        """The next call that comes in, answered. Raises TimeoutError."""
        leg = await self.ring(within)
        await leg.answer()
        return leg

    async def dial(self, ext: str, within: float = 30.0) -> Leg:
        """Call `ext`; returns when it is answered or refused. Raises TimeoutError."""
        return await Leg.dialling(self, ext, within)

    def _got(self, data: bytes) -> None:
        message = parse(data)
        leg = self.legs.get(message.headers.get("call-id", ""))
        if leg is not None:
            leg.received(message)
        elif message.method == "INVITE":
            task = asyncio.create_task(self._ringing(message))
            self._making.add(task)
            task.add_done_callback(self._making.discard)
        elif message.method == "OPTIONS":
            self._well(message)

    async def _ringing(self, invite: SipMessage) -> None:
        if invite.headers["call-id"] in self.legs:
            return
        leg = await Leg.ringing(self, invite)
        self.legs[leg._call_id] = leg
        self._rung.put_nowait(leg)

    def _well(self, request: SipMessage) -> None:
        headers = [("Via", via) for via in request.vias]
        headers += [(name.title(), request.headers[name]) for name in ("from", "to", "call-id", "cseq")]
        self.sip.sendto(render("SIP/2.0 200 OK", headers), ("127.0.0.1", self.pbx_port))
