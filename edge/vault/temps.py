"""Temporary files that a kill left in the vault, for who verifies."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Sequence
from typing import Final

from edge.model.entities import RecordingRow

#: As `edge.durable.write_file` names them, and `edge.vault.beside`.
_TEMP: Final = re.compile(r"\.[^/]+\.[0-9a-f]{16}\.tmp|[0-9a-f]{32}\.waveform\.new")
#: A file that is younger may still be written, seconds.
_OLD_S: Final = 3600


class VaultTemps:
    """Implements `edge.ports.integrity.Leftovers` below the vault's folder."""

    kinds = frozenset({"vault"})

    def __init__(self, root: str) -> None:
        self._root = os.path.abspath(root)

    def strangers(self, live: Sequence[RecordingRow]) -> Sequence[tuple[str, str]]:
        """See `edge.ports.integrity.Leftovers`; names are relative to the vault, links are not followed."""
        found = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                if not _TEMP.fullmatch(name):
                    continue
                path = os.path.join(folder, name)
                try:
                    info = os.lstat(path)
                except FileNotFoundError:
                    continue  # it was renamed a moment ago
                if stat.S_ISREG(info.st_mode) and time.time() - info.st_mtime > _OLD_S:
                    found.append(("vault", os.path.relpath(path, self._root)))
        return found

    def remove(self, kind: str, name: str) -> None:
        """See `edge.ports.integrity.Leftovers`."""
        try:
            os.unlink(os.path.join(self._root, name))
        except FileNotFoundError:
            pass  # somebody was here before
