"""The running daemon as a pass over foreign files sees it: `edge.adopt.run.Taker` over its socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from callwarden.door import _refusal as refusal
from callwarden.door import forbidden, unreachable
from edge.model.adoption import Asked, Known

#: Longest wait for an answer, seconds: another file may be sealed before this one, and a disk may be slow.
TIMEOUT_S = 900.0


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


class AdoptDoor:
    """Implements `edge.adopt.run.Taker`. Raises CallwardenError: the daemon's own, daemon.unreachable."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def look(self, asked: Asked) -> Known:
        """See `Taker`; so for all that follow."""
        found = self._ask("POST", "/v1/adopt/look", [msgspec.json.encode(asked)])
        return Known(found["state"], found["recording_id"], found["sealed_bytes"])

    def take(self, asked: Asked, pieces: Iterator[bytes]) -> str:
        described = msgspec.json.encode(asked)
        length = 4 + len(described) + asked.facts.total_bytes

        def body() -> Iterator[bytes]:
            yield len(described).to_bytes(4) + described
            yield from pieces

        recording_id: str = self._ask("POST", "/v1/adopt/take", body(), length)["recording_id"]
        return recording_id

    def removing(self, recording_id: str) -> None:
        self._ask("POST", f"/v1/adopt/{recording_id}/removing", [])

    def gone(self, recording_id: str, *, kept: bool) -> None:
        self._ask("POST", f"/v1/adopt/{recording_id}/gone?kept={int(kept)}", [])

    def originals(self) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", "/v1/adopt/originals", [])
        return found

    def _ask(self, method: str, path: str, body: Iterator[bytes] | list[bytes], length: int | None = None) -> Any:
        connection = _Connection(self._path)
        try:
            connection.putrequest(method, path)
            connection.putheader("Content-Length", str(sum(map(len, body)) if isinstance(body, list) else length))
            connection.endheaders()
            # A refusal comes while we still speak: it is read all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in body:
                    connection.send(piece)
            response = connection.getresponse()
            if response.status != 200:
                raise refusal(response)
            return json.loads(response.read())
        except PermissionError as error:
            raise forbidden(self._path) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise unreachable(self._path, error) from error
        finally:
            connection.close()
