"""Values about what must be kept, and what may not be read. Frozen, no behaviour; spellings as in `edge.model.entities`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: `hold`: nothing of it is erased. `restriction`: nobody reads it but for legal claims, and it does not go by itself.
HOLD_KINDS: Final = ("hold", "restriction")
HOLD_SCOPES: Final = ("recording", "call", "person")


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold or restriction. target: id of the recording or call; of a person the HMAC (hex) of their number under the key
    of remembered numbers. placed_by, release_first_by, released_by: `uid:N` at the door, `key:KID` by an order. label: how
    the placer calls it. calls: how many calls a person's covers so far."""

    hold_id: str
    kind: str
    scope: str
    target: str
    reason: str
    case_ref: str | None
    placed_by: str
    placed_at: str
    label: str = ""
    release_first_by: str | None = None
    release_asked_at: str | None = None
    released_by: str | None = None
    released_at: str | None = None
    calls: int = 0

    @property
    def open(self) -> bool:
        """Whether it still keeps something."""
        return self.released_at is None
