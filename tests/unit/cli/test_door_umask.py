"""Opening the local door must not spoil what other threads make in that moment: the umask belongs to the process."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

from edge.api.server import _bind


def test_folders_made_while_the_door_opens_can_be_entered(tmp_path: Path) -> None:
    stop, modes = threading.Event(), set()

    def recorder() -> None:
        number = 0
        while not stop.is_set():
            folder = tmp_path / f"recording-{number}"
            folder.mkdir(0o700)
            modes.add(stat.S_IMODE(folder.stat().st_mode))
            folder.rmdir()
            number += 1

    thread = threading.Thread(target=recorder)
    thread.start()
    try:
        for _ in range(2000):
            _bind(tmp_path / "edge.sock", 0o660, None).close()
    finally:
        stop.set()
        thread.join()
    assert modes == {0o700}


def test_the_socket_gets_exactly_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    _bind(path, 0o660, None).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    os.unlink(path)
