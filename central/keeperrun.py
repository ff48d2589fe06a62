"""The process that `callwarden central keeper` is: the slot file, the socket, and the sweep after a start."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import structlog

from central import config
from central.config import CentralConfig
from central.db import locally
from central.errors import CentralError
from central.keeperlink import SETTLE_S, KeeperServer
from central.slotfile import SlotFile
from central.state import bury, named_slots

_log = structlog.get_logger("central")


class KeeperProcess:
    """Slot file and socket, served in a thread until `stop`."""

    def __init__(self, settings: CentralConfig, *, settle_s: float = SETTLE_S) -> None:
        """Raises CentralError keeper.*, environment.*, config.keeper_socket."""
        if settings.keeper_socket is None:
            raise CentralError(
                "config.keeper_socket",
                "the configuration names no socket for a keeper of its own",
                where="[central] keeper_socket",
                hint='keeper_socket = "keeper.sock"; without it `callwarden central run` keeps the keys itself',
            )
        self._settings = settings
        self._slots = SlotFile(settings.keeper, allow_copy_on_write=settings.allow_copy_on_write)
        try:
            locally(settings, lambda conn: bury(self._slots, conn))
            self._slots.commit()
            self._slots.reserve(locally(settings, named_slots))
            self._slots.suspect()
            self._server = KeeperServer(settings.keeper_socket, self._slots)
        except CentralError:
            self._slots.close()
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, name="keeper", daemon=True)
        self._settle_s = settle_s
        self._thread.start()
        self._later()

    def _later(self) -> None:
        self._sweep = threading.Timer(self._settle_s, self._sweep_once)
        self._sweep.daemon = True
        self._sweep.start()

    def _sweep_once(self) -> None:
        """Keys that were there at the start, and that no row names now, belong to nobody."""
        try:
            count = self._slots.sweep_suspects(locally(self._settings, named_slots))
        except CentralError as error:
            _log.error("keys without a row are not destroyed yet; it is tried again", why=str(error))
            self._later()
            return
        if count:
            _log.warning("keys without a row were destroyed", count=count)

    def stop(self) -> None:
        """Close the socket and the file."""
        self._sweep.cancel()
        self._server.shutdown()
        self._server.server_close()
        self._slots.close()


def run(path: Path) -> None:
    """Load `central.toml` and serve until SIGTERM or SIGINT (blocking)."""
    settings = config.load(path)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    keeper = KeeperProcess(settings)
    _log.info("the keeper listens", socket=str(settings.keeper_socket))
    stop.wait()
    keeper.stop()
    _log.info("the keeper stopped")
