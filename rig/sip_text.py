"""SIP, SDP and RTP as far as the rig's own phone needs them: text and bytes in, text and bytes out (pure)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

FRAME = 160  # samples in 20 ms at 8 kHz
EVENT_PAYLOAD = 101
KEYS = "0123456789*#ABCD"  # RFC 4733 section 3.2: the event's number is the place in this row


@dataclass(frozen=True)
class SipMessage:
    """A request (`method` set) or a response (`status` set); header names in lower case, the last of each kept."""

    method: str
    status: int
    headers: dict[str, str]
    vias: tuple[str, ...]
    body: str
    uri: str = ""


def parse(data: bytes) -> SipMessage:
    """Read one datagram. Raises ValueError when it is not SIP."""
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    pairs = [(name.strip().lower(), value.strip()) for name, colon, value in (x.partition(":") for x in lines) if colon]
    vias = tuple(value for name, value in pairs if name in ("via", "v"))
    if first.startswith("SIP/2.0 "):
        return SipMessage("", int(first.split()[1]), dict(pairs), vias, body)
    method, uri, version = first.split(" ")
    if version != "SIP/2.0":
        raise ValueError(f"not SIP: {first}")
    return SipMessage(method, 0, dict(pairs), vias, body, uri)


def render(first: str, headers: list[tuple[str, str]], body: str = "") -> bytes:
    """One SIP message; Content-Length is added."""
    lines = [first, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body.encode())}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def offer(port: int, *, held: bool = False, version: int = 1) -> str:
    """An SDP for µ-law and keys on a loopback port; held: send only, which asks the far side to play music.

    version: of the session, one more with every offer of a dialog (RFC 3264 section 8).
    """
    return (
        f"v=0\r\no=phone 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0 {EVENT_PAYLOAD}\r\na=rtpmap:0 PCMU/8000\r\n"
        f"a=rtpmap:{EVENT_PAYLOAD} telephone-event/8000\r\na=fmtp:{EVENT_PAYLOAD} 0-16\r\na=ptime:20\r\n"
        f"a={'sendonly' if held else 'sendrecv'}\r\n"
    )


def audio_port(sdp: str) -> int:
    """The port an SDP wants audio on. Raises ValueError when it offers none."""
    found = re.search(r"^m=audio (\d+) ", sdp, re.MULTILINE)
    if found is None:
        raise ValueError("the answer holds no audio line")
    return int(found[1])


@dataclass(frozen=True)
class Rtp:
    """One RTP packet: payload type, marker, sequence number, timestamp (samples) and payload."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    payload: bytes


def rtp(packet: Rtp, source: int) -> bytes:
    """The packet's bytes (RFC 3550 section 5.1). source: SSRC."""
    kind = packet.payload_type | (0x80 if packet.marker else 0)
    head = struct.pack("!BBHII", 0x80, kind, packet.sequence & 0xFFFF, packet.timestamp & 0xFFFFFFFF, source)
    return head + packet.payload


def read_rtp(data: bytes) -> Rtp | None:
    """The packet in a datagram; None when it is none, or RTCP."""
    if len(data) < 12 or data[0] >> 6 != 2 or 72 <= data[1] & 0x7F <= 76:
        return None
    kind, sequence, timestamp = struct.unpack("!xBHI", data[:8])
    start = 12 + 4 * (data[0] & 0x0F)
    return Rtp(kind & 0x7F, bool(kind & 0x80), sequence, timestamp, data[start:])


def key_payload(key: str, samples: int, *, end: bool) -> bytes:
    """An RFC 4733 event: the key has been down for so many samples; end: it is up again. Volume -10 dBm0."""
    return struct.pack("!BBH", KEYS.index(key), (0x80 if end else 0) | 10, samples)
