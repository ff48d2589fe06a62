"""One connection to a receiver, at the addresses that were checked, and attempts over it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from central.hooks.addresses import check_url, literal, port_of, refused
from central.hooks.settings import Webhook
from central.hooks.signing import TIMEOUT_S, Answer, headers, read_answer

#: Of an answer so much is read, bytes, and nothing of it is kept.
MOST_BODY: Final = 4096
#: And for so long, seconds.
DRAIN_S: Final = 2.0

#: A host and a port into addresses as text.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class RefusedError(Exception):
    """The receiver may not be reached: one word why."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class _Pinned(AbstractResolver):
    """Knows one name and its checked addresses; any other name does not exist."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        self._host, self._addresses = host, addresses

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        """See aiohttp."""
        if host != self._host:
            raise OSError(None, "not the receiver's name")
        return [
            ResolveResult(
                hostname=host, host=one, port=port, family=socket.AF_INET6 if ":" in one else socket.AF_INET, proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for one in self._addresses
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is open."""


async def checked(hook: Webhook, resolving: Resolve) -> tuple[str, list[str]]:
    """The host and the addresses it has now; each is one that may be reached, or none is. Raises RefusedError, OSError."""
    parts = check_url(hook.url, hook.allow, hook.name)
    host = (parts.hostname or "").lower()
    found = [host] if literal(host) is not None else list(await resolving(host, port_of(parts)))
    if not found:
        raise OSError("no address")
    for one in found:
        try:
            address = ipaddress.ip_address(one)
        except ValueError:  # with a zone, fe80::1%eth0
            raise RefusedError("link_local") from None
        if why := refused(address, hook.allow):
            raise RefusedError(why)
        if parts.scheme == "http" and not address.is_loopback:
            raise RefusedError("plain_http")
    return host, found


def tls_context(hook: Webhook) -> ssl.SSLContext | bool:
    """TLS 1.2 or newer by the system's authorities, or the configured one. Raises OSError."""
    if hook.url.lower().startswith("http:"):
        return False
    context = ssl.create_default_context(cafile=None if hook.ca is None else str(hook.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@asynccontextmanager
async def session(hook: Webhook, resolving: Resolve = resolve) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that can reach this receiver and nobody else. Its name is resolved once. Raises RefusedError, OSError,
    TimeoutError."""
    async with asyncio.timeout(TIMEOUT_S):
        host, addresses = await checked(hook, resolving)
    context = await asyncio.to_thread(tls_context, hook)
    connector = aiohttp.TCPConnector(resolver=_Pinned(host, addresses), use_dns_cache=False, ssl=context, limit=8)
    async with aiohttp.ClientSession(
        connector=connector, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), read_bufsize=MOST_BODY, max_line_size=8190,
    ) as made:  # fmt: skip
        yield made


async def post(
    made: aiohttp.ClientSession, hook: Webhook, keys: Sequence[bytes], message_id: str, body: bytes, now: datetime
) -> Answer:
    """One attempt."""
    signed = headers(keys, message_id, now, body)
    try:
        async with made.post(URL(hook.url), data=body, headers=signed, allow_redirects=False) as response:
            answer = read_answer(response.status, response.headers, now)
            await _drain(response)
            return answer
    except TimeoutError:
        return Answer("retry", "timeout", whole=True)
    except aiohttp.ClientConnectorCertificateError:
        return Answer("retry", "certificate", whole=True)
    except aiohttp.ClientConnectionError:
        return Answer("retry", "unreachable", whole=True)
    except (aiohttp.ClientError, ValueError):
        return Answer("retry", "not_http", whole=True)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short answer to its end, so that the connection can be used again; close it before a long or slow one. The
    status has been said, whatever follows it."""
    try:
        async with asyncio.timeout(DRAIN_S):
            await response.content.read(MOST_BODY)
    except (TimeoutError, aiohttp.ClientError, ValueError):
        response.close()
    else:
        if not response.content.at_eof():
            response.close()
