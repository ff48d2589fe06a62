"""Audio files out of 16-bit PCM, written to a file that has no name yet: WAV by ourselves, FLAC and Opus by libsndfile.

Encoders write to the open file alone. Nothing of the audio lies in another place, not even for a moment.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from edge.errors import CallwardenError
from formats.errors import FormatError
from formats.wav import HEADER, wav_header

#: Ending of a file's name to form.
BY_ENDING: Final = {".wav": "wav", ".flac": "flac", ".opus": "opus", ".ogg": "opus"}
FORMATS: Final = ("wav", "flac", "opus")
#: libsndfile's words (https://libsndfile.github.io/libsndfile/api.html).
_SNDFILE: Final = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}
#: Hz that Opus knows (RFC 6716, section 2.1.3: its internal sampling rates).
OPUS_RATES: Final = (8000, 12000, 16000, 24000, 48000)


class Writer(Protocol):
    """Takes little-endian 16-bit samples, channels interleaved, whole frames."""

    def write(self, pcm: bytes, /) -> None: ...


def form_of(target: Path, named: str | None) -> str:
    """The form asked for by name, or by the file's ending; WAV where neither says."""
    return named or BY_ENDING.get(target.suffix.lower(), "wav")


def check_form(form: str, rate: int) -> None:
    """Before anything is read. Raises environment.extra where the encoder is not installed, usage.rate for what Opus cannot."""
    if form in _SNDFILE:
        _soundfile()
    if form == "opus" and rate not in OPUS_RATES:
        raise CallwardenError(
            "usage.rate", f"Opus has no rate of {rate} Hz", hint="take --format flac", where="--format"
        )


@contextmanager
def writer(form: str, file: IO[bytes], rate: int, channels: int) -> Iterator[Writer]:
    """Write `form` into `file`, which can be sought and is at its start; whole when the block ends well.

    Raises environment.extra, environment.encoder, environment.file, vault.wav (longer than a WAV can be).
    """
    if form == "wav":
        file.write(wav_header(0, rate, channels))
        yield _Plain(file)
        try:
            head = wav_header(file.tell() - HEADER, rate, channels)
        except FormatError as error:
            raise CallwardenError(error.code, error.message, hint="take --format flac, or parts of it") from error
        file.seek(0)
        file.write(head)
        file.seek(0, 2)
        return
    soundfile, careful = _soundfile(), _Careful(file)
    kind, subtype = _SNDFILE[form]
    try:
        with soundfile.SoundFile(careful, "w", rate, channels, subtype, format=kind) as sound:
            yield _Encoded(sound)
    except (soundfile.SoundFileError, AssertionError) as error:  # the wrapper asserts that everything was written
        careful.complain()
        raise CallwardenError("environment.encoder", f"{form} cannot be written: {error}") from error
    careful.complain()
    file.seek(0, 2)


class _Plain:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, pcm: bytes, /) -> None:
        self._file.write(pcm)


class _Encoded:
    def __init__(self, sound: Any) -> None:
        self._sound = sound

    def write(self, pcm: bytes, /) -> None:
        if sys.byteorder == "big":
            swapped = bytearray(pcm)
            swapped[0::2], swapped[1::2] = pcm[1::2], pcm[0::2]
            pcm = bytes(swapped)
        if pcm:
            self._sound.buffer_write(pcm, dtype="int16")


class _Careful:
    """What libsndfile writes through. An error in a callback is lost on its way through C, so it is kept here."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._failed: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self._failed = self._failed or error
            return 0

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:  # buffered bytes are written by it
            self._failed = self._failed or error
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """Nothing: the file is synced before it gets its name."""

    def complain(self) -> None:
        if self._failed is not None:
            raise CallwardenError("environment.file", f"cannot be written: {self._failed.strerror}") from self._failed


def _soundfile() -> Any:
    try:
        return importlib.import_module("soundfile")
    except (ImportError, OSError) as error:  # OSError: the wrapper is there and its library is not
        raise CallwardenError(
            "environment.extra",
            "FLAC and Opus need the package soundfile, which is not installed",
            hint="pip install 'callwarden[studio]'; WAV, --raw-age and --raw need nothing",
            where="--format",
        ) from error
