"""A word beside what the files say: which policies are in force by an order instead."""

from __future__ import annotations

import contextlib
from collections.abc import Collection


def note_ordered(names: Collection[str] | None = None) -> None:
    """Say it on stderr, of these policies or of all. Nothing where no daemon answers: it alone knows."""
    from callwarden.door import open_door
    from callwarden.options import config_path
    from callwarden.output import note, plain
    from edge.errors import CallwardenError

    with contextlib.suppress(CallwardenError), open_door(config_path()) as door:
        for one in door.erasure("in-force", {})["policies"]:
            if one["state"] == "waits" or one["files_own"] or (names is not None and one["policy"] not in names):
                continue
            note(
                f'policy "{plain(one["policy"])}": order {one["order"]} wins over the files (callwarden config ordered)'
            )
