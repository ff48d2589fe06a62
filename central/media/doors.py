"""All doors of media."""

from __future__ import annotations

from central.doors import Door
from central.media import reading, upload


def doors() -> list[Door]:
    """Payloads in from edges, out to people."""
    return [*upload.doors(), *reading.doors()]
