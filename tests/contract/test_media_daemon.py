"""Sealed audio that stays at its edge, fetched by central's order through the daemon itself, read there, and erased in both places."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from callwarden import keyfiles
from central import setup
from tests.contract.recovery_kit import surroundings, syncing, vault_of
from tests.contract.test_keys_daemon import running
from tests.contract.test_recovery import audio
from tests.unit.central.central_kit import TestCentral
from tests.unit.central.media_kit import files as files_below
from tests.unit.central.media_kit import with_folder
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory

pytestmark = pytest.mark.timeout(300)

#: What waits for a daemon, a server and a disk on a busy machine, seconds.
PATIENCE_S = 60.0


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    central = with_folder(TestCentral(tmp_path / "central", tls=True))
    await central.start()
    yield central
    await central.stop()


@asynccontextmanager
async def daemon(edge: make.Edge) -> AsyncIterator[None]:
    """`callwarden run` of this edge, while central runs on this loop."""
    process = running(edge)
    await asyncio.to_thread(process.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


async def until(what: str, found: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer of `found`."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (answer := await found()):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None
    return answer


async def test_a_fetched_payload_is_at_central_as_it_was_sealed_and_an_erasure_ends_it_there(
    tmp_path: Path,
    run_dir: Path,  # noqa: F811
    central: TestCentral,
) -> None:
    edge = make.make_edge(tmp_path / "etc", run_dir)
    async with make.opened(edge) as files:
        one = await make.record(edge, files, [make.sound(5, 1), make.sound(3.5, 2)])
        other = await make.record(edge, files, [make.sound(1, 3)])
    setup.register_key(central.config, "dpo", "Dana", keyfiles.read_signing_key(edge.paths["dpo_key"]).verify_key)
    token, _ = setup.enrol_token(central.config)
    enrolled = await edge.arun("enrol", "--central-url", central.url, "--json", CALLWARDEN_ENROL_TOKEN=token)
    assert enrolled.code == 0, enrolled.err
    edge.config.write_text(edge.config.read_text().replace(edge.loaded.central.url, central.url))
    here, payloads = surroundings(central), files_below(vault_of(edge) / one.recording_id[:2] / one.recording_id)
    sealed = {hashlib.sha512(path.read_bytes()).hexdigest() for path in payloads if path.suffix == ".payload"}
    assert len(sealed) == 2

    async def receipts(jti: str) -> list[dict[str, Any]]:
        _, order = await central.admin("GET", f"/v1/orders/{jti}")
        return [receipt["document"] for receipt in order["receipts"]]

    async def done(jti: str) -> dict[str, Any] | None:
        documents = await receipts(jti)
        return next((document for document in documents if document["claims"]["result"] == "done"), None)

    async def media() -> dict[str, str]:
        _, listed = await central.admin("GET", "/v1/media")
        return {row["sha512"]: row["state"] for row in listed["media"]}

    async with daemon(edge):

        async def told() -> bool:
            return bool(
                await central.rows(
                    "SELECT 1 FROM recording WHERE recording_id=? AND sealed IS NOT NULL", one.recording_id
                )
            )

        await until("central hears of the recording", told)
        ordered = await make.acommand(
            "central",
            "order",
            "fetch",
            "--recording",
            one.recording_id,
            "--reason",
            "case 7",
            "--wait",
            str(PATIENCE_S),
            **here,
        )
        assert ordered.code in (0, 75), ordered.err
        jti = ordered.json["claims"]["jti"]
        receipt = await until("the fetch is done", lambda: done(jti))
        # What is at central is what the edge sealed, and nothing else went.
        (said,) = receipt["claims"]["evidence"]["media"].values()
        assert said["result"] == "done"
        assert {segment["sha512"] for segment in said["segments"]} == sealed
        assert await media() == dict.fromkeys(sealed, "stored")
        stored = [path.read_bytes() for path in files_below(central.config.media.folder)]
        assert {hashlib.sha512(data).hexdigest() for data in stored} == sealed
        document = tmp_path / "receipt.json"
        document.write_text(json.dumps(receipt))
        held = await edge.arun("receipt", "verify", document, "--trust", edge.loaded.edge.trust_file)
        assert held.code == 0, held.err
    # Its host is gone: central's copy is read in its place.
    kept = tmp_path / "kept"
    shutil.copytree(vault_of(edge), kept)
    shutil.rmtree(vault_of(edge))
    words = ("--purpose", "quality", "--recording", one.recording_id)
    checked = await make.acommand("central", "media", "verify", *words, "--json", **here)
    assert (checked.code, len(checked.json["right"])) == (0, 2), checked.err
    recovered = await make.acommand(
        "recover", tmp_path / "empty", "--from-central", *words, "-i", edge.paths["operator_identity"],
        "-o", tmp_path / "out", "--json", **here,
    )  # fmt: skip
    assert recovered.code == 0, recovered.err
    assert [row["verified"] for row in recovered.json["recovered"]] == [True]
    assert audio(tmp_path / "out" / f"{one.recording_id}.wav") == one.audio
    # The host is back, and the recording is erased: in both places.
    shutil.copytree(kept, vault_of(edge))
    async with daemon(edge):
        erased = await make.acommand(
            "central", "erase", "--recording", one.recording_id, "--reason", "she asked", "--dpo-key",
            edge.paths["dpo_key"], "--wait", str(PATIENCE_S), **here,
        )  # fmt: skip
        assert erased.code == 0, erased.err

        async def gone() -> bool:
            return await media() == dict.fromkeys(sealed, "gone")

        await until("central's copies are destroyed", gone)
        assert files_below(central.config.media.folder) == []
        again = await make.acommand("central", "media", "verify", *words, "--json", **here)
        assert again.json["right"] == []
    # Its log's next checkpoint, a minute early: the certificate rests on it.
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await make.checkpoint(edge, files)
        await sync.flush()
    certified = await make.acommand("central", "certificate", erased.json["claims"]["jti"], **here)
    assert certified.code == 0, certified.err
    copies = certified.json["claims"]["copies"]
    listed = {one["evidence"][-16:]: one["state"] for one in copies if one["place"].startswith("central/media/folder/")}
    assert listed == {digest[:16]: "destroyed" for digest in sealed}
    assert other.recording_id not in {row[0] for row in await central.rows("SELECT recording_id FROM media")}
