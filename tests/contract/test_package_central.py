"""A person's access package where the edge has the audio no more, or is not here: out of central's media, and said where it is not."""

from __future__ import annotations

import asyncio
import csv
import io
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from callwarden import keyfiles
from callwarden.accesspackage.package import Asked, Package
from callwarden.accesspackage.sources import EdgeSource
from callwarden.centralclient import CentralClient
from callwarden.centraldoor import CentralPayloads, EdgeThenCentral
from callwarden.door import Door, Reading, open_door
from central.conn import Conn
from central.minimise import restrictions
from edge.errors import CallwardenError
from tests.contract.media_kit import uploaded
from tests.contract.recovery_kit import vault_of
from tests.contract.test_reading_central import log, lose
from tests.contract.test_recovery import lose_the_journal
from tests.unit.central.central_kit import TestCentral, TestEdge
from tests.unit.central.media_kit import keeping
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory
from tests.unit.cli.test_access_package import Desk, answering, opened, shown, sides, split


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with keeping(tmp_path / "central") as central:
        yield central


@pytest.fixture
async def edge(tmp_path: Path, run_dir: Path, central: TestCentral) -> make.Edge:  # noqa: F811
    """Its payloads of `two` are at central, too; that of `stays` is not."""
    return await uploaded(make.make_edge(tmp_path / "etc", run_dir), central)


async def reviewed(central: TestCentral, edge: make.Edge, *words: str) -> tuple[Desk, str]:
    """A case in which these calls were found and included."""
    desk = Desk(central, central.token, edge)
    sender = TestEdge(central, edge_id="edge-1", key=edge.key, enrol=False)
    work = asyncio.create_task(answering(central, sender, [edge.facts[word].call.call_id for word in words]))
    try:
        ref = (await desk.good("new", "--kind", "access", "--number", "+420777123456")).out.strip()
        await desk.good("identify", ref, "--method", "document", "--note", "passport")
        await desk.good("search", ref)
        await desk.good("review", ref, "--include-rest", "--reason", "all hers", "--done")
    finally:
        work.cancel()
    return desk, ref


def audio_of(made: dict[str, bytes], one: make.Recorded) -> bool:
    """Whether the package has all of a recording's audio."""
    names = [f"audio/{one.recording_id}.{n}.wav" for n in (0, 1)]
    left, right = zip(*(sides(made[name]) for name in names), strict=True)
    return (b"".join(left), b"".join(right)) == split(one.audio)


async def test_a_payload_that_the_edge_has_lost_is_in_the_package(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    two, stays = edge.facts["two"], edge.facts["stays"]
    desk, ref = await reviewed(central, edge, "two", "stays")
    lose(edge, "two")
    lose(edge, "stays")
    done = await desk.good(
        "package", ref, "--to", "by post", "-i", edge.paths["operator_identity"], "-o", tmp_path / "p.age", "--json"
    )
    made = opened(tmp_path / "p.age", shown(done))
    assert audio_of(made, two)
    missing = {one["what"]: one["why"] for one in done.json["missing"]}
    assert missing == {f"{stays.recording_id}.0": "vault.missing"}
    read = [one["body"] for one in await log(central) if one["kind"] == "media.read"]
    assert [(one["purpose"], one["case"]) for one in read] == [("data_subject_request", ref)] * 2
    reads = (await edge.arun("reads", two.recording_id, "--json")).json
    assert "recording.exported" in [one["kind"] for one in reads]


async def test_what_central_cannot_give_is_left_out_and_a_central_that_is_away_stops_everything(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    two, cut = edge.facts["two"], edge.facts["cut"]
    desk, ref = await reviewed(central, edge, "two", "cut")
    lose(edge, "two", 0)
    folder = central.config.media.folder
    away = folder.rename(folder.with_name("unmounted"))
    folder.mkdir(0o700)
    package = ["package", ref, "--to", "by post", "-i", edge.paths["operator_identity"], "--json", "-o"]
    done = await desk.good(*package, tmp_path / "p.age")
    made = opened(tmp_path / "p.age", shown(done))
    assert {one["what"]: one["why"] for one in done.json["missing"]} == {f"{two.recording_id}.0": "central.media"}
    assert f"audio/{two.recording_id}.1.wav" in made
    assert f"audio/{cut.recording_id}.0.wav" in made
    assert "could not be read from our store when this copy was made" in made["cover.html"].decode()
    folder.rmdir()
    away.rename(folder)

    def unreachable() -> None:
        asked = Asked(ref, [("edge-1", two.call.call_id)], [], make.AT, make.END)
        with socket.socket() as nobody, open_door(edge.config) as door:
            nobody.bind(("127.0.0.1", 0))  # and does not listen
            client = CentralClient(f"http://127.0.0.1:{nobody.getsockname()[1]}", "token", None)
            behind = cast(Door, EdgeThenCentral(door, CentralPayloads(lambda: client, "package", "quality", ref)))
            keys = keyfiles.read_identities(edge.paths["operator_identity"])
            source = EdgeSource(behind, keyfiles.read_trust(edge.loaded.edge.trust_file), keys, Reading(case=ref))
            Package(behind, [source], asked).write(tmp_path / "q.age", "words", lambda made: None, work_factor=8)

    with pytest.raises(CallwardenError) as caught:
        await asyncio.to_thread(unreachable)
    assert (caught.value.code, caught.value.retryable) == ("sync.unreachable", True)
    assert not (tmp_path / "q.age").exists()


async def test_a_key_that_is_damaged_at_central_is_one_recordings_matter(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    two, cut = edge.facts["two"], edge.facts["cut"]
    _, ref = await reviewed(central, edge, "two", "cut")
    kept = shutil.copy(edge.paths["operator_identity"], tmp_path / "identity")
    lose_the_journal(edge)
    assert central.running is not None

    def damage(conn: Conn) -> int:
        query = "UPDATE header SET sealed_header=? WHERE recording_id=?"
        return conn.execute(query, (bytes(200), cut.recording_id)).rowcount

    assert await central.running.central.db.run(damage) == 1
    done = await make.acommand(
        "--config", tmp_path / "no.toml", "central", "case", "package", ref, "--to", "by post", "-i", kept, "--json",
        "-o", tmp_path / "p.age", "--from-central", "--language", "de", CENTRAL_URL=central.url, CENTRAL_TOKEN=central.token,
    )  # fmt: skip
    assert done.code == 0, done.err
    made = opened(tmp_path / "p.age", shown(done))
    assert audio_of(made, two)
    missing = {one["what"]: one["why"] for one in done.json["missing"]}
    assert missing[cut.recording_id] == "keeper.damaged"
    assert "der Schlüssel dazu ist beschädigt" in made["cover.html"].decode()


async def test_of_an_edge_that_is_gone_there_is_the_audio_and_the_rest_is_said(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    two, stays, cut = (edge.facts[word] for word in ("two", "stays", "cut"))
    identity = edge.paths["operator_identity"]
    _, ref = await reviewed(central, edge, "two", "stays", "cut")
    held = {"call_id": cut.call.call_id, "hold_id": "ab" * 16}
    assert central.running is not None
    await central.running.central.db.run(lambda conn: restrictions.place(conn, "edge-1", held))
    kept = shutil.copy(identity, tmp_path / "identity")
    lose_the_journal(edge)
    shutil.rmtree(vault_of(edge))
    here = {"CENTRAL_URL": central.url, "CENTRAL_TOKEN": central.token}

    async def package(name: str, *more: str) -> make.Ran:
        return await make.acommand(
            "--config", tmp_path / "no.toml", "central", "case", "package", ref, "--to", "by post", "-i", kept,
            "-o", tmp_path / name, "--json", *more, **here,
        )  # fmt: skip

    unnamed = await package("none.age")
    assert unnamed.code == 3, "no edge is here, and nobody said that central is meant"
    done = await package("p.age", "--from-central")
    assert done.code == 0, done.err
    made = opened(tmp_path / "p.age", shown(done))
    assert audio_of(made, two)
    assert done.json["recordings"] == [two.recording_id]
    missing = {one["what"]: (one["why"], one["where"]) for one in done.json["missing"]}
    assert missing == {
        two.call.call_id: ("elsewhere_audio", "edge-1"),
        stays.call.call_id: ("elsewhere", "edge-1"),
        f"{stays.recording_id}.0": ("vault.missing", ""),
        cut.call.call_id: ("elsewhere", "edge-1"),
        cut.recording_id: ("command.restricted", ""),
    }
    assert "no edge is here" in done.err
    assert "lies at another place (edge-1): its sound is in this copy" in made["cover.html"].decode()
    rows = {
        row["recording"]: row for row in csv.DictReader(io.StringIO(made["calls.csv"].decode("utf-8-sig"), newline=""))
    }
    assert rows[two.recording_id]["audio_files"].split() == [f"audio/{two.recording_id}.{n}.wav" for n in (0, 1)]
    assert (rows[two.recording_id]["recorded_seconds"], rows[stays.recording_id]["audio_files"]) == ("8.5", "")
    # Who is on which channel is known at the edge alone.
    masked = await package("m.age", "--from-central", "--mask-agent")
    assert masked.code == 0, masked.err
    assert masked.json["recordings"] == []
    entries = await log(central)
    assert [one["body"]["case"] for one in entries if one["kind"] == "headers.given"] == [ref, ref]
    _, case = await central.admin("GET", f"/v1/cases/{ref}")
    assert [one["recordings"] for one in case["packages"]] == [[two.recording_id], []]
