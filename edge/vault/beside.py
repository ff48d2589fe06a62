"""What lies beside a payload: its sealed waveform (`<segment_id>.waveform`), and a payload that is to take another's place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

from edge.durable import write_all
from edge.errors import CallwardenError
from edge.failpoints import hit
from formats.ids import is_id

PAYLOAD: Final = ".payload"
WAVEFORM: Final = ".waveform"
#: Behind a waveform's name until it is whole.
NEW: Final = ".new"
#: A waveform's file is never larger (formats.waveform), bytes.
_MOST: Final = 1 << 16


class Beside:
    """The part of `edge.ports.Vault` that is about files beside payloads. Methods block and fsync."""

    def _folder(self, recording_id: str, *, make: bool = False) -> AbstractContextManager[int]:
        raise NotImplementedError

    def put_waveform(self, recording_id: str, segment_id: str, sealed: bytes) -> None:
        """See `edge.ports.Vault`. Raises CallwardenError vault.io."""
        name = _checked(segment_id) + WAVEFORM
        with self._folder(recording_id, make=True) as folder:
            temp = name + NEW
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(temp, flags, 0o600, dir_fd=folder)
            try:
                write_all(fd, memoryview(sealed), 0)
                os.fsync(fd)
            except OSError:
                os.unlink(temp, dir_fd=folder)
                raise
            finally:
                os.close(fd)
            os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
            hit("vault.waveform_kept")

    def waveform(self, recording_id: str, segment_id: str) -> bytes | None:
        """See `edge.ports.Vault`. Raises CallwardenError vault.io."""
        name = _checked(segment_id) + WAVEFORM
        try:
            with self._folder(recording_id) as folder:
                try:
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
                except FileNotFoundError:
                    return None
                try:
                    return os.read(fd, _MOST)
                finally:
                    os.close(fd)
        except CallwardenError as error:
            if error.code == "vault.missing":
                return None
            raise

    def take_place(self, recording_id: str, stage: str, segment_id: str) -> None:
        """See `edge.ports.Vault`. Raises CallwardenError vault.io."""
        try:
            with self._folder(recording_id) as folder:
                for suffix in (WAVEFORM, PAYLOAD):
                    old, new = _checked(stage) + suffix, _checked(segment_id) + suffix
                    try:
                        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
                    except FileNotFoundError:
                        continue  # an earlier try got this far
                    hit("vault.took_place")
                os.fsync(folder)
        except CallwardenError as error:
            if error.code != "vault.missing":
                raise

    def segments_on_disk(self, recording_id: str) -> Sequence[str]:
        """See `edge.ports.Vault`."""
        try:
            with self._folder(recording_id) as folder:
                names = os.listdir(folder)
        except CallwardenError as error:
            if error.code == "vault.missing":
                return []
            raise
        return sorted({stem for name in names if is_id(stem := name.partition(".")[0])})


def _checked(identifier: str) -> str:
    if not is_id(identifier):
        raise CallwardenError("vault.name", "a payload is named by ids of 32 hex digits")
    return identifier
