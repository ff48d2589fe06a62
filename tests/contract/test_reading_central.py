"""Audio out of central's media: behind an edge that has the payload no more, and with no edge at all; and what neither has."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from central.minimise import restrictions
from tests.contract.media_kit import uploaded
from tests.contract.recovery_kit import surroundings, syncing, vault_of
from tests.contract.test_recovery import audio, lose_the_journal
from tests.unit.central.central_kit import TestCentral
from tests.unit.central.media_kit import keeping
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with keeping(tmp_path / "central", tls=True) as central:
        yield central


@pytest.fixture
async def edge(tmp_path: Path, run_dir: Path, central: TestCentral) -> make.Edge:  # noqa: F811
    """Its payloads of `two`, `cut` and `big` are at central, too; that of `stays` is not."""
    return await uploaded(make.make_edge(tmp_path / "etc", run_dir), central)


async def log(central: TestCentral) -> list[dict[str, Any]]:
    _, page = await central.admin("GET", "/v1/log")
    return [json.loads(one["entry"]) for one in page["entries"]]


def lose(edge: make.Edge, word: str, number: int | None = None) -> None:
    """The payloads of a recording, or that of one segment."""
    paths = make.payloads(edge, edge.facts[word].recording_id)
    assert paths
    for path in paths if number is None else [paths[number]]:
        path.unlink()


async def test_a_payload_that_the_edge_has_no_more_comes_from_central(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    two, here = edge.facts["two"], surroundings(central)
    export = ("export", two.recording_id, "-i", edge.paths["operator_identity"], "--json", "-o")
    whole = await edge.arun(*export, tmp_path / "whole.wav", **here)
    assert (whole.code, whole.json["segments_from_central"]) == (0, 0), whole.err
    assert not [one for one in await log(central) if one["kind"] == "media.read"], "nothing was missing"
    lose(edge, "two", 0)
    alone = await edge.arun(*export, tmp_path / "alone.wav")
    assert (alone.code, "[vault.missing]" in alone.err) == (7, True)
    done = await edge.arun(*export, tmp_path / "out.wav", "--case", "case-7", "--reason", "she asked", **here)
    assert done.code == 0, done.err
    assert (done.json["segments_from_central"], done.json["verified"]) == (1, True)
    assert audio(tmp_path / "out.wav") == two.audio
    (entry,) = (one["body"] for one in await log(central) if one["kind"] == "media.read")
    told = {"recording_id": two.recording_id, "purpose": "quality", "reason": "she asked", "case": "case-7"}
    assert told.items() <= entry.items()
    part = await edge.arun(*export, tmp_path / "part.wav", "--from", "1s", "--to", "6s", **here)
    assert part.code == 0, part.err
    assert audio(tmp_path / "part.wav") == two.audio[8000 * 4 : 6 * 8000 * 4]
    reads = (await edge.arun("reads", two.recording_id, "--json")).json
    assert [one["kind"] for one in reads].count("recording.exported") == 3, "the edge has the copies on file, too"


async def test_what_is_refused_is_not_to_be_had_from_the_other(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    two, here = edge.facts["two"], surroundings(central)
    lose(edge, "two")
    export = ("export", two.recording_id, "-i", edge.paths["operator_identity"], "-o", tmp_path / "out.wav")
    gossip = await edge.arun(*export, "--purpose", "gossip", **here)
    assert (gossip.code, "[command.purpose]" in gossip.err) == (6, True)
    assert not [one for one in await log(central) if one["kind"] in ("media.read", "read.refused")], "the edge refused"
    from_central = await edge.arun(*export, "--from-central", "--purpose", "gossip", **here)
    assert (from_central.code, "[command.purpose]" in from_central.err) == (6, True)
    held = {"call_id": two.call.call_id, "hold_id": "ab" * 16}
    assert central.running is not None
    await central.running.central.db.run(lambda conn: restrictions.place(conn, "edge-1", held))
    for how in ((), ("--from-central",)):
        done = await edge.arun(*export, *how, **here)
        assert (done.code, "[command.restricted]" in done.err) == (6, True)
    refused = [one["body"] for one in await log(central) if one["kind"] == "read.refused"]
    assert [(one["what"], one["why"]) for one in refused] == [
        ("recording.read", "purpose"), ("media.read", "restricted"), ("recording.read", "restricted"),
    ]  # fmt: skip
    assert not (tmp_path / "out.wav").exists()
    claim = await edge.arun(*export, "--from-central", "--purpose", "legal_claims", "--case", "case-7", **here)
    assert claim.code == 0, claim.err


async def test_what_neither_has_is_said(edge: make.Edge, central: TestCentral, tmp_path: Path) -> None:
    stays, here = edge.facts["stays"], surroundings(central)
    lose(edge, "stays")
    export = ("export", stays.recording_id, "-i", edge.paths["operator_identity"], "-o", tmp_path / "out.wav")
    none = await edge.arun(*export, **here)
    assert none.code == 7
    assert "neither this edge nor central has the payload of segment 0 [vault.missing]" in none.err
    gone = await edge.arun(*export, "--from-central", **here)
    assert (gone.code, "central order fetch" in gone.err) == (7, True)
    await central.stop()
    away = await edge.arun(*export, **here)
    assert (away.code, "[sync.unreachable]" in away.err) == (4, True)
    assert list(tmp_path.glob("out.*")) == []


async def test_with_its_host_gone_central_has_all_of_it(edge: make.Edge, central: TestCentral, tmp_path: Path) -> None:
    two, cut, here = edge.facts["two"], edge.facts["cut"], surroundings(central)
    identity = edge.paths["operator_identity"]
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await make.erase(files, edge.facts["big"])
        await sync.flush()
    lose_the_journal(edge)
    shutil.rmtree(vault_of(edge))
    for one, ending in ((two, "complete"), (cut, "cut")):
        out = tmp_path / f"{ending}.wav"
        done = await make.acommand(
            "export", one.recording_id, "--from-central", "-i", identity, "-o", out, "--json", **here
        )
        assert done.code == 0, done.err
        assert (audio(out), done.json["verified"], done.json["purpose"]) == (one.audio, True, "quality")
    raw = await make.acommand(
        "export", two.recording_id, "--from-central", "--raw-age", "-o", tmp_path / "x.age", **here
    )
    assert (raw.code, len(list(tmp_path.glob("x*.age")))) == (0, 2), raw.err
    raw = await make.acommand("export", two.recording_id, "--from-central", "--raw", "-o", tmp_path / "raw", **here)
    assert (raw.code, len(list((tmp_path / "raw").iterdir()))) == (0, 5), raw.err
    short = await make.acommand("export", two.recording_id[:8], "--from-central", "-i", identity, "-o", "x", **here)
    assert (short.code, "[usage.recording]" in short.err) == (2, True)
    for word, code in (("big", "not_found.erased"), ("live", "command.live")):
        refused = await make.acommand(
            "export", edge.facts[word].recording_id, "--from-central", "-i", identity, "-o", tmp_path / "no.wav", **here
        )
        assert f"[{code}]" in refused.err
    kinds = [one["kind"] for one in await log(central)]
    assert (kinds.count("media.read"), kinds.count("headers.given")) == (7, 5)
