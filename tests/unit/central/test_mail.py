"""Mail against a real SMTP server with STARTTLS or TLS: what it gets, when it is tried again, and what cannot be smuggled in."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from central import tls
from central.hooks import duty, mail, queue
from central.hooks.bounded import Bound, BoundSmtp
from central.hooks.settings import Mail, Outgoing
from formats import canonical
from tests.unit.central.central_kit import TestEdge
from tests.unit.central.hooks_kit import telling

SENDER, TO = "callwarden@example.org", ("dpo@example.org", "ops@example.org")


@dataclass
class Post:
    """A mail server and what it took. `says`: its answer to a letter."""

    folder: Path
    says: str = "250 OK"
    refuses: tuple[str, ...] = ()
    got: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if address in self.refuses:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.says.startswith("250"):
            assert server.transport.get_extra_info("sslcontext") is not None
            raw = envelope.original_content or b""
            letter = email.message_from_bytes(raw, policy=email.policy.default)
            assert isinstance(letter, EmailMessage)
            self.got.append(letter)
            self.envelopes.append((envelope.mail_from or "", list(envelope.rcpt_tos)))
        return self.says

    def settings(self, **more: Any) -> Mail:
        password = self.folder / "mail.password"
        password.touch(mode=0o600)
        password.write_text("open sesame\n")
        made = Mail(
            "localhost", SENDER, TO, port=self.port, user="central", password=password, ca=self.folder / "ca.pem"
        )
        return replace(made, **more)


def _logs_in(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"central", b"open sesame")
    return AuthResult(success=right, handled=right)


@asynccontextmanager
async def a_post(
    folder: Path, *, names: tuple[str, ...] = ("localhost",), starttls: bool = True, at_once: bool = False
) -> AsyncIterator[Post]:
    folder.mkdir()
    ca, key = tls.make_ca("mail", datetime.now(UTC))
    certificate, secret = tls.make_server(ca, key, names, datetime.now(UTC))
    for name, content in (("ca.pem", ca), ("crt.pem", certificate), ("key.pem", secret)):
        (folder / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt.pem", folder / "key.pem")
    made = Post(folder)
    more: dict[str, Any] = {
        "authenticator": _logs_in,
        "auth_require_tls": not at_once,
    }  # what is TLS anyway it does not see
    if starttls and not at_once:
        more |= {"tls_context": context, "require_starttls": True}
    # A port of 0 is not waited for by the controller's own check, so the socket's port is read when it listens.
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(made, loop=loop, **more), "localhost", 0, ssl=context if at_once else None
    )
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


BODY = canonical.dumps(
    {
        "type": "incident.opened",
        "timestamp": "2026-01-31T12:00:00.000Z",
        "data": {"incident_id": "ab" * 16, "kind": "key_lost", "severity": "high", "edge_id": "pbx-1", "state": "open"},
    }
).decode()


def letter(settings: Mail, body: str = BODY) -> EmailMessage:
    return mail.compose(settings, "cd" * 16, body, "fleet", datetime(2026, 1, 31, 12, tzinfo=UTC))


async def sent(settings: Mail, password: str = "open sesame") -> tuple[str, str]:
    answer = await asyncio.to_thread(mail.send, settings, password, letter(settings), (settings.host,))
    return answer.what, answer.why


async def test_a_letter_arrives_over_starttls_after_a_login(tmp_path: Path) -> None:
    async with a_post(tmp_path / "post") as post:
        assert await sent(post.settings()) == ("sent", "")
        (got,) = post.got
        assert post.envelopes == [(SENDER, list(TO))]
        assert got["Subject"] == "[callwarden fleet] incident.opened key_lost high open pbx-1"
        assert got["Auto-Submitted"] == "auto-generated"
        assert got["Message-ID"] == f"<{'cd' * 16}@example.org>"  # the same at every attempt
        assert f"callwarden central incident show {'ab' * 16}" in got.get_content()


@pytest.mark.parametrize(
    ("more", "password", "why"),
    [
        ({"user": "central"}, "wrong", "login"),
        ({"host": "127.0.0.1"}, "open sesame", "certificate"),  # the certificate is for localhost
        ({"ca": None}, "open sesame", "certificate"),
        ({"port": 1}, "open sesame", "unreachable"),
        ({}, "otevři se", "password_not_ascii"),
        ({"ca": Path("/nowhere/ca.pem")}, "open sesame", "ca"),
        ({"ca": Path(__file__)}, "open sesame", "ca"),
        ({"host": "a..b"}, "open sesame", "unreachable"),
    ],
)
async def test_what_is_tried_again(tmp_path: Path, more: dict[str, Any], password: str, why: str) -> None:
    async with a_post(tmp_path / "post") as post:
        assert await sent(post.settings(**more), password) == ("retry", why)
        assert post.got == []


@asynccontextmanager
async def a_dripper(begin: bytes, drop: bytes) -> AsyncIterator[int]:
    """A server that says `begin` and then a drop every 10 ms as long as anybody listens, and its port."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(begin)
            while True:
                await writer.drain()
                await asyncio.sleep(0.01)
                writer.write(drop)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("security", "begin", "drop"),
    [
        ("starttls", b"220-", b"x"),  # a greeting of one endless line
        ("starttls", b"220 post\r\n250-post\r\n", b"250-x\r\n"),  # one of endless lines
        ("tls", b"\x16\x03\x03\x40\x00", b"\x00"),  # a record of TLS that has 16 KiB to come
    ],
)
async def test_a_server_that_drips_does_not_hold_the_sender(
    tmp_path: Path, security: str, begin: bytes, drop: bytes
) -> None:
    (tmp_path / "post").mkdir()
    ca, _ = tls.make_ca("mail", datetime.now(UTC))
    (tmp_path / "post" / "ca.pem").write_bytes(ca)
    async with a_dripper(begin, drop) as port:
        settings = Post(tmp_path / "post").settings(host="127.0.0.1", port=port, security=security)
        answer = await asyncio.to_thread(mail.send, settings, "open sesame", letter(settings), ("127.0.0.1",), 0.5)
        assert (answer.what, answer.why, answer.whole) == ("retry", "too_slow", True)
    assert queue.MAIL_LEASE.total_seconds() > mail.TOTAL_S


async def test_a_letter_arrives_over_tls_from_the_first_byte(tmp_path: Path) -> None:
    async with a_post(tmp_path / "post", at_once=True) as post:
        assert await sent(post.settings(security="tls")) == ("sent", "")
        assert await sent(post.settings(security="tls", host="127.0.0.1")) == ("retry", "certificate")
        assert len(post.got) == 1


async def test_without_starttls_nothing_is_said(tmp_path: Path) -> None:
    async with a_post(tmp_path / "post", starttls=False) as post:
        assert await sent(post.settings()) == ("retry", "no_starttls")
        assert post.envelopes == []


async def test_some_recipients_are_refused(tmp_path: Path) -> None:
    async with a_post(tmp_path / "post") as post:
        post.refuses = (TO[0],)
        assert await sent(post.settings()) == ("sent", "some_refused")  # else the other would have it twice
        post.refuses = TO
        assert await sent(post.settings()) == ("retry", "recipients_refused")
        post.refuses, post.says = (), "451 later"
        assert await sent(post.settings()) == ("retry", "smtp_451")


@pytest.mark.parametrize(
    "text", ["x\r\nBcc: evil@example.org", "x\nBcc: evil@example.org", "x\r\n\r\nbody", "x\u2028y", "\0"]
)
def test_no_header_is_smuggled_in(tmp_path: Path, text: str) -> None:
    told = {"type": "incident.opened", "timestamp": "t", "data": {"kind": text, "edge_id": text, "incident_id": text}}
    made = letter(Post(tmp_path).settings(), canonical.dumps(told).decode())
    parsed = email.message_from_bytes(made.as_bytes(), policy=email.policy.default)
    assert sorted(parsed.keys()) == sorted(letter(Post(tmp_path).settings()).keys())
    assert parsed["Bcc"] is None
    assert "evil" not in str(parsed["To"])


async def test_an_incident_is_written_about_and_waits_while_the_server_is_away(tmp_path: Path, engine: str) -> None:
    async with a_post(tmp_path / "post") as post:
        post.says = "451 later"
        outgoing = Outgoing(mail=post.settings())
        async with telling(tmp_path / "central", engine, outgoing) as central:
            assert central.running is not None
            sender, edge = duty.Sender(central.running.central), TestEdge(central)
            data = {"code": "watchdog.rogue_monitor", "message": "on PJSIP/+420777123456", "where": "x", "at": "now"}
            await edge.send(edge.event(1, "alarm.raised", "", data))
            await sender.look()
            await sender.idle()
            assert await central.rows("SELECT state, attempts, why FROM hook_message") == [("waiting", 1, "smtp_451")]
            post.says = "250 OK"
            central.offset = timedelta(seconds=10)
            await sender.look()
            await sender.idle()
            assert await central.rows("SELECT state, attempts, why FROM hook_message") == [("sent", 2, "")]
            (got,) = post.got
            assert "rogue_recording" in got["Subject"]
            assert "777123456" not in got.as_string()


async def test_a_resolver_that_hangs_is_one_failure(tmp_path: Path, engine: str) -> None:
    asked: list[str] = []

    async def hangs(host: str, port: int) -> list[str]:
        asked.append(host)
        await asyncio.Event().wait()
        raise AssertionError

    outgoing = Outgoing(mail=Post(tmp_path).settings(host="mail.example.org", port=25))
    async with telling(tmp_path / "central", engine, outgoing) as central:
        assert central.running is not None
        sender, edge = duty.Sender(central.running.central, hangs, 0.05), TestEdge(central)
        data = {"code": "edge.cloned", "message": "", "where": "", "at": ""}
        await edge.send(edge.event(1, "alarm.raised", "", data))
        await sender.look()
        await asyncio.wait_for(sender.idle(), 60)
        assert asked == ["mail.example.org"]
        assert await central.rows("SELECT state, attempts, why FROM hook_message") == [("waiting", 1, "resolver")]


async def test_the_addresses_that_were_found_are_tried_in_turn_and_no_name_is_looked_up_again(tmp_path: Path) -> None:
    async with a_post(tmp_path / "post", names=("nowhere.invalid",)) as post:
        settings = post.settings(host="nowhere.invalid")  # no resolver has it, and the certificate is for it
        addresses = ("127.0.0.9", "::1", "127.0.0.1")  # nobody listens at the first
        answer = await asyncio.to_thread(mail.send, settings, "open sesame", letter(settings), addresses)
        assert (answer.what, answer.why) == ("sent", "")


async def test_an_address_behind_the_time_as_a_whole_is_not_tried(tmp_path: Path) -> None:
    bound = Bound(60)
    bound.over = True
    async with a_post(tmp_path / "post") as post:
        with pytest.raises(OSError, match="no address"):
            await asyncio.to_thread(BoundSmtp, bound, "localhost", ("127.0.0.1",), post.port, 20.0, None)


async def test_a_bug_in_an_attempt_is_an_attempt(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So mail that cannot be sent for whatever reason is alarmed after a quarter of an hour, and not forgotten for three days."""

    def broken(*_: Any) -> EmailMessage:
        raise RuntimeError("a bug")

    monkeypatch.setattr(mail, "compose", broken)
    outgoing = Outgoing(mail=Post(tmp_path).settings())
    async with telling(tmp_path / "central", engine, outgoing) as central:
        assert central.running is not None
        sender, edge = duty.Sender(central.running.central), TestEdge(central)
        await edge.send(
            edge.event(1, "alarm.raised", "", {"code": "edge.cloned", "message": "", "where": "", "at": ""})
        )
        for minutes in (0, 20):
            central.offset = timedelta(minutes=minutes)
            await sender.look()
            await sender.idle()
        assert await central.rows("SELECT state, attempts, why FROM hook_message") == [("waiting", 2, "bug")]
        assert await central.rows("SELECT count(*) FROM alarm WHERE code='webhook.failing'") == [(1,)]
