"""What a webhook may reach: real receivers with TLS, resolvers that lie, redirects, proxies, answers without an end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from central.hooks import post
from central.hooks.post import RefusedError
from central.hooks.settings import Webhook
from central.hooks.signing import Answer
from tests.unit.central.hooks_kit import LOOPBACK, Got, Receiver, a_hook, a_receiver

KEYS = (b"k" * 32,)


class Resolver:
    """Answers what it is told, the next at each question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0)


async def sent(hook: Webhook, resolving: post.Resolve = post.resolve, count: int = 1) -> list[Answer]:
    async with post.session(hook, resolving) as made:
        return [await post.post(made, hook, KEYS, "m", b"{}", datetime.now(UTC)) for _ in range(count)]


async def test_a_receiver_with_a_certificate_is_reached(tmp_path: Path) -> None:
    async with a_receiver(tmp_path / "r") as receiver:
        assert [one.what for one in await sent(a_hook(receiver, tmp_path))] == ["sent"]
        assert receiver.got[0].headers["webhook-id"] == "m"


async def test_plain_http_to_loopback_that_is_listed(tmp_path: Path) -> None:
    async with a_receiver(tmp_path / "r", plain=True) as receiver:
        assert (await sent(a_hook(receiver, tmp_path)))[0].what == "sent"
        lying = Resolver(["192.0.2.1"])
        with pytest.raises(RefusedError):
            await sent(a_hook(receiver, tmp_path), lying)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"], ["::ffff:8.8.8.8"], ["fe80::1%lo"]],
)
async def test_a_name_that_leads_inside_is_not_reached(tmp_path: Path, addresses: list[str]) -> None:
    """One bad address among good ones is enough."""
    async with a_receiver(tmp_path / "r", names=("hooks.example.org",)) as receiver:
        hook = a_hook(receiver, tmp_path, url=receiver.url("hooks.example.org"), allow=())
        with pytest.raises(RefusedError):
            await sent(hook, Resolver(addresses))
        assert receiver.got == []


async def test_a_name_that_changes_its_address_is_asked_once(tmp_path: Path) -> None:
    """DNS rebinding: the address that was checked is the one connected to, for every attempt of the session."""
    async with (
        a_receiver(tmp_path / "r", names=("hooks.example.org",)) as receiver,
        a_receiver(tmp_path / "s", receiver.port, names=("hooks.example.org",), host="127.0.0.2") as inside,
    ):
        hook = a_hook(receiver, tmp_path, url=receiver.url("hooks.example.org"))
        resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])

        async def hang_up(got: Got) -> web.StreamResponse:
            response = web.Response()
            response.force_close()
            return response

        receiver.answer = hang_up  # so that each attempt connects anew
        assert [one.what for one in await sent(hook, resolver, 3)] == ["sent"] * 3
        assert (resolver.asked, len(receiver.got), inside.got) == (1, 3, [])


async def test_the_certificate_is_checked_for_the_name(tmp_path: Path) -> None:
    async with a_receiver(tmp_path / "r", names=("other.example.org",)) as receiver:
        hook = a_hook(receiver, tmp_path, url=receiver.url("hooks.example.org"))
        assert [one.why for one in await sent(hook, Resolver(["127.0.0.1"]))] == ["certificate"]
        right = replace(hook, url=receiver.url("other.example.org"))
        assert [one.what for one in await sent(right, Resolver(["127.0.0.1"]))] == ["sent"]
        stranger = replace(right, ca=None)  # the system's authorities do not know this one
        assert [one.why for one in await sent(stranger, Resolver(["127.0.0.1"]))] == ["certificate"]


async def test_a_redirect_is_not_followed_and_a_proxy_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_receiver(tmp_path / "r") as receiver, a_receiver(tmp_path / "s", plain=True) as inside:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")

        async def elsewhere(got: Got) -> web.StreamResponse:
            return web.Response(status=307, headers={"location": inside.url()})

        receiver.answer = elsewhere
        assert [one.why for one in await sent(a_hook(receiver, tmp_path))] == ["http_307"]
        assert (len(receiver.got), inside.got) == (1, [])


async def test_an_answer_without_an_end_is_not_read_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status has been said: the message is sent, and nobody waits for the rest."""
    monkeypatch.setattr(post, "DRAIN_S", 0.2)
    gone = asyncio.Event()

    async with a_receiver(tmp_path / "r") as receiver:

        async def endless(got: Got) -> web.StreamResponse:
            response = web.StreamResponse()
            app_request = receiver.current
            assert app_request is not None
            await response.prepare(app_request)
            try:
                while True:
                    await response.write(b"x" * 65536)
                    await asyncio.sleep(0)
            except (ConnectionError, asyncio.CancelledError):
                gone.set()
                raise

        receiver.answer = endless
        assert [one.what for one in await sent(a_hook(receiver, tmp_path))] == ["sent"]
        async with asyncio.timeout(10):
            await gone.wait()


async def test_what_is_no_http_or_no_answer_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = b"nonsense\r\n\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read(1 << 16)
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    found = []
    for handler, seconds in ((talk, post.TIMEOUT_S), (silent, 0.3)):
        monkeypatch.setattr(post, "TIMEOUT_S", seconds)
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        receiver = Receiver(tmp_path, plain=True, port=server.sockets[0].getsockname()[1])
        hook = a_hook(receiver, tmp_path, url=receiver.url("127.0.0.1"))  # no resolver has to be as quick
        found += await sent(hook)
        server.close()
    monkeypatch.undo()
    found += await sent(hook)  # nobody listens any more
    assert [one.why for one in found] == ["not_http", "timeout", "unreachable"]
    assert all(one.whole for one in found)


def test_tls_is_as_new_as_it_should_be(tmp_path: Path) -> None:
    context = post.tls_context(Webhook("crm", "https://example.org/", tmp_path, ("*",), LOOPBACK))
    assert isinstance(context, ssl.SSLContext)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
