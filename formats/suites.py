"""The suites a segment can be sealed with, behind one interface: `age1` and `aes256gcm`.

A segment is a header (which gives the file key to recipients; kept under a shred key) and a payload (a prefix, then
chunks). Both suites differ in sizes, in what a last chunk looks like, and in whether a restarted writer may go on; whoever
seals, opens, verifies or rewraps asks the `Suite` and branches nowhere. `suite_of` finds one by the name that rows and
manifests carry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, Protocol

from formats import aesgcm, age
from formats.age.stanza import Identity, RandBytes, Recipient
from formats.age.stream import Buffer, Reader, fill
from formats.errors import PayloadError, SuiteError
from formats.place import Place

#: What `Suite.write` reads at a time, bytes: whole chunks of every suite.
BLOCK: Final = 1 << 16
#: Bytes of the tag behind each chunk, in every suite.
TAG: Final = 16


class Sealer(Protocol):
    """Seals chunks of one payload. Keeps no position, so sealing again makes the same bytes again."""

    prefix: bytes
    """What the payload begins with, before its first chunk."""

    def seal(self, index: int, plaintext: Buffer, last: bool) -> bytes:
        """The sealed chunk, 16 bytes longer; releases the GIL. Raises SealError `vault.chunk` on a wrong size."""
        ...


class Opener(Protocol):
    """Opens chunks of one payload, in any order."""

    def open(self, index: int, sealed: Buffer, last: bool) -> bytes:
        """The chunk's plaintext. Raises PayloadError `vault.payload`."""
        ...


class Suite(ABC):
    """One way to seal a segment. Sizes in bytes."""

    #: The word of it in policies, rows and manifests.
    name: ClassVar[str]
    #: Plaintext of a whole chunk.
    chunk: ClassVar[int]
    #: What the payload begins with.
    prefix: ClassVar[int]
    #: A file key.
    file_key: ClassVar[int]
    #: What is drawn at random for one payload, beside the file key.
    salt: ClassVar[int]
    #: Whether a last chunk is always shorter than a whole one, so that it is empty where the plaintext ends at a chunk's
    #: end. Where not, a last chunk has 1 to `chunk` bytes, and only an empty payload has an empty one.
    short_last: ClassVar[bool]
    #: Whether a restarted writer may go on with an open segment.
    resumes: ClassVar[bool]

    # -- keys

    @abstractmethod
    def make_header(
        self, file_key: bytes, recipients: Sequence[Recipient], place: Place, *, randbytes: RandBytes
    ) -> bytes:
        """A header that gives `file_key` to each recipient (`formats.age.parse_recipient`).

        Raises KeyFormatError `recipient.*`, ValueError on a file key of another length.
        """

    @abstractmethod
    def open_header(self, header: bytes, identities: Sequence[Identity], place: Place) -> bytes:
        """The file key. Raises HeaderError, NoMatchError, MacError."""

    # -- chunks

    @abstractmethod
    def sealer(self, file_key: bytes, salt: bytes, place: Place) -> Sealer:
        """What seals the payload of one segment. Raises ValueError on keys of another length."""

    @abstractmethod
    def opener(self, file_key: bytes, prefix: bytes, place: Place) -> Opener:
        """What opens a payload that begins with `prefix`.

        Raises HeaderError where the prefix is cut, PayloadError where it does not fit key and place (`aes256gcm`).
        """

    @abstractmethod
    def read(self, file_key: bytes, place: Place, source: Reader) -> Iterator[bytes]:
        """The plaintext of a closed payload, prefix first; only verified chunks are released.

        Raises PayloadError where it was cut, altered, reordered or extended, HeaderError where the prefix is cut.
        """

    @abstractmethod
    def read_truncated(self, file_key: bytes, place: Place, source: Reader) -> Iterator[bytes]:
        """The whole chunks of a payload without a last chunk, which only a signed manifest can call right."""

    # -- arithmetic, the same for all

    @property
    def enc_chunk(self) -> int:
        """Bytes of a whole sealed chunk."""
        return self.chunk + TAG

    def chunk_offset(self, index: int) -> int:
        """Where chunk `index` starts in the payload file."""
        return self.prefix + index * self.enc_chunk

    def chunk_count(self, plain_bytes: int) -> int:
        """How many chunks a closed payload of so many plaintext bytes has, its last one included."""
        return plain_bytes // self.chunk + 1 if self.short_last else max(1, -(-plain_bytes // self.chunk))

    def payload_size(self, plain_bytes: int) -> int:
        """Bytes of the payload file, prefix included, of a closed payload."""
        return self.prefix + plain_bytes + self.chunk_count(plain_bytes) * TAG

    def truncated_size(self, chunks: int) -> int:
        """Bytes of the payload file of a truncated segment of so many whole chunks."""
        return self.prefix + chunks * self.enc_chunk

    def read_range(self, opener: Opener, sealed: Buffer, first: int, last_index: int | None) -> bytes:
        """The plaintext of consecutive whole chunks that start with chunk `first`.

        sealed: the payload's bytes from `chunk_offset(first)` on, to a chunk's end. last_index: the number of the last
        chunk as the manifest has it (`chunks - 1`), or None for a truncated segment. Raises PayloadError.
        """
        view = memoryview(sealed)
        if not view.nbytes:
            raise PayloadError("vault.payload", "no chunk was read")
        plain = []
        for number, at in enumerate(range(0, view.nbytes, self.enc_chunk)):
            index = first + number
            if last_index is not None and index > last_index:
                raise PayloadError("vault.payload", "bytes follow the last chunk")
            plain.append(opener.open(index, view[at : at + self.enc_chunk], last=index == last_index))
        return b"".join(plain)

    def write(self, file_key: bytes, salt: bytes, place: Place, source: Reader) -> Iterator[bytes]:
        """A whole closed payload of everything `source` gives: the prefix, then the sealed chunks."""
        sealer, whole, index = self.sealer(file_key, salt, place), self.chunk, 0
        yield sealer.prefix
        block = fill(source, BLOCK)
        while len(block) == BLOCK and (after := fill(source, BLOCK)):
            view = memoryview(block)
            for at in range(0, BLOCK, whole):
                yield sealer.seal(index, view[at : at + whole], False)
                index += 1
            block = after
        view, last = memoryview(block), self.chunk_count(len(block)) - 1
        for number in range(last + 1):
            yield sealer.seal(index + number, view[number * whole : (number + 1) * whole], number == last)


class Age1(Suite):
    """age v1 with a detached header: `header || payload` is a plain age file (docs/spec/age-detached.md).

    age binds nothing to a place; the signed manifest does.
    """

    name = "age1"
    chunk = age.CHUNK
    prefix = age.NONCE
    file_key = age.FILE_KEY
    salt = age.NONCE
    short_last = False
    resumes = True

    def make_header(
        self, file_key: bytes, recipients: Sequence[Recipient], place: Place, *, randbytes: RandBytes
    ) -> bytes:
        """See `Suite`."""
        return age.make_header(file_key, recipients, randbytes=randbytes)

    def open_header(self, header: bytes, identities: Sequence[Identity], place: Place) -> bytes:
        """See `Suite`."""
        return age.open_header(header, identities)

    def sealer(self, file_key: bytes, salt: bytes, place: Place) -> Sealer:
        """See `Suite`."""
        return age.ChunkSealer(file_key, salt)

    def opener(self, file_key: bytes, prefix: bytes, place: Place) -> Opener:
        """See `Suite`."""
        return age.ChunkOpener(file_key, age.check_nonce(prefix))

    def read(self, file_key: bytes, place: Place, source: Reader) -> Iterator[bytes]:
        """See `Suite`."""
        return age.decrypt_stream(file_key, source)

    def read_truncated(self, file_key: bytes, place: Place, source: Reader) -> Iterator[bytes]:
        """See `Suite`."""
        return age.decrypt_truncated(file_key, source)


class Aes256Gcm(Suite):
    """AES-256-GCM in chunks of 16 KiB, key-committing and tied to its place (docs/spec/aes256gcm.md)."""

    name = "aes256gcm"
    chunk = aesgcm.CHUNK
    prefix = aesgcm.PREFIX
    file_key = aesgcm.FILE_KEY
    salt = aesgcm.SALT
    short_last = True
    resumes = False

    #: What the payload's key derivation is told of the place.
    _CONTEXT: ClassVar[bytes] = b"callwarden/aes256gcm/v1/payload"

    def make_header(
        self, file_key: bytes, recipients: Sequence[Recipient], place: Place, *, randbytes: RandBytes
    ) -> bytes:
        """See `Suite`. `randbytes` is not used: HPKE draws from the library."""
        return aesgcm.make_header(file_key, recipients, place)

    def open_header(self, header: bytes, identities: Sequence[Identity], place: Place) -> bytes:
        """See `Suite`."""
        return aesgcm.open_header(header, identities, place)

    def sealer(self, file_key: bytes, salt: bytes, place: Place) -> Sealer:
        """See `Suite`."""
        return aesgcm.ChunkSealer(file_key, salt, place.under(self._CONTEXT))

    def opener(self, file_key: bytes, prefix: bytes, place: Place) -> Opener:
        """See `Suite`."""
        return aesgcm.ChunkOpener(file_key, prefix, place.under(self._CONTEXT))

    def read(self, file_key: bytes, place: Place, source: Reader) -> Iterator[bytes]:
        """See `Suite`."""
        return aesgcm.decrypt_stream(file_key, source, place.under(self._CONTEXT))

    def read_truncated(self, file_key: bytes, place: Place, source: Reader) -> Iterator[bytes]:
        """See `Suite`."""
        return aesgcm.decrypt_truncated(file_key, source, place.under(self._CONTEXT))


AGE1: Final = Age1()
AES256GCM: Final = Aes256Gcm()
SUITES: Final[dict[str, Suite]] = {suite.name: suite for suite in (AGE1, AES256GCM)}


def suite_of(name: str) -> Suite:
    """The suite that rows and manifests call `name`. Raises SuiteError `vault.suite`."""
    try:
        return SUITES[name]
    except KeyError:
        raise SuiteError("vault.suite", f"the suite {name[:32]!r} is not known to this version") from None
