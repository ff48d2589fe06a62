"""Central's HTTP API, for the people who run it: bearer token, pinned CA, errors in the edge's words."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlencode, urlsplit

import click

from edge.errors import CallwardenError
from formats import canonical
from formats.keyset import KeySet

F = TypeVar("F", bound=Callable[..., Any])
TIMEOUT_S = 30.0
_PIECE = 256 * 1024
_HINT = "set CENTRAL_URL, CENTRAL_TOKEN and CENTRAL_CA, or name central.toml with --central-config"


@dataclass(frozen=True)
class CentralClient:
    """url: base address. token: administrator's bearer token. ca: PEM file to trust, or None for the system's."""

    url: str
    token: str
    ca: Path | None

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON answer. Raises CallwardenError with central's own code, sync.unreachable."""
        return self._ask("GET", path + ("?" + urlencode(query) if query else ""), None)

    def post(self, path: str, body: object) -> Any:
        """As `get`."""
        return self._ask("POST", path, body)

    def delete(self, path: str) -> Any:
        """As `get`."""
        return self._ask("DELETE", path, None)

    def pages(
        self, path: str, member: str, *, by: str = "seq", start: str | int = 0, **query: str | int
    ) -> list[dict[str, Any]]:
        """All items of a paged list, each page after the last one's `by`."""
        items: list[dict[str, Any]] = []
        after: str | int = start
        while page := self.get(path, after=after, **query)[member]:
            items += page
            after = page[-1][by]
        return items

    def key_set(self) -> KeySet:
        """Central's own, for who pins none: it is then believed."""
        return KeySet.load(canonical.dumps(self.get("/v1/keys")))

    def download(self, path: str, to: IO[bytes] | None, most: int, part: tuple[int, int] | None = None) -> str:
        """Bytes into `to` (None: nowhere); the hex of their SHA-512. part: (first byte, byte behind the last), nothing else counts as an
        answer then. Raises as `get`, and sync.answer beyond `most` bytes."""
        connection, digest, size = self._connection(), hashlib.sha512(), 0
        headers = {"Authorization": f"Bearer {self.token}"}
        if part is not None:
            headers["Range"] = f"bytes={part[0]}-{part[1] - 1}"
        with _translated(self.url):
            try:
                connection.request("GET", path, None, headers)
                response = connection.getresponse()
                if response.status != (HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT):
                    _answer(response.status, response.read(), self.url)
                    raise CallwardenError("sync.answer", f"central answered {response.status}", where=self.url)
                while piece := response.read(_PIECE):
                    size += len(piece)
                    if size > most:
                        raise CallwardenError("sync.answer", "central gives more than there is", where=self.url)
                    digest.update(piece)
                    if to is not None:
                        to.write(piece)
            finally:
                connection.close()
        return digest.hexdigest()

    def _ask(self, method: str, path: str, body: object) -> Any:
        connection = self._connection()
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        with _translated(self.url):
            try:
                connection.request(method, path, data, headers)
                response = connection.getresponse()
                raw = response.read()
            finally:
                connection.close()
        return _answer(response.status, raw, self.url)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "https" and parts.hostname:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_S, context=context)
        if parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"):
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        raise CallwardenError(
            "usage.url", "not an address of central", hint="https://HOST:PORT; http:// only on loopback", where=self.url
        )


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise CallwardenError(
            "sync.certificate",
            f"central's certificate is not believed: {error.verify_message}",
            hint="CENTRAL_CA names the CA that `central init` made (ca.crt)",
            where=url,
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise CallwardenError(
            "sync.unreachable",
            f"central cannot be reached: {error}",
            hint="is `callwarden central run` running there?",
            retryable=True,
            where=url,
        ) from error


def _answer(status: int, raw: bytes, url: str) -> Any:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise CallwardenError("sync.answer", f"central answered {status} without JSON", where=url) from error
    if status < 400:
        return value
    if not isinstance(value, dict) or "code" not in value:
        raise CallwardenError("sync.answer", f"central answered {status}", where=url)
    raise CallwardenError(
        str(value["code"]),
        str(value.get("what", "")),
        hint=str(value.get("hint", "")),
        where=str(value.get("where", "")),
    )


def from_surroundings(central_config: Path | None) -> CentralClient:
    """The client that `--central-config` or the environment names. CENTRAL_TOKEN is the token or a file that holds it.

    Raises usage.central, config.*, environment.file.
    """
    if central_config is not None:
        from central.config import load

        config = load(central_config)
        return CentralClient(config.url, _token(str(config.token)), config.ca if config.tls else None)
    url, token = os.environ.get("CENTRAL_URL", ""), os.environ.get("CENTRAL_TOKEN", "")
    if not url or not token:
        raise CallwardenError("usage.central", "it is not said which central is meant", hint=_HINT)
    ca = os.environ.get("CENTRAL_CA")
    if ca and not Path(ca).is_file():
        raise CallwardenError("environment.file", "there is no such CA file", hint="CENTRAL_CA names it", where=ca)
    return CentralClient(url.rstrip("/"), _token(token), Path(ca) if ca else None)


def is_named(central_config: Path | None) -> bool:
    """Whether something says which central is meant; whether it is right shows when it is asked."""
    return central_config is not None or bool(os.environ.get("CENTRAL_URL") and os.environ.get("CENTRAL_TOKEN"))


def _token(text: str) -> str:
    """The token itself: tokens are base64url, so what has a slash is a path."""
    if "/" not in text:
        return text
    try:
        return Path(text).read_text("ascii").strip()
    except OSError as error:
        raise CallwardenError(
            "environment.file", f"the token cannot be read: {error.strerror}", hint=_HINT, where=text
        ) from error


def central_config(command: F) -> F:
    """`--central-config`, or CENTRAL_CONFIG."""
    return click.option(
        "--central-config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="CENTRAL_CONFIG",
        help="central.toml of a central on this host; without it CENTRAL_URL, CENTRAL_TOKEN and CENTRAL_CA say where.",
    )(command)
