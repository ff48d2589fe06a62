"""Payloads in a bucket of an S3-compatible service, addressed path-style, one PUT each (5 GB at most; a segment is 15 minutes).

A bucket that keeps versions or locks objects would let a payload outlive its deletion: it is refused at start unless that was
declared, and then every version is removed and looked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

import aiohttp
from yarl import URL

from central.errors import CentralError
from central.failpoints import hit
from central.media.settings import MediaConfig
from central.media.sigv4 import EMPTY, Credentials, amz_date, authorization, encode, query_text
from central.media.store import MARKER, PIECE, is_key
from formats.credentials import too_open

#: An answer of the service's own (a list, an error) is not longer; a thousand keys are 600 KiB.
_MAX_ANSWER: Final = 4 * 1024 * 1024
_CONNECT_S: Final = 10.0
#: No byte moved for so long: the service is not there, seconds.
_IDLE_S: Final = 60.0
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
Query = Sequence[tuple[str, str]]


class S3Store:
    """See `central.media.store.Store`."""

    def __init__(self, config: MediaConfig) -> None:
        """Raises CentralError config.media: another scheme than https beyond loopback, secrets that others can read."""
        parts = urlsplit(config.endpoint)
        strange = not parts.hostname or parts.path or parts.query or "@" in parts.netloc
        if strange or parts.scheme not in ("http", "https"):
            raise _wrong(f"endpoint {config.endpoint!r} is none", 'write "https://HOST" or "https://HOST:PORT"')
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise _wrong("plain HTTP is for loopback only", "use https://")
        self._config = config
        self._base, self._host = config.endpoint, parts.netloc
        self._tls: ssl.SSLContext | bool = True
        if config.ca is not None:
            self._tls = ssl.create_default_context(cafile=str(config.ca))
        self._credentials = Credentials(_secret(config.access_key), _secret(config.secret_key))
        self._session: aiohttp.ClientSession | None = None

    @property
    def kind(self) -> str:
        """See `Store`."""
        return f"s3/{self._config.bucket}"

    async def marker(self) -> str | None:
        """See `Store`."""
        status, body = await self._ask("GET", MARKER)
        if status not in (200, 404):
            raise _failed(f"the bucket's marker cannot be read: {_code(status, body)}", MARKER)
        return None if status == 404 else body[:100].decode("ascii", "replace").strip()

    async def mark(self, text: str) -> None:
        """See `Store`."""
        raw = f"{text}\n".encode()
        status, body = await self._ask("PUT", MARKER, body=raw, body_sha256=hashlib.sha256(raw).hexdigest())
        if status != 200:
            raise _failed(f"the bucket does not take its marker: {_code(status, body)}", MARKER)

    async def check(self) -> None:
        """See `Store`."""
        try:
            status, body = await self._ask("GET", "", query=[("versioning", "")])
            lock, _ = await self._ask("GET", "", query=[("object-lock", "")])
        except CentralError as error:
            raise _wrong(f"the bucket cannot be looked at: {error.message}", "docs/ops/media.md") from error
        if status != 200:
            raise _wrong(
                f"the bucket {self._config.bucket} answers {_code(status, body)}", "is it there, is the key right?"
            )
        versioned = _texts(body, "Status") != []
        # 404: no lock is configured; 400, 405, 501: a service that has no locks.
        locked = lock == 200
        if lock not in (200, 404, 400, 405, 501):
            raise _wrong(f"object lock cannot be asked for: HTTP {lock}", "allow s3:GetBucketObjectLockConfiguration")
        if (versioned or locked) and not self._config.versioned:
            what = "locks objects" if locked else "keeps versions"
            raise _wrong(
                f"the bucket {what}: what is deleted would stay",
                "another bucket, or versioned = true, which certificates then show",
            )

    async def put(self, key: str, source: Path, size: int) -> None:
        """See `Store`. S3 makes an object visible when it is whole; what it has then is asked."""
        digest, found = await asyncio.to_thread(_sha256, source)
        if found != size:
            raise _failed("the upload changed its length", key)
        status, body = await self._ask("PUT", key, body=source, body_sha256=digest, size=size)
        if status != 200:
            raise _failed(f"the bucket does not take a payload: {_code(status, body)}", key)
        hit("media.bucket_put")
        if await self.size(key) != size:
            raise _failed("the bucket has another length than was sent", key)

    async def size(self, key: str) -> int | None:
        """See `Store`."""
        async with self._answer("HEAD", self._path(key)) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200 or answer.content_length is None:
                raise _failed(f"the bucket answers HTTP {answer.status}", key)
            return int(answer.headers["Content-Length"])

    async def read(self, key: str, first: int, behind: int) -> AsyncGenerator[bytes, None]:
        """See `Store`."""
        async with self._answer("GET", self._path(key), extra={"Range": f"bytes={first}-{behind - 1}"}) as answer:
            if answer.status == 404:
                raise CentralError("media.missing", "the store has no such payload", status=404, where=key)
            if answer.status not in (200, 206) or (answer.status == 200 and first):
                raise _failed(f"the bucket answers HTTP {answer.status}", key)
            left = behind - first
            async for piece in answer.content.iter_chunked(PIECE):
                yield piece[:left]
                left -= min(left, len(piece))
            if left:
                raise _failed("the bucket gave less than there was", key)

    async def remove(self, key: str) -> None:
        """See `Store`."""
        await self._delete(key, [])
        hit("media.bucket_deleted")
        for version in await self._versions(key):
            await self._delete(key, [("versionId", version)])
        if await self._versions(key) or await self.size(key) is not None:
            raise CentralError("media.not_gone", "a version of the payload is still there", status=503, where=key)

    async def _delete(self, key: str, query: Query) -> None:
        status, body = await self._ask("DELETE", key, query=query)
        if status not in (200, 204, 404):
            raise CentralError("media.not_gone", f"the bucket answers {_code(status, body)}", status=503, where=key)

    async def _versions(self, key: str) -> list[str]:
        """Ids of everything that lies or lay under the key, delete markers too. None where the service has no versions."""
        query = [("prefix", self._config.prefix + key), ("versions", "")]
        status, body = await self._ask("GET", "", query=query)
        if status in (400, 405, 501) and not self._config.versioned:
            return []
        if status != 200:
            raise CentralError(
                "media.not_gone", f"versions cannot be listed: {_code(status, body)}", status=503, where=key
            )
        if _texts(body, "IsTruncated") == ["true"]:
            raise CentralError("media.not_gone", "there are too many versions to list at once", status=503, where=key)
        return _texts(body, "VersionId")

    async def listing(self) -> AsyncIterator[tuple[str, float]]:
        """See `Store`."""
        more: list[tuple[str, str]] = []
        while True:
            status, body = await self._ask(
                "GET", "", query=[("list-type", "2"), ("prefix", self._config.prefix), *more]
            )
            if status != 200:
                raise _failed(f"the bucket cannot be listed: {_code(status, body)}", self._config.bucket)
            for name, at in zip(_texts(body, "Key"), _texts(body, "LastModified"), strict=True):
                key = name.removeprefix(self._config.prefix)
                if is_key(key):
                    yield key, datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
            token = _texts(body, "NextContinuationToken")
            if not token:
                return
            more = [("continuation-token", token[0])]

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ------------------------------------------------------------ requests

    def _path(self, key: str) -> str:
        if key and key != MARKER and not is_key(key):
            raise CentralError("usage.sha512", "this is no key of a payload", where=key[:200])
        return f"/{self._config.bucket}" + (f"/{self._config.prefix}{key}" if key else "")

    async def _ask(
        self,
        method: str,
        key: str,
        *,
        query: Query = (),
        body: Path | bytes | None = None,
        body_sha256: str = EMPTY,
        size: int = 0,
    ) -> tuple[int, bytes]:
        """(status, body) of a short answer."""
        async with self._answer(
            method, self._path(key), query, body=body, body_sha256=body_sha256, size=size
        ) as answer:
            raw = b""
            async for piece in answer.content.iter_chunked(PIECE):
                raw += piece
                if len(raw) > _MAX_ANSWER:
                    raise _failed("the bucket's answer is too long", key)
            return answer.status, raw

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Query = (),
        *,
        body: Path | bytes | None = None,
        body_sha256: str = EMPTY,
        size: int = 0,
        extra: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A signed request and its answer. Raises CentralError media.store when the service is not there."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_S, sock_read=_IDLE_S)
            self._session = aiohttp.ClientSession(trust_env=False, timeout=timeout, auto_decompress=False)
        now = datetime.now(UTC)
        headers = {"Host": self._host, "x-amz-content-sha256": body_sha256, "x-amz-date": amz_date(now)}
        signature = authorization(
            method, path, query, headers, body_sha256, credentials=self._credentials, region=self._config.region, at=now
        )
        url = URL(self._base + encode(path, safe="/") + ("?" + query_text(query) if query else ""), encoded=True)
        sent = {**headers, "Authorization": signature, **(extra or {})}
        file = None
        try:
            if isinstance(body, Path):
                sent["Content-Length"] = str(size)
                file = await asyncio.to_thread(body.open, "rb")
            async with self._session.request(
                method, url, headers=sent, data=file or body, ssl=self._tls, allow_redirects=False
            ) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failed(f"the S3 service cannot be reached: {error or type(error).__name__}", self._host) from error
        finally:
            if file is not None:
                file.close()


def _secret(path: Path) -> str:
    try:
        mode, text = path.stat().st_mode, path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"a key of the bucket cannot be read: {error}", "access_key and secret_key name files") from error
    if too_open(path, mode, os.environ):
        raise _wrong(f"others can read {path}", f"chmod 600 {path}")
    if not text or any(c.isspace() for c in text):
        raise _wrong(f"{path} must hold one word", "")
    return text


def _sha256(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:  # another process finished it
        raise _failed(f"the upload cannot be read: {error.strerror}", path.name) from error


def _texts(body: bytes, name: str) -> list[str]:
    """The texts of all elements of this name. Entities are refused by the parser's size: expat bounds what they make."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - the operator's own service; expat limits amplification
    except ElementTree.ParseError as error:
        raise _failed("the bucket's answer is no XML", "s3") from error
    return [one.text or "" for one in root.iter() if one.tag.rpartition("}")[2] == name]


def _code(status: int, body: bytes) -> str:
    try:
        words = _texts(body, "Code")
    except CentralError:
        words = []
    return f"HTTP {status} {words[0][:60] if words else ''}".strip()


def _wrong(message: str, hint: str) -> CentralError:
    return CentralError("config.media", message, where="[central.media]", hint=hint)


def _failed(message: str, where: str) -> CentralError:
    return CentralError("media.store", message, status=503, where=where)
