"""What an edge erases without an order stands on: a withdrawal by somebody on the call, a reported incident, or its age.

The ground is inside the receipt (`evidence.ground`), signed by the edge with everything else. Its SHA-256 stands where
the order's would, and the first half of that is the receipt's `jti`, so that repeats answer the same thing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from formats import canonical
from formats.errors import FormatError, OrderError
from formats.ids import check_id

Cause = Literal["withdrawal", "incident", "retention"]
#: The member of a receipt's evidence that holds it.
MEMBER = "ground"


class Ground(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`event_seq`: the consent event in the edge's journal that asked for it, null for an incident and for its age."""

    cause: Cause
    call_id: str
    recording_id: str
    event_seq: int | None = None

    @property
    def sha256(self) -> str:
        """SHA-256, hex, over the canonical JSON."""
        return hashlib.sha256(canonical.dumps(msgspec.to_builtins(self))).hexdigest()

    @property
    def jti(self) -> str:
        """Under which the receipts about it are numbered."""
        return self.sha256[:32]


def ground_of(evidence: Mapping[str, Any]) -> Ground | None:
    """The ground in a receipt's evidence, None where an order was answered. Raises OrderError `command.malformed`."""
    if MEMBER not in evidence:
        return None
    try:
        ground = msgspec.convert(evidence[MEMBER], Ground)
        check_id(ground.call_id, "call_id")
        check_id(ground.recording_id, "recording_id")
    except (msgspec.ValidationError, FormatError) as error:
        raise OrderError("command.malformed", f"the ground is malformed: {error}") from error
    return ground
