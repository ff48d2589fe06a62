"""The tables inside a policy: which calls it is for, how audio is taken, how long it is kept, what leaves. Pure.

Frozen and hashable, so that a policy's document is made once. docs/configuration.md is made from the docstrings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from edge.consent.units import Day, Seconds
from formats.pcm import STORED


class Choices(Mapping[str, str]):
    """A table of text to text that can be compared and hashed; keeps the order in which it was written."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | None = None) -> None:
        self._items = dict(items or {})

    @classmethod
    def parse(cls, value: object) -> Choices:
        """Read one; raises ValueError with a sentence that says what is expected."""
        if isinstance(value, Choices):
            return value
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise ValueError(f'expected a table of text, like {{ "1" = "en" }}, not {value!r}')
        return cls(value)

    def __getitem__(self, key: str) -> str:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._items.items())))

    def __repr__(self) -> str:
        return f"Choices({self._items!r})"


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls a policy is for when the dialplan names none."""

    did: tuple[str, ...] = ()
    """Numbers that were dialled, compared by their digits ("+420…" and "00420…" are one). Default: none."""
    queue: tuple[str, ...] = ()
    """Names of queues, exactly. Default: none."""
    context: tuple[str, ...] = ()
    """Names of dialplan contexts, exactly. Default: none."""


class Capture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the audio is taken: a format without a header, so that bytes in the spool are final when written."""

    codec: Literal["sln", "sln16", "ulaw", "alaw"] = "sln"
    """ "sln": 16-bit linear at 8 kHz (default), what the telephone network carries; "sln16": the same at 16 kHz, twice the
    bytes, for wideband calls; "ulaw" and "alaw": G.711 at 8 kHz, half the bytes of "sln", and a pause is proven up to 4 s
    later, because Asterisk's buffer of 32 KiB fills more slowly."""
    rate: Literal[0, 8000, 16000] = 0
    """Samples per second, for the reader: it must be the codec's own. Default 0: the codec's."""
    channels: Literal[1, 2] = 2
    """2 keeps each side in a channel of its own (default), 1 mixes them."""
    seal_every: Seconds = Seconds(4)
    """Longest time between two seals, 0.5 s to 8 s; see `seal_tick`. Default "4s": one fsync per call and 4 s."""

    @property
    def hertz(self) -> int:
        """Samples per second."""
        return 16000 if self.codec == "sln16" else 8000

    @property
    def byte_rate(self) -> int:
        """Bytes per second of capture."""
        return self.hertz * self.frame_bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return STORED[self.codec] * self.channels

    @property
    def two_files(self) -> bool:
        """Whether each side is a file of its own, whatever the server: MixMonitor's option D interleaves 16-bit linear
        at 8 kHz and nothing else."""
        return self.channels == 2 and self.codec != "sln"


class CentralSharing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a call leaves for the central store."""

    number: Literal["clear", "hashed", "none"] = "none"
    """The other party's number in E.164, told when the call is over: in clear, as a hash under the fleet's search key, or not at
    all. Default "none": no number leaves this edge, and `locate` finds calls by asking it. "hashed": central can search, and reads
    no number, but who has the key can try all of them. "clear": central stores it sealed and destroys it when this edge forgets it.
    A caller's name is never sent, nor is a number that is no telephone number."""
    media: Literal["stay", "replicate"] = "stay"
    """Whether sealed audio is copied to central, as ciphertext. Default "stay": only where central fetches a recording.
    "replicate": every recording sealed from then on."""


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mode weaker than the jurisdiction's minimum, answered for by somebody. An alarm for as long as it stands."""

    who: str
    """The person who answers for it, by name or office."""
    why: str
    """The reason, with a reference to where it is written down."""
    until: Day
    """Last day on which it holds, "2027-06-30". After that the configuration is refused."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A further question, asked after the first one has passed: one key grants one group of purposes."""

    purposes: tuple[str, ...]
    """What a yes to this question allows besides; the prompt must say each."""
    prompt: str
    """Id of the prompt that asks, for example "ask_training"; the second time NAME_again is played, if there is one."""
    yes_key: str = "1"
    """The key that means yes here. Default "1"."""
