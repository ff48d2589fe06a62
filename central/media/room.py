"""The parts that hold payloads, opened once: the store, the uploads, a lock for each payload."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass, field

from central.media.folder import private_folder
from central.media.incoming import Incoming
from central.media.settings import MediaConfig
from central.media.store import MIB, Store, open_store


@dataclass
class Room:
    """One per process. full: the disk was, and nothing became whole since."""

    config: MediaConfig
    store: Store
    incoming: Incoming
    full: bool = False
    _locks: weakref.WeakValueDictionary[str, asyncio.Lock] = field(default_factory=weakref.WeakValueDictionary)

    def lock(self, key: str) -> asyncio.Lock:
        """Held by who changes what lies under a key in this process; other processes are told apart by the rows."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


def open_room(config: MediaConfig) -> Room | None:
    """None where no payload is kept. Raises CentralError config.media."""
    store = open_store(config)
    if store is None:
        return None
    private_folder(config.incoming)
    return Room(config, store, Incoming(config.incoming, config.keep_free * MIB))
