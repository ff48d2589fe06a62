"""SMTP within a time as a whole. smtplib's own time-out begins anew with every byte, so that a server which drips them would hold
a sender for ever."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType


class Bound:
    """`total_s` seconds from now. Then every connection that is `watched` is shut down, and whoever reads from it reads its end."""

    def __init__(self, total_s: float) -> None:
        self._end = time.monotonic() + total_s
        self._watched: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(total_s, self._shut)
        self._timer.daemon = True
        self.over = False

    def __enter__(self) -> Bound:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for one in self._watched:
                one.close()
            self._watched.clear()

    def left(self) -> float:
        """Seconds, 0.001 at least: as a socket's time-out 0 would mean another thing."""
        return max(0.001, self._end - time.monotonic())

    def watched(self, connection: socket.socket) -> socket.socket:
        """The connection. A copy of its descriptor is kept: TLS takes the object over."""
        with self._lock:
            self._watched.append(connection.dup())
        if self.over:
            self._shut()
        return connection

    def _shut(self) -> None:
        with self._lock:
            self.over = True
            for one in self._watched:
                with suppress(OSError):  # the other side was first
                    one.shutdown(socket.SHUT_RDWR)


class BoundSmtp(smtplib.SMTP):
    """Within a bound. addresses: of `host`, looked up already, tried in turn. tls: from the first byte, else nothing of it is secret
    before `starttls`. timeout: of a single read, seconds."""

    def __init__(
        self,
        bound: Bound,
        host: str,
        addresses: Sequence[str],
        port: int,
        timeout: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._bound, self._addresses, self._tls = bound, addresses, tls
        super().__init__(host, port, timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """As `smtplib.SMTP` asks for it, which has no other place for this."""
        made = self._bound.watched(self._connected(port, timeout))
        made.settimeout(timeout)
        return made if self._tls is None else self._tls.wrap_socket(made, server_hostname=host)

    def _connected(self, port: int, timeout: float) -> socket.socket:
        """To the first address that answers; all of them together have the bound. Raises OSError."""
        last = OSError("no address")
        for address in self._addresses:
            if self._bound.over:
                break
            try:
                return socket.create_connection((address, port), min(timeout, self._bound.left()))
            except OSError as error:
                last = error
        raise last
