"""One keeper for several processes of central: it runs alone (`callwarden central keeper`) and the others ask it.

Over a Unix socket, a line of JSON each way; one connection is one thread of a central process, so what the slot file knows
of a thread's transaction holds here too. A connection that ends in the middle of a transaction leaves its new keys where
they are: whether their rows were committed is not known, so they are looked for once no such transaction can be under
way any more (SETTLE_S after the next start), and go if no row names them.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import stat
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from central.errors import CentralError
from central.slotfile import SlotFile

_log = structlog.get_logger("central")

#: No transaction of central lasts so long, seconds (`central.postgres` ends one that does).
SETTLE_S: Final = 60.0
#: A line is a few thousand slot numbers at most, bytes.
LINE: Final = 1 << 20


class Keeper(Protocol):
    """What jobs do with shred keys; see `central.slotfile.SlotFile`, which does it."""

    def put(self, key: bytes) -> int: ...
    def flush(self) -> None: ...
    def read(self, number: int) -> bytes: ...
    def shred(self, numbers: Sequence[int]) -> None: ...
    def discard(self, numbers: Sequence[int]) -> None: ...
    def commit(self) -> None: ...
    def mark(self) -> tuple[int, int, int]: ...
    def roll_back_to(self, mark: tuple[int, int, int]) -> None: ...
    def roll_back(self) -> None: ...
    def abandon(self) -> None: ...
    def sweep(self, in_use: Iterable[int]) -> int: ...
    def close(self) -> None: ...


class _Link(threading.local):
    """One thread's connection. `busy`: its transaction has done something in the keeper."""

    def __init__(self) -> None:
        self.file: Any = None
        self.busy = False


class KeeperLink:
    """See `Keeper`: asks the process that has the slot file. Raises CentralError keeper.away when it is not there; what a
    transaction wrote before is then rolled back with its rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link = _Link()
        self.mark()  # it is there, and answers

    def put(self, key: bytes) -> int:
        """A key into a free slot."""
        number = int(self._ask("put", key.hex()))
        self._link.busy = True
        return number

    def flush(self) -> None:
        """Sync what this thread put."""
        if self._link.busy:
            self._ask("flush")

    def read(self, number: int) -> bytes:
        """The key in a slot."""
        return bytes.fromhex(self._ask("read", number))

    def shred(self, numbers: Sequence[int]) -> None:
        """Overwrite, sync, read back."""
        self._ask("shred", list(numbers))
        self._link.busy = True

    def discard(self, numbers: Sequence[int]) -> None:
        """Destroy these once the rows are committed."""
        self._ask("discard", list(numbers))
        self._link.busy = True

    def commit(self) -> None:
        """The rows are committed; the keeper hears of it when it can, and frees later what it did not hear of."""
        self._ended("commit")

    def mark(self) -> tuple[int, int, int]:
        """A savepoint."""
        fresh, spent, unnamed = self._ask("mark")
        return int(fresh), int(spent), int(unnamed)

    def roll_back_to(self, mark: tuple[int, int, int]) -> None:
        """Destroy what was put since."""
        self._ask("roll_back_to", list(mark))

    def roll_back(self) -> None:
        """The rows are not committed."""
        self._ended("roll_back")

    def abandon(self) -> None:
        """Whether the rows are committed is not known: the connection ends, which says so."""
        self._link.busy = False
        self._hang_up()

    def sweep(self, in_use: Iterable[int]) -> int:
        """The keeper's own process does that."""
        return 0

    def close(self) -> None:
        """Each thread's connection ends with its thread."""
        self._hang_up()

    def _hang_up(self) -> None:
        broken, self._link.file = self._link.file, None
        if broken is not None:
            with contextlib.suppress(OSError):  # what could not be sent is lost with it
                broken.close()

    def _ended(self, how: str) -> None:
        if not self._link.busy:
            return
        self._link.busy = False
        try:
            self._ask(how)
        except CentralError as error:
            _log.warning("the keeper did not hear how a transaction ended", how=how, why=str(error))

    def _ask(self, do: str, what: Any = None) -> Any:
        """One question and its answer. A connection that the keeper's restart has ended is made anew, once, where this
        thread's transaction has done nothing over it."""
        tries = 2 if self._link.file is not None and not self._link.busy else 1
        while True:
            tries -= 1
            try:
                line = self._exchange(json.dumps([do, what]).encode() + b"\n")
                break
            except OSError as error:
                self._hang_up()
                if not tries:
                    raise CentralError(
                        "keeper.away",
                        f"the keeper does not answer: {error}",
                        status=503,
                        where=str(self._path),
                        hint="is `callwarden central keeper` running?",
                    ) from error
        answer = json.loads(line)
        if "error" in answer:
            raise CentralError(answer["error"], answer["message"], status=answer["status"], where=answer["where"])
        return answer["ok"]

    def _exchange(self, question: bytes) -> bytes:
        if self._link.file is None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(SETTLE_S / 2)
                connection.connect(str(self._path))
                self._link.file = connection.makefile("rwb")  # which keeps it open
        self._link.file.write(question)
        self._link.file.flush()
        line = bytes(self._link.file.readline(LINE))
        if not line.endswith(b"\n"):
            raise ConnectionError("it closed the connection")
        return line


class _Handler(socketserver.StreamRequestHandler):
    """One thread of one central process, from its first question to its end."""

    server: KeeperServer

    def handle(self) -> None:
        slots = self.server.slots
        self.server.open.add(self.connection)
        doings: dict[str, Callable[[Any], Any]] = {
            "put": lambda what: slots.put(bytes.fromhex(what)),
            "flush": lambda _: slots.flush(),
            "read": lambda what: slots.read(what).hex(),
            "shred": slots.shred,
            "discard": slots.discard,
            "commit": lambda _: slots.commit(),
            "mark": lambda _: slots.mark(),
            "roll_back_to": lambda what: slots.roll_back_to((what[0], what[1], what[2])),
            "roll_back": lambda _: slots.roll_back(),
        }
        try:
            while (line := self.rfile.readline(LINE)).endswith(b"\n"):
                do, what = json.loads(line)
                try:
                    answer: dict[str, Any] = {"ok": doings[do](what)}
                except CentralError as error:
                    answer = {
                        "error": error.code,
                        "message": error.message,
                        "status": error.status,
                        "where": error.where,
                    }
                self.wfile.write(json.dumps(answer).encode() + b"\n")
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            _log.error("a connection to the keeper ended", why=repr(error))
        finally:
            slots.abandon()
            self.server.open.discard(self.connection)


class KeeperServer(socketserver.ThreadingUnixStreamServer):
    """Listens at `path` (0600: whoever reaches it reads keys); only processes of this user are answered."""

    daemon_threads = True

    def __init__(self, path: Path, slots: SlotFile) -> None:
        """Raises CentralError environment.port."""
        self.slots = slots
        self.open: set[socket.socket] = set()
        try:
            if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()  # the slot file's lock says that its owner is gone
            before = os.umask(0o177)
            try:
                super().__init__(str(path), _Handler)
            finally:
                os.umask(before)
        except OSError as error:
            raise CentralError("environment.port", f"cannot listen: {error}", where=str(path)) from error

    def server_close(self) -> None:
        """Also the connections that are open: who holds one hears of it at once."""
        super().server_close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whoever connects must be this user, or root."""
        credentials = request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, _ = struct.unpack("3i", credentials)
        return uid in (0, os.geteuid())
