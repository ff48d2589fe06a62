"""Holding a folder against its manifest, and what is in it against what can be opened and what central knows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from callwarden.contractend.folder import Place, Taken
from edge.errors import CallwardenError
from formats.age import Identity, decrypt_file
from formats.errors import AgeError, FormatError, PayloadError
from formats.keyset import KeySet


def verify(place: Place, policy: str, keys: KeySet, identities: Sequence[Identity]) -> tuple[Taken, int]:
    """The manifest is signed, every file is there with its hash and none besides, and with `identities` every age file opens to
    its end; how many did. Raises export.manifest, export.differs, export.unopened."""
    taken = place.taken(keys)
    if taken.policy != policy or taken.edge_id != place.path.name:
        raise CallwardenError("export.manifest", "it is about another policy or edge", where=str(place.manifest))
    found = place.facts()
    if found != taken.files:
        differing = sorted({one.name for one in {*found} ^ {*taken.files}})
        raise CallwardenError(
            "export.differs", f"{len(differing)} file(s) are not what was taken out: {', '.join(differing[:3])}",
            where=str(place.path), hint="move this edge's folder away, and export again",
        )  # fmt: skip
    opened = 0
    if identities:
        for one in taken.files:
            if one.name.endswith(".age"):
                _opens(place.path / one.name, identities)
                opened += 1
    return taken, opened


def _opens(path: Path, identities: Sequence[Identity]) -> None:
    """Down to the last byte; of a truncated segment to its last whole chunk."""
    recording, number, _ = path.name.split(".")
    bundle = json.loads((path.parent / f"{recording}.json").read_bytes())
    (segment,) = [one for one in bundle["segments"] if str(one["number"]) == number]
    size, cut = 0, False
    with path.open("rb") as file:
        try:
            for piece in decrypt_file(file, identities):
                size += len(piece)
        except PayloadError:
            cut = True
        except (AgeError, FormatError) as error:
            raise CallwardenError("export.unopened", f"it does not open: {error}", where=str(path)) from error
    if size != segment["plain_bytes"] or cut != (segment["state"] == "truncated"):
        raise CallwardenError("export.unopened", "it opens to another length than was recorded", where=str(path))


def missing(
    policy: str, taken: Iterable[Taken], calls: Sequence[dict[str, Any]], recordings: Sequence[dict[str, Any]]
) -> list[tuple[str, str]]:
    """(edge, recording) of everything under the policy that central knows with audio and no export has, sorted."""
    of_policy = {one["call_id"] for one in calls if (one["opened"] or {}).get("policy_id") == policy}
    have = {(one.edge_id, recording) for one in taken for recording in (*one.recordings, *one.without_audio)}
    return sorted(
        (row["edge_id"], row["recording_id"])
        for row in recordings
        if row["call_id"] in of_policy
        and row["state"] != "erased"
        and (row["sealed"] or {}).get("state") != "no_audio"
        and (row["edge_id"], row["recording_id"]) not in have
    )
