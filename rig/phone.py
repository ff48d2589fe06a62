"""A small SIP phone that hears: it can wait for a prompt, presses RFC 4733 keys without root, and keeps what it heard.

SIPp (rig/callers.py) is for numbers of calls; this is for the calls where what the caller hears matters.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import urllib.parse
from collections import deque
from collections.abc import Callable

import numpy as np

from rig.asterisk import Asterisk
from rig.sip_text import (
    EVENT_PAYLOAD,
    FRAME,
    KEYS,
    Rtp,
    SipMessage,
    audio_port,
    key_payload,
    offer,
    parse,
    read_rtp,
    render,
    rtp,
)
from rig.tones import Pcm, decode, encode

LOUD = 300  # RMS of 20 ms above which it is sound: far over G.711's own noise, far under a prompt


def _loud(pcm: Pcm) -> bool:
    return float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2))) > LOUD


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, got: Callable[[bytes], None]) -> None:
        self.got = got

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.got(data)


class Phone:
    """One call from one caller. Use `await Phone.dial(...)`, then press, listen and hang up."""

    def __init__(self, pbx_port: int, number: str, name: str, voice: Pcm | None) -> None:
        self.pbx_port = pbx_port
        self.number = number
        self.answered_at: float | None = None  # Unix seconds
        self.ended_at: float | None = None
        self.ended_by = ""  # "caller" or "pbx"
        self.refused: int | None = None
        self.heard: list[tuple[float, Pcm]] = []  # (Unix seconds of arrival, 20 ms of samples)
        self.keys_heard: list[str] = []
        self.muted = False
        self._call_id = secrets.token_hex(12)
        self._from = f'"{name}" <sip:{urllib.parse.quote(number, safe="+")}@127.0.0.1>;tag={secrets.token_hex(6)}'
        self._to = ""
        self._target = ""
        self._cseq = 0
        self._waiting: dict[int, asyncio.Future[SipMessage]] = {}
        self._ended = asyncio.Event()
        self._voice = encode(voice) if voice is not None else b"\xff" * FRAME
        self._keys: deque[tuple[str, int, asyncio.Event]] = deque()
        self._media_port: int | None = None
        self._version = 1
        self.progress: list[str] = []  # what NOTIFY said of a transfer we asked for ("SIP/2.0 200 OK")
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def dial(
        cls,
        pbx: Asterisk,
        ext: str,
        *,
        number: str,
        name: str = "Rig Phone",
        voice: Pcm | None = None,
        within: float = 30,
    ) -> Phone:
        """Call `ext`; returns when it is answered or refused (`refused`: SIP status).

        voice: what it says over and over, silence if None. Raises TimeoutError when nobody answers.
        """
        phone = cls(pbx.sip_port, number, name, voice)
        loop = asyncio.get_running_loop()
        local = ("127.0.0.1", 0)
        phone._sip, _ = await loop.create_datagram_endpoint(lambda: _Socket(phone._on_sip), local_addr=local)
        phone._rtp, _ = await loop.create_datagram_endpoint(lambda: _Socket(phone._on_rtp), local_addr=local)
        phone._to = f"<sip:{ext}@127.0.0.1:{pbx.sip_port}>"
        phone._target = f"sip:{ext}@127.0.0.1:{pbx.sip_port}"
        answer = await phone.request("INVITE", offer(phone._port(phone._rtp)), within=within)
        phone._send("ACK", phone._cseq)
        if answer.status >= 300:
            phone.refused = answer.status
            phone._finish("")
            return phone
        phone.answered_at = time.time()
        phone._media_port = audio_port(answer.body)
        phone._task = asyncio.create_task(phone._speak())
        return phone

    async def press(self, key: str, ms: int = 120) -> None:
        """Press a key; returns when it is up again."""
        done = asyncio.Event()
        self._keys.append((key, ms // 20, done))
        await done.wait()

    async def hear(self, within: float = 10.0) -> float:
        """Wait for sound to begin after now; its Unix time. Raises TimeoutError."""
        at = len(self.heard)
        end = time.monotonic() + within
        while time.monotonic() < end:
            for when, pcm in self.heard[at:]:
                at += 1
                if _loud(pcm):
                    return when
            await asyncio.sleep(0.01)
        raise TimeoutError(f"no sound in {within} s")

    async def quiet(self, seconds: float = 1.0, within: float = 60.0) -> float:
        """Wait until no sound has come for so long (Asterisk sends no packets where it has nothing to say).

        Returns the Unix time when quiet began, counted from this call at the earliest. Raises TimeoutError.
        """
        at, last = len(self.heard), time.time()
        end = time.monotonic() + within
        while time.monotonic() < end:
            fresh = self.heard[at:]
            at += len(fresh)
            last = max([last, *(when for when, pcm in fresh if _loud(pcm))])
            if time.time() - last >= seconds:
                return last
            await asyncio.sleep(0.01)
        raise TimeoutError(f"no quiet in {within} s")

    async def ended(self, within: float = 30.0) -> None:
        """Wait until the far side hangs up. Raises TimeoutError."""
        await asyncio.wait_for(self._ended.wait(), within)

    async def hold(self, on: bool = True) -> None:
        """Put the far side on hold, or take it back."""
        self._version += 1
        await self.request("INVITE", offer(self._port(self._rtp), held=on, version=self._version))
        self._send("ACK", self._cseq)

    async def refer(self, ext: str, *, replaces: Phone | None = None) -> int:
        """Transfer the far side to `ext`, blind, or to the far side of our call `replaces` (attended, RFC 3891).

        Returns the status of the REFER itself; what came of it is in `progress`.
        """
        target = f"sip:{ext}@127.0.0.1:{self.pbx_port}"
        if replaces is not None:
            words = f"{replaces._call_id};to-tag={_tag(replaces._to)};from-tag={_tag(replaces._from)}"
            target += f"?Replaces={urllib.parse.quote(words, safe='')}"
        extra = (("Refer-To", f"<{target}>"), ("Referred-By", self._from.partition(";tag")[0]))
        return (await self.request("REFER", extra=extra)).status

    async def hang_up(self) -> None:
        """End the call; nothing happens when it has ended."""
        if not self._ended.is_set():
            await self.request("BYE")
            self._finish("caller")

    def audio(self) -> Pcm:
        """Everything heard since the answer, joined: where Asterisk sent nothing, nothing is put in its place."""
        return np.concatenate([pcm for _, pcm in self.heard]) if self.heard else np.zeros(0, dtype=np.int16)

    async def request(
        self, method: str, sdp: str = "", *, extra: tuple[tuple[str, str], ...] = (), within: float = 5
    ) -> SipMessage:
        """Send a request of this dialog and return its final response, repeating it as UDP asks."""
        self._cseq += 1
        future: asyncio.Future[SipMessage] = asyncio.get_running_loop().create_future()
        self._waiting[self._cseq] = future
        again = self._send(method, self._cseq, sdp, extra)
        end = time.monotonic() + within
        while not future.done():
            await asyncio.wait([future], timeout=0.5)
            if time.monotonic() > end:
                raise TimeoutError(f"{method}: no final response in {within} s")
            if not future.done() and method != "INVITE":
                self._sip.sendto(again, ("127.0.0.1", self.pbx_port))
        return future.result()

    def _send(self, method: str, cseq: int, sdp: str = "", extra: tuple[tuple[str, str], ...] = ()) -> bytes:
        port = self._port(self._sip)
        headers = [
            ("Via", f"SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", "70"),
            ("From", self._from),
            ("To", self._to),
            ("Call-ID", self._call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:phone@127.0.0.1:{port}>"),
            *extra,
            *([("Content-Type", "application/sdp")] if sdp else []),
        ]
        message = render(f"{method} {self._target} SIP/2.0", headers, sdp)
        self._sip.sendto(message, ("127.0.0.1", self.pbx_port))
        return message

    def _on_sip(self, data: bytes) -> None:
        message = parse(data)
        if message.method:
            self._answer(message)
        else:
            self._response(message)

    def _response(self, message: SipMessage) -> None:
        future = self._waiting.get(int(message.headers["cseq"].split()[0]))
        if message.status >= 200 and future is not None and not future.done():
            if message.status < 300 and message.headers["cseq"].endswith("INVITE"):
                self._to = message.headers["to"]
                self._target = message.headers["contact"].strip("<>").partition(">")[0]
            future.set_result(message)

    def _answer(self, request: SipMessage) -> None:
        """Say yes to whatever the far side asks inside this dialog."""
        if request.method == "ACK":
            return
        if request.method == "NOTIFY" and request.body:
            self.progress.append(request.body.strip())
        sdp = ""
        if request.method == "INVITE":
            self._version += 1
            sdp = offer(self._port(self._rtp), version=self._version)
        headers = [("Via", via) for via in request.vias]
        headers += [(name.title(), request.headers[name]) for name in ("from", "to", "call-id", "cseq")]
        headers.append(("Contact", f"<sip:phone@127.0.0.1:{self._port(self._sip)}>"))
        if sdp:
            headers.append(("Content-Type", "application/sdp"))
            self._media_port = audio_port(request.body) if "m=audio" in request.body else self._media_port
        self._sip.sendto(render("SIP/2.0 200 OK", headers, sdp), ("127.0.0.1", self.pbx_port))
        if request.method == "BYE":
            self._finish("pbx")

    def _on_rtp(self, data: bytes) -> None:
        packet = read_rtp(data)
        if packet is None:
            return
        if packet.payload_type == 0:
            self.heard.append((time.time(), decode(packet.payload)))
        elif packet.payload_type == EVENT_PAYLOAD and packet.marker:
            self.keys_heard.append(KEYS[packet.payload[0] & 0x0F])

    async def _speak(self) -> None:
        """Send 20 ms of voice or key every 20 ms until the call ends."""
        source, sequence, frame = secrets.randbits(32), secrets.randbits(15), 0
        down = 0  # frames the present key has been down
        clock = time.monotonic()
        while True:
            stamp = frame * FRAME
            if self._keys:
                key, frames, done = self._keys[0]
                down += 1
                last = down >= frames
                event = key_payload(key, down * FRAME, end=last)
                for _ in range(3 if last else 1):  # the end is said three times (RFC 4733 section 2.5.1.4)
                    packet = Rtp(EVENT_PAYLOAD, down == 1, sequence, stamp - (down - 1) * FRAME, event)
                    self._rtp.sendto(rtp(packet, source), ("127.0.0.1", self._media_port))
                    sequence += 1
                if last:
                    self._keys.popleft()
                    down = 0
                    done.set()
            elif not self.muted:
                at = stamp % len(self._voice)
                packet = Rtp(0, frame == 0, sequence, stamp, self._voice[at : at + FRAME])
                self._rtp.sendto(rtp(packet, source), ("127.0.0.1", self._media_port))
                sequence += 1
            frame += 1
            await asyncio.sleep(max(0.0, clock + frame * 0.02 - time.monotonic()))

    def _finish(self, by: str) -> None:
        self.ended_at, self.ended_by = time.time(), by
        if self._task is not None:
            self._task.cancel()
        asyncio.get_running_loop().call_later(1, self._close)  # a repeated BYE is still answered
        self._ended.set()

    def _close(self) -> None:
        if self._own_sip:
            self._sip.close()
        self._rtp.close()

    _own_sip = True  # the socket is this call's alone

    @staticmethod
    def _port(transport: asyncio.DatagramTransport) -> int:
        return int(transport.get_extra_info("sockname")[1])

    _sip: asyncio.DatagramTransport
    _rtp: asyncio.DatagramTransport


def _tag(header: str) -> str:
    return header.partition(";tag=")[2].partition(";")[0]
