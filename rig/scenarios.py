"""SIPp scenarios as XML: callers that do as they are told, and the agent who answers (pure).

Everything that happens is logged with the wall time by SIPp itself, as `WORD [timestamp] ...` lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

# Keys by SIP INFO: SIPp's own RFC 4733 keys need a raw socket (root), and of several in one call Asterisk 22 heard the
# wrong ones (tried: 1, 5, *, 9 arrived as 5, 9, 9, 9). The agent only listens, so it may offer them.
_KEYS = "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\n"


@dataclass(frozen=True)
class Wait:
    """Stay on the line for so many milliseconds."""

    ms: int


@dataclass(frozen=True)
class Press:
    """Press one key: 0-9, *, # or A-D."""

    key: str
    ms: int = 120


@dataclass(frozen=True)
class Speak:
    """Begin to speak, from a G.711 file played over and over until the call ends."""

    voice: Path
    law: str = "ulaw"


@dataclass(frozen=True)
class Hush:
    """Stop sending any audio, while staying on the line."""


Step = Wait | Press | Speak | Hush

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
_ROUTE = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
"""


def caller(steps: list[Step], *, name_fields: int = 1) -> str:
    """A caller who dials, does the steps once answered, then hangs up; ends well too when the far side hangs up.

    Field 0 of the injection file is the number (percent-encoded), fields 1 to name_fields the display name, which a
    semicolon splits. The dialled extension is SIPp's -s.
    """
    name = ";".join(f"[field{1 + n}]" for n in range(name_fields))
    me = f'"{name}" <sip:[field0]@[local_ip]:[local_port]>;tag=[pid]SIPpTag[call_number]'
    them = "<sip:[service]@[remote_ip]:[remote_port]>"
    contact = "Contact: <sip:rig@[local_ip]:[local_port]>\n"
    sdp = _sdp("0 8", "")
    start = f"{_ROUTE}From: {me}\nTo: {them}\nCall-ID: [call_id]\nCSeq: [cseq] INVITE\n{contact}"
    invite = f"INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n{start}{_body('application/sdp', sdp)}"
    ack = f"ACK [next_url] SIP/2.0\n{_ROUTE}[routes]\n{_dialog(me, them, 'ACK')}{contact}Content-Length: 0\n\n"
    parts = [
        _log("invited"),
        _send(invite, retrans=True),
        '<recv response="100" optional="true"/>\n<recv response="180" optional="true"/>\n',
        '<recv response="183" optional="true"/>\n',
        *(_refused(code, me, them) for code in (403, 404, 480, 486, 487, 500, 503, 603)),
        # "global" means: at any later moment, also in the middle of a pause.
        f'<recv request="BYE" optional="global" next="90"><action>{_entry("they_hung_up")}</action></recv>\n',
        f'<recv response="200" rrs="true" rtd="true"><action>{_entry("answered")}</action></recv>\n',
        _send(ack),
    ]
    parts += [_step(step, me, them) for step in steps]
    bye = f"BYE [next_url] SIP/2.0\n{_ROUTE}[routes]\n{_dialog(me, them, 'BYE')}Content-Length: 0\n\n"
    parts += [
        _log("we_hung_up"),
        _send(bye, retrans=True),
        '<recv response="200" next="99"/>\n',
        '<label id="90"/>\n',
        _send(_ok()),
        '<label id="99"/>\n',
    ]
    return f'{_HEAD}<scenario name="caller">\n{"".join(parts)}</scenario>\n'


def agent(voice: Path, *, ring_ms: int = 200, leave_after_ms: int = 0, key_after_ms: int = 0) -> str:
    """The agent: rings, answers, speaks until the caller hangs up (or hangs up itself after leave_after_ms).

    key_after_ms: so long after the answer it presses the last digit of the number that was dialled, unless that is 0.
    """
    ereg = (
        '<ereg regexp="sip:([^@]*)@" search_in="hdr" header="From:" assign_to="1,2"/>'
        '<ereg regexp="[^ ].*" search_in="hdr" header="From:" assign_to="5"/>'
    )
    own = '<ereg regexp="[^ ].*" search_in="hdr" header="To:" assign_to="4"/>'
    digit = '<ereg regexp="([1-9])@" search_in="hdr" header="To:" check_it="false" assign_to="6,7"/>'
    heard = f"<action>{ereg}{digit}{_entry('invited', ' [$2]')}</action>"
    to = "[last_To:];tag=[pid]SIPpTag[call_number]"
    contact = "Contact: <sip:agent@[local_ip]:[local_port]>\n"
    ringing = f"SIP/2.0 180 Ringing\n[last_Via:]\n[last_From:]\n{to}\n[last_Call-ID:]\n[last_CSeq:]\n{contact}"
    answer = f"SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n{to}\n[last_Call-ID:]\n[last_CSeq:]\n{contact}"
    gone = f"SIP/2.0 487 Request Terminated\n[last_Via:]\n[last_From:]\n{to}\n[last_Call-ID:]\nCSeq: 1 INVITE\n"
    parts = [
        f'<recv request="INVITE" rrs="true">{heard}</recv>\n',
        _send(ringing + "Content-Length: 0\n\n"),
        # The time-out counts at the first of a row of receives, so it is the ringing time of both.
        f'<recv request="BYE" optional="global" next="90" timeout="{ring_ms}" ontimeout="10">'
        f"<action>{_entry('they_hung_up')}</action></recv>\n"
        f'<recv request="CANCEL" next="80"><action>{_entry("cancelled")}</action></recv>\n<label id="10"/>\n',
        _send(answer + _body("application/sdp", _sdp("0 101", _KEYS)), retrans=True),
        f'<recv request="ACK"><action>{own}{_entry("talking")}</action></recv>\n',
        _play(voice, "ulaw"),
    ]
    ours = f"{_ROUTE}From: [$4]\nTo: [$5]\nCall-ID: [call_id]\n"
    if key_after_ms:
        info = f"INFO [next_url] SIP/2.0\n{ours}CSeq: 1 INFO\n"
        parts += [
            f'<pause milliseconds="{key_after_ms}"/>\n',
            '<nop test="6" next="21"/>\n<nop next="20"/>\n<label id="21"/>\n',
            _log("pressed", " [$7]"),
            _send(info + _body("application/dtmf-relay", "Signal=[$7]\nDuration=120\n"), retrans=True),
            '<recv response="200"/>\n<label id="20"/>\n',
        ]
    if leave_after_ms:
        bye = f"BYE [next_url] SIP/2.0\n{ours}CSeq: 2 BYE\n"
        parts += [
            f'<pause milliseconds="{leave_after_ms}"/>\n',
            _log("we_hung_up"),
            _send(bye + "Content-Length: 0\n\n", retrans=True),
            '<recv response="200" next="99"/>\n',
        ]
    else:
        parts.append('<pause milliseconds="7200000"/>\n')
    parts += [
        '<label id="80"/>\n',
        _send(_ok()),
        _send(gone + "Content-Length: 0\n\n"),
        '<recv request="ACK" next="99" timeout="2000" ontimeout="99"/>\n',
        '<label id="90"/>\n',
        _send(_ok()),
        '<label id="99"/>\n',
    ]
    reference = '<Reference variables="1,4,5,6,7"/>\n'
    return f'{_HEAD}<scenario name="agent">\n{"".join(parts)}{reference}</scenario>\n'


def _step(step: Step, me: str, them: str) -> str:
    if isinstance(step, Wait):
        return f'<pause milliseconds="{step.ms}"/>\n'
    if isinstance(step, Speak):
        return _log("speaking") + _play(step.voice, step.law)
    if isinstance(step, Hush):
        return '<nop><action><exec rtp_stream="pauseapattern"/></action></nop>\n'
    body = f"Signal={step.key}\nDuration={step.ms}\n"
    info = f"INFO [next_url] SIP/2.0\n{_ROUTE}[routes]\n{_dialog(me, them, 'INFO')}"
    sent = _send(info + _body("application/dtmf-relay", body), retrans=True)
    return _log("pressed", " " + step.key) + sent + '<recv response="200"/>\n'


def _dialog(me: str, them: str, method: str) -> str:
    return f"From: {me}\nTo: {them}[peer_tag_param]\nCall-ID: [call_id]\nCSeq: [cseq] {method}\n"


def _refused(code: int, me: str, them: str) -> str:
    """Asterisk said no: SIPp acknowledges a final refusal itself."""
    return (
        f'<recv response="{code}" optional="true" next="99"><action>{_entry("refused", f" {code}")}</action></recv>\n'
    )


def _ok() -> str:
    echoed = "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
    return f"SIP/2.0 200 OK\n{echoed}Content-Length: 0\n\n"


def _sdp(payloads: str, extra: str) -> str:
    return (
        "v=0\no=rig 53655765 2353687637 IN IP4 [media_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n"
        f"m=audio [rtpstream_audio_port] RTP/AVP {payloads}\na=rtpmap:0 PCMU/8000\n{extra}a=sendrecv\na=ptime:20\n"
    )


def _body(kind: str, body: str) -> str:
    return f"Content-Type: {kind}\nContent-Length: [len]\n\n{body}"


def _send(message: str, *, retrans: bool = False) -> str:
    again = ' retrans="500"' if retrans else ""
    return f"<send{again}><![CDATA[\n{message}]]></send>\n"


def _play(voice: Path, law: str) -> str:
    payload = "0,PCMU/8000" if law == "ulaw" else "8,PCMA/8000"
    return f"<nop><action><exec rtp_stream={quoteattr(f'{voice},-1,{payload}')}/></action></nop>\n"


def _entry(word: str, rest: str = "") -> str:
    return f"<log message={quoteattr(f'{word} [timestamp] [call_id]{rest}')}/>"


def _log(word: str, rest: str = "") -> str:
    return f"<nop><action>{_entry(word, rest)}</action></nop>\n"
