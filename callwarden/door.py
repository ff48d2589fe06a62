"""The way to an edge's facts: its daemon's Unix socket, or, with the daemon stopped, its journal (`offline`)."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from edge.errors import CallwardenError

Json = Any
#: Longest silence of the daemon before it counts as unreachable, seconds.
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Reading:
    """What something is read for. purpose: one that the permit grants, or none for its first; case: a word for the
    audit log; form: what a recording is read as (`edge.api.words.FORMS`); span: (from, to) in ms of a part, 0 for the
    end."""

    purpose: str = ""
    case: str = ""
    form: str = ""
    span: tuple[int, int] | None = None

    @property
    def query(self) -> dict[str, str]:
        """As the local door takes it."""
        words = {"purpose": self.purpose, "case": self.case, "form": self.form}
        if self.span is not None:
            words |= {"from_ms": str(self.span[0]), "to_ms": str(self.span[1])}
        return {name: value for name, value in words.items() if value}


class Source(Protocol):
    """Bytes to read, as of a binary file; b"" at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Door(Protocol):
    """Questions to one edge. Shapes: docs/cli.md. Raises CallwardenError."""

    def status(self) -> Json: ...
    def calls(self) -> Json: ...
    def recordings(self) -> Json: ...
    def why(self, call: str) -> Json: ...
    def receipts(self, subject: str) -> list[Json]: ...
    def bundle(self, recording: str) -> Json: ...
    def header(self, recording_id: str, number: int, reading: Reading) -> bytes: ...
    @contextmanager
    def payload(
        self, recording_id: str, number: int, reading: Reading, part: tuple[int, int] | None = None
    ) -> Iterator[Source]: ...
    def exported(self, recording_id: str, reading: Reading) -> None: ...
    def reads(self, recording: str) -> Json: ...
    def verify_begin(self, *, deep: bool, anew: bool) -> Json: ...
    def verify_recording(self, recording_id: str, *, run: str, repair: bool, plaintext: str | None) -> Json: ...
    def verify_rest(self, *, run: str, repair: bool) -> Json: ...
    def waveform(self, recording_id: str, number: int, reading: Reading) -> bytes: ...
    def evidence(self, call: str, form: str, reading: Reading, *, signed: bool = True) -> Json: ...
    def act(self, act: str, call: str, role: str, reason: str, seconds: float) -> Json: ...
    def reload(self) -> Json: ...
    def keys(self) -> Json: ...
    def headers(self, after: int) -> list[Json]: ...
    def resend(self) -> Json: ...
    def rewrap(self, recording_id: str, number: int, body: Json) -> Json: ...
    def audit_entries(self, start: int, end: int) -> list[Json]: ...
    def audit_checkpoints(self) -> Json: ...
    def backups(self) -> list[Json]: ...
    def backup_begun(self, backup_id: str, place: str, expires_at: str | None) -> None: ...
    def backup_made(self, backup_id: str) -> None: ...
    def accept_restore(self, reason: str) -> Json: ...
    def retention_plan(self, policy: str, at: str) -> Json: ...
    def retention_run(self) -> Json: ...
    def retention_approve(self, scopes: Sequence[str]) -> Json: ...
    def retention_clock_ok(self) -> Json: ...
    def policies(self) -> list[Json]: ...
    def holds(self, *, released: bool) -> list[Json]: ...
    def place_hold(self, asked: Json) -> Json: ...
    def release_hold(self, hold: str) -> Json: ...
    def erasure(self, verb: str, body: Json) -> Json: ...


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Answer:
    """A response's body, with the conversation's errors translated."""

    def __init__(
        self, response: http.client.HTTPResponse, translated: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._response = response
        self._translated = translated

    def read(self, size: int = -1, /) -> bytes:
        with self._translated():
            return self._response.read(None if size < 0 else size)


class SocketDoor:
    """The daemon, over its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def _ask(
        self,
        method: str,
        path: str,
        part: tuple[int, int] | None = None,
        body: str | None = None,
        /,
        **query: str | int,
    ) -> Iterator[_Answer]:
        """part: (first byte, byte behind the last) of the answer; nothing else counts as an answer then. body: of the
        request."""
        connection = _UnixConnection(self._path)
        headers = {} if part is None else {"Range": f"bytes={part[0]}-{part[1] - 1}"}
        try:
            with self._translated():
                where = path + ("?" + urlencode(query) if query else "")
                connection.request(method, where, body, headers=headers)
                response = connection.getresponse()
                if response.status != (200 if part is None else 206):
                    raise _refusal(response)
                told = (response.getheader("Content-Range") or "").partition("/")[0]
                if part is not None and told != f"bytes {part[0]}-{part[1] - 1}":
                    raise CallwardenError("daemon.answer", "the daemon sent another range than was asked for")
            yield _Answer(response, self._translated)
        finally:
            connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Around the conversation only: what the caller does with an answer has errors of its own."""
        try:
            yield
        except PermissionError as error:
            raise forbidden(self._path) from error
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(self._path, error) from error

    def _json(self, method: str, path: str, **query: str | int) -> Json:
        with self._ask(method, path, None, **query) as answer:
            return json.loads(answer.read())

    def status(self) -> Json:
        """See `Door`; so for all that follow."""
        return self._json("GET", "/v1/status")

    def calls(self) -> Json:
        return self._json("GET", "/v1/calls")

    def recordings(self) -> Json:
        return self._json("GET", "/v1/recordings")

    def why(self, call: str) -> Json:
        return self._json("GET", f"/v1/why/{quote(call, safe='')}")

    def receipts(self, subject: str) -> list[Json]:
        found: list[Json] = self._json("GET", f"/v1/receipts/{quote(subject, safe='')}")
        return found

    def bundle(self, recording: str) -> Json:
        return self._json("GET", f"/v1/recordings/{quote(recording, safe='')}/bundle")

    def header(self, recording_id: str, number: int, reading: Reading) -> bytes:
        path = f"/v1/recordings/{recording_id}/segments/{number}/header"
        with self._ask("GET", path, None, **reading.query) as answer:
            return answer.read()

    @contextmanager
    def payload(
        self, recording_id: str, number: int, reading: Reading, part: tuple[int, int] | None = None
    ) -> Iterator[Source]:
        path = f"/v1/recordings/{recording_id}/segments/{number}/payload"
        with self._ask("GET", path, part, **reading.query) as answer:
            yield answer

    def exported(self, recording_id: str, reading: Reading) -> None:
        self._json("POST", f"/v1/recordings/{recording_id}/exported", **reading.query)

    def reads(self, recording: str) -> Json:
        return self._json("GET", f"/v1/recordings/{quote(recording, safe='')}/reads")

    def verify_begin(self, *, deep: bool, anew: bool) -> Json:
        return self._json("POST", "/v1/verify/begin", deep=int(deep), anew=int(anew))

    def verify_recording(self, recording_id: str, *, run: str, repair: bool, plaintext: str | None) -> Json:
        path = f"/v1/verify/recordings/{recording_id}"
        looked = {} if plaintext is None else {"plaintext": plaintext}
        return self._json("POST", path, run=run, repair=int(repair), **looked)

    def verify_rest(self, *, run: str, repair: bool) -> Json:
        return self._json("POST", "/v1/verify/rest", run=run, repair=int(repair))

    def waveform(self, recording_id: str, number: int, reading: Reading) -> bytes:
        with self._ask("GET", f"/v1/recordings/{recording_id}/segments/{number}/waveform", **reading.query) as answer:
            return answer.read()

    def evidence(self, call: str, form: str, reading: Reading, *, signed: bool = True) -> Json:
        path = f"/v1/evidence/{quote(call, safe='')}"
        return self._json("GET", path, form=form, signed=int(signed), **reading.query)

    def act(self, act: str, call: str, role: str, reason: str, seconds: float) -> Json:
        query = {"as": role} | ({"reason": reason} if reason else {}) | ({"seconds": str(seconds)} if seconds else {})
        return self._json("POST", f"/v1/calls/{quote(call, safe='')}/{act}", **query)

    def reload(self) -> Json:
        return self._json("POST", "/v1/reload")

    def keys(self) -> Json:
        return self._json("GET", "/v1/keys")

    def headers(self, after: int) -> list[Json]:
        found: list[Json] = self._json("GET", "/v1/headers", after=after)
        return found

    def resend(self) -> Json:
        return self._json("POST", "/v1/resend")

    def rewrap(self, recording_id: str, number: int, body: Json) -> Json:
        path = f"/v1/recordings/{recording_id}/segments/{number}/rewrap"
        with self._ask("POST", path, None, json.dumps(body)) as answer:
            return json.loads(answer.read())

    def audit_entries(self, start: int, end: int) -> list[Json]:
        entries = self._json("GET", "/v1/audit/entries", start=start, end=end)
        assert isinstance(entries, list)
        return entries

    def audit_checkpoints(self) -> Json:
        return self._json("GET", "/v1/audit/checkpoints")

    def backups(self) -> list[Json]:
        found: list[Json] = self._json("GET", "/v1/backups")
        return found

    def backup_begun(self, backup_id: str, place: str, expires_at: str | None) -> None:
        self._json("POST", f"/v1/backups/{backup_id}", place=place, expires=expires_at or "")

    def backup_made(self, backup_id: str) -> None:
        self._json("POST", f"/v1/backups/{backup_id}/made")

    def accept_restore(self, reason: str) -> Json:
        return self._json("POST", "/v1/restore/accept", reason=reason)

    def retention_plan(self, policy: str, at: str) -> Json:
        return self._json("GET", "/v1/retention/plan", policy=policy, at=at)

    def retention_run(self) -> Json:
        return self._json("POST", "/v1/retention/run")

    def retention_approve(self, scopes: Sequence[str]) -> Json:
        query = urlencode([("scope", one) for one in scopes])
        return self._json("POST", f"/v1/retention/approve?{query}")

    def retention_clock_ok(self) -> Json:
        return self._json("POST", "/v1/retention/clock-ok")

    def policies(self) -> list[Json]:
        told: list[Json] = self._json("GET", "/v1/policies")
        return told

    def holds(self, *, released: bool) -> list[Json]:
        found: list[Json] = self._json("GET", "/v1/holds", released=int(released))
        return found

    def place_hold(self, asked: Json) -> Json:
        with self._ask("POST", "/v1/holds", None, json.dumps(asked)) as answer:
            return json.loads(answer.read())

    def release_hold(self, hold: str) -> Json:
        return self._json("POST", f"/v1/holds/{quote(hold, safe='')}/release")

    def erasure(self, verb: str, body: Json) -> Json:
        with self._ask("POST", f"/v1/erasure/{verb}", None, json.dumps(body)) as answer:
            return json.loads(answer.read())


def _refusal(response: http.client.HTTPResponse) -> CallwardenError:
    body = response.read(64 * 1024)
    try:
        error = json.loads(body)["error"]
        again = bool(error.get("retryable", False))
        return CallwardenError(
            error["code"], error["message"], hint=error["hint"], where=error["where"], retryable=again
        )
    except (ValueError, KeyError, TypeError):
        return CallwardenError("daemon.answer", f"the daemon answered {response.status} {response.reason}")


def unreachable(path: Path, cause: Exception) -> CallwardenError:
    """The daemon does not answer at `path`."""
    reason = "is not running (nothing listens on its socket)"
    if isinstance(cause, TimeoutError):
        reason = f"did not answer within {TIMEOUT_S:.0f} s"
    elif not isinstance(cause, FileNotFoundError | ConnectionRefusedError):
        reason = f"broke off the conversation: {cause}"
    return CallwardenError(
        "daemon.unreachable",
        f"the daemon {reason}",
        hint="start it with `callwarden run`, or see its log",
        retryable=True,
        where=str(path),
    )


def forbidden(path: Path) -> CallwardenError:
    """The socket is there but not for this user."""
    return CallwardenError(
        "environment.permission",
        "you may not open the daemon's socket",
        hint="run as the daemon's user, or as a member of the socket's group",
        where=str(path),
    )


@contextmanager
def open_door(config: Path) -> Iterator[Door]:
    """The daemon's socket if it listens, else the journal itself, under the daemon's lock.

    Raises config.* for a bad configuration, journal.locked when a daemon holds the journal but does not answer.
    """
    from edge.config import load, socket_of

    try:
        loaded = load(config)
    except CallwardenError:
        # A mistake in a policy must not shut people out from the daemon that runs under the policies of before.
        if (path := socket_of(config)) is None or not _listens(path):
            raise
        yield SocketDoor(path)
        return
    path = loaded.edge.socket
    if _listens(path):
        yield SocketDoor(path)
        return
    if not loaded.edge.journal.exists():
        raise unreachable(path, FileNotFoundError())
    from callwarden.offline import open_offline

    with open_offline(loaded) as door:
        yield door


def _listens(path: Path) -> bool:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(TIMEOUT_S)
    try:
        probe.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except PermissionError as error:
        raise forbidden(path) from error
    except OSError as error:
        raise unreachable(path, error) from error
    finally:
        probe.close()
    return True
