"""What an open hold or restriction covers, as SQL of our own that every book's queries share."""

# ruff: noqa: S608 - SQL of our own words; values are bound
from __future__ import annotations

from typing import Final

#: Kinds of rows in `hold`, as lists for `IN`.
HOLDS: Final = "('hold')"
RESTRICTIONS: Final = "('restriction')"
BOTH: Final = "('hold','restriction')"


def covers(recording: str, call: str, kinds: str = HOLDS) -> str:
    """A condition on `hold h`: open, one of `kinds`, and about this recording, its call or a person on that. `recording`
    and `call` are SQL expressions."""
    return (
        f"h.released_at IS NULL AND h.kind IN {kinds} AND (h.scope='recording' AND h.target={recording}"
        f" OR h.scope='call' AND h.target={call} OR h.scope='person' AND EXISTS(SELECT 1 FROM hold_cover v"
        f" WHERE v.hold_id=h.hold_id AND v.call_id={call}))"
    )


def covers_any(call: str, kinds: str = BOTH) -> str:
    """The same about a call or any recording of it."""
    return (
        f"h.released_at IS NULL AND h.kind IN {kinds} AND (h.scope='call' AND h.target={call}"
        f" OR h.scope='recording' AND h.target IN (SELECT y.recording_id FROM recording y WHERE y.call_id={call})"
        f" OR h.scope='person' AND EXISTS(SELECT 1 FROM hold_cover v WHERE v.hold_id=h.hold_id AND v.call_id={call}))"
    )
