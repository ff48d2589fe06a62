"""Holding a folder against its manifest, and what is in it against what can be opened and what central knows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Known:
    """What central's doors say: its calls, recordings and edges, and every policy that an edge ever reported. Of a revoked edge
    nothing counts: no order reaches it."""

    calls: Sequence[dict[str, Any]]
    recordings: Sequence[dict[str, Any]]
    policies: Sequence[dict[str, Any]] = ()
    edges: Sequence[dict[str, Any]] = ()

    @property
    def revoked(self) -> set[str]:
        """Edges that nobody can export from any more, and that no order reaches."""
        return {one["edge_id"] for one in self.edges if one["state"] == "revoked"}


def missing(policy: str, taken: Sequence[Taken], known: Known) -> list[tuple[str, str]]:
    """(edge, recording) of everything under the policy that central knows with audio and no export has, sorted."""
    of_policy = {one["call_id"] for one in known.calls if (one["opened"] or {}).get("policy_id") == policy}
    return [(edge, recording) for edge, recording, call in _untaken(taken, known) if call in of_policy]


def unreadable(taken: Sequence[Taken], known: Known) -> list[tuple[str, str]]:
    """(edge, recording) of everything with audio that no export has, and of which central does not say the policy: the call is
    restricted, or was not reported whole. Sorted."""
    told = {one["call_id"] for one in known.calls if (one["opened"] or {}).get("policy_id") is not None}
    return [(edge, recording) for edge, recording, call in _untaken(taken, known) if call not in told]


def _untaken(taken: Sequence[Taken], known: Known) -> list[tuple[str, str, str | None]]:
    have = {(one.edge_id, recording) for one in taken for recording in (*one.recordings, *one.without_audio)}
    revoked = known.revoked
    return sorted(
        (row["edge_id"], row["recording_id"], row["call_id"])
        for row in known.recordings
        if row["edge_id"] not in revoked
        and row["state"] != "erased"
        and (row["sealed"] or {}).get("state") != "no_audio"
        and (row["edge_id"], row["recording_id"]) not in have
    )


def covered(policy: str, taken: Sequence[Taken], known: Known) -> None:
    """Nothing that central knows of speaks against the order. Raises export.uncovered, with the edges that have to be exported
    first. What a folder's edge has beside it that central cannot read is that edge's to protect: see `vouched`."""
    hint = "run this with --export-only on that edge's host, and put its folder beside the others"
    there = {one.edge_id for one in taken}
    if left := missing(policy, taken, known):
        what = f"{len(left)} recording(s) were not taken out, at {_named(left)}; the first is {left[0][1]}"
        raise CallwardenError("export.uncovered", what, hint=hint, where=policy)
    ran = {one["edge_id"] for one in known.policies if one["policy"] == policy and one["version"] is not None}
    if gone := sorted(ran - there - known.revoked):
        what = f"{', '.join(gone)} ran the policy, and may have recordings that central does not know of"
        raise CallwardenError("export.uncovered", what, hint=hint, where=policy)
    if dark := [one for one in unreadable(taken, known) if one[0] not in there]:
        what = (
            f"central does not say what {len(dark)} recording(s) at {_named(dark)} are under (they are restricted, or were not "
            f"reported whole); the first is {dark[0][1]}"
        )
        raise CallwardenError("export.uncovered", what, hint=hint, where=policy)


def vouched(edges: Iterable[str], taken: Sequence[Taken], known: Known) -> bool:
    """Whether the folder stands for everything that an order to `edges` reaches. Where it does not, the order must not say that
    all was handed over: each edge then refuses to destroy what it never exported itself."""
    return set(edges) <= {one.edge_id for one in taken} and not unreadable(taken, known)


def _named(found: Sequence[tuple[str, str]]) -> str:
    return ", ".join(sorted({edge for edge, _ in found}))
