"""`callwarden receipt show`: what this edge signed about an erasure, from the daemon and from its journal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from edge.model.entities import ReceiptRow
from formats.orders import Ground, ReceiptClaims, sign_receipt
from tests.unit.cli import cli_makers as make
from tests.unit.cli.test_reading import over_socket


async def erased_by_itself(edge: make.Edge) -> tuple[make.Recorded, Ground]:
    """A recording that went after a withdrawal, with its receipt."""
    async with make.opened(edge) as files:
        recorded = await make.record(edge, files, [make.sound(2, 1)])
        row = await files.journal.recording(recorded.recording_id)
        assert row is not None
        ground = Ground(cause="withdrawal", call_id=row.call_id, recording_id=row.recording_id, event_seq=2)
        claims = ReceiptClaims(
            receipt_id=make.new_id(), jti=ground.jti, n=0, result="done", edge_id="edge-1",
            at=files.journal._clock.wall_text(), order_sha256=ground.sha256, recording_id=row.recording_id,
            key_ids=tuple(recorded.key_ids), slots=tuple(recorded.slots),
            evidence={"read_back": True, "ground": msgspec.to_builtins(ground)},
        )  # fmt: skip
        receipt = ReceiptRow(claims.receipt_id, claims.jti, 0, "done", sign_receipt(claims, edge.key), None)
        await files.journal.begin_erase(row.recording_id, None, "withdrawal")
        await files.journal.finish_erase(
            row.recording_id, erased_at=claims.at, cause="withdrawal", key_ids=recorded.key_ids, receipt=receipt
        )
    return recorded, ground


def test_it_is_shown_by_both_doors_and_holds(edge: make.Edge, tmp_path: Path) -> None:
    recorded, ground = asyncio.run(erased_by_itself(edge))
    offline = edge.run("receipt", "show", recorded.recording_id)
    assert offline.code == 0, offline.err
    (online,) = over_socket(edge, ("receipt", "show", ground.jti))
    assert online.out == offline.out
    assert offline.json["claims"]["recording_id"] == recorded.recording_id
    file = tmp_path / "receipt.json"
    file.write_text(offline.out)
    held = edge.run("receipt", "verify", file, "--trust", edge.paths["trust"])
    assert held.code == 0, held.err
    assert "nobody ordered it: withdrawal" in held.out


def test_no_receipt_is_not_found(filled: make.Edge) -> None:
    for subject in ("ab" * 16, "../../etc/passwd", "%"):
        none = filled.run("receipt", "show", subject)
        assert (none.code, none.out) == (5, "")
        assert "not_found.receipt" in none.err
