"""Losing the journal and the slots; losing central: what comes back, what does not, and that it is said."""

from __future__ import annotations

import shutil
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from callwarden import keyfiles
from callwarden.recovering import recover
from central import setup
from edge.errors import CallwardenError
from formats.keyset import KeySet
from tests.contract.recovery_kit import fill, surroundings, syncing, told, vault_of
from tests.unit.central.central_kit import TestCentral, a_central
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory
from tests.unit.cli.key_kit import new_reader, served, set_recipients


def audio(path: Path) -> bytes:
    with wave.open(str(path)) as wav:
        return wav.readframes(wav.getnframes())


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "central", tls=True) as one:
        yield one


@pytest.fixture
async def edge(tmp_path: Path, run_dir: Path, central: TestCentral) -> make.Edge:  # noqa: F811
    edge = make.make_edge(tmp_path / "etc", run_dir)
    await fill(edge, central)
    return edge


def lose_the_journal(edge: make.Edge) -> None:
    for path in edge.loaded.edge.journal.parent.glob(edge.loaded.edge.journal.name + "*"):
        path.unlink()
    shutil.rmtree(edge.loaded.edge.state)


async def test_audio_comes_back_without_journal_and_slots(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    lose_the_journal(edge)
    out = tmp_path / "out"
    done = await make.acommand(
        "recover", vault_of(edge), "-i", edge.paths["operator_identity"], "-o", out, "--json", **surroundings(central)
    )
    assert done.code == 7, done.err  # one recording central never heard of
    found = {one["recording_id"]: one for one in done.json["recovered"]}
    for name, verified in (("two", True), ("cut", True), ("live", False)):
        one = edge.facts[name]
        assert audio(Path(found[one.recording_id]["file"])) == one.audio, name
        assert found[one.recording_id]["verified"] is verified
    assert set(found) == {edge.facts[name].recording_id for name in ("two", "cut", "live")}
    assert done.json["erased"] == [edge.facts["erased"].recording_id]
    assert done.json["unknown"] == [edge.facts["late"].recording_id]
    assert done.json["lost"] == {}
    # Central's own log says who was given what.
    _, log = await central.admin("GET", "/v1/log")
    assert sum('"headers.given"' in one["entry"] for one in log["entries"]) == 3


async def test_what_cannot_come_back_is_told_by_name(edge: make.Edge, central: TestCentral, tmp_path: Path) -> None:
    lose_the_journal(edge)
    two, cut = edge.facts["two"], edge.facts["cut"]
    payload = next((vault_of(edge) / cut.recording_id[:2] / cut.recording_id).iterdir())
    data = bytearray(payload.read_bytes())
    data[1000] ^= 1
    payload.write_bytes(bytes(data))
    shutil.rmtree(vault_of(edge) / two.recording_id[:2] / two.recording_id)
    wrong = new_reader(tmp_path / "wrong")
    assert wrong
    arguments = ["recover", vault_of(edge), "--json", "-o"]
    done = await make.acommand(
        *arguments, tmp_path / "out", "-i", edge.paths["operator_identity"], **surroundings(central)
    )
    lost = {recording: why["code"] for recording, why in done.json["lost"].items()}
    assert lost[two.recording_id] == "vault.missing"
    assert lost[cut.recording_id].startswith("vault.payload")
    assert not (tmp_path / "out" / f"{cut.recording_id}.wav").exists()
    one = await make.acommand(
        *arguments,
        tmp_path / "none",
        "-i",
        tmp_path / "wrong",
        "--recording",
        edge.facts["live"].recording_id,
        **surroundings(central),
    )
    assert (one.code, [why["code"] for why in one.json["lost"].values()]) == (7, ["vault.no_match"])
    stranger = surroundings(central) | {"CENTRAL_TOKEN": "no"}
    nobody = await make.acommand(*arguments, tmp_path / "none", "-i", tmp_path / "wrong", **stranger)
    assert (nobody.code, "[auth.token]" in nobody.err) == (6, True)


async def test_after_a_rewrap_the_new_reader_recovers_and_the_old_does_not(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    recipient = new_reader(tmp_path / "new")
    set_recipients(edge, recipient, edge.recipients[1])
    async with served(edge) as files:
        done = await edge.arun(
            "key", "rewrap", "-i", edge.paths["operator_identity"], "--sign-key", edge.paths["dpo_key"]
        )
        assert done.code == 0, done.err
        async with syncing(edge, files, central) as sync:
            await sync.flush()
    lose_the_journal(edge)
    two = edge.facts["two"]
    for identity, code in ((tmp_path / "new", 0), (edge.paths["operator_identity"], 7)):
        again = await make.acommand(
            "recover", vault_of(edge), "-i", identity, "-o", tmp_path / f"out-{code}", "--recording", two.recording_id,
            "--json", **surroundings(central),
        )  # fmt: skip
        assert again.code == code, again.err
    assert audio(tmp_path / "out-0" / f"{two.recording_id}.wav") == two.audio


async def test_a_new_central_is_filled_from_the_edge(edge: make.Edge, central: TestCentral, tmp_path: Path) -> None:
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await sync.flush()
    before = await told(central)
    assert (len(before["recordings"]), before["gone"]) == (4, [edge.facts["erased"].recording_id])
    await central.stop()
    async with a_central(tmp_path / "second", tls=True) as second:
        dpo = keyfiles.read_signing_key(edge.paths["dpo_key"])
        setup.register_key(second.config, "dpo", "Dana", dpo.verify_key)
        token, _ = setup.enrol_token(second.config)
        done = await edge.arun("enrol", "--central-url", second.url, "--json", CALLWARDEN_ENROL_TOKEN=token)
        assert done.code == 0, done.err
        assert {one["role"] for one in done.json["believed"]} == {"store", "witness", "dpo"}
        assert {one["role"] for one in done.json["no_longer"]} == {"store", "witness"}
        trust = keyfiles.read_trust(edge.loaded.edge.trust_file)
        assert trust == setup.trust(second.config, "edge-1")
        assert edge.loaded.edge.trust_file.with_name("trust.json.before").exists()
        async with served(edge) as files, syncing(edge, files, second, trust=trust) as sync:
            await sync.flush()
            assert (await told(second))["recordings"] == []
            again = await edge.arun("resend", "--json")
            assert again.code == 0, again.err
            assert again.json["calls"] == 6
            await sync.flush()
            assert await told(second) == before
            # Once more changes nothing.
            await edge.arun("resend")
            await sync.flush()
            assert await told(second) == before
        lose_the_journal(edge)
        out = tmp_path / "out"
        found = await make.acommand(
            "recover", vault_of(edge), "-i", edge.paths["recovery_identity"], "-o", out, "--json",
            **surroundings(second),
        )  # fmt: skip
        assert found.code == 0, found.err
        for name in ("two", "cut", "live", "late"):
            one = edge.facts[name]
            assert audio(out / f"{one.recording_id}.wav") == one.audio, name


class Lying:
    """A central that says what it likes."""

    def __init__(self, rows: list[dict[str, Any]], one: Any) -> None:
        self.rows, self.one = rows, one

    def pages(self, path: str, member: str) -> list[dict[str, Any]]:
        return self.rows

    def get(self, path: str) -> Any:
        return self.one

    def post(self, path: str, body: object) -> Any:
        return {"headers": []}


@pytest.mark.parametrize("one", [None, [], {}, {"sealed": [], "opened": 3}, {"sealed": {"manifest": 7}, "opened": {}}])
def test_words_of_central_that_make_no_recording_are_told(one: Any, tmp_path: Path) -> None:
    row = {"recording_id": "ab" * 16, "edge_id": "e", "state": "sealed", "tombstone": None, "sealed": None}
    told = recover(cast(Any, Lying([row], one)), tmp_path, tmp_path, [], KeySet.of([]), "x", None)
    assert [error.code for error in told.failed.values()] in (["sync.answer"], ["vault.manifest"])
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    row = {"recording_id": "../../x", "edge_id": "e", "state": "sealed", "tombstone": None, "sealed": None}
    with pytest.raises(CallwardenError) as caught:
        recover(cast(Any, Lying([row], {})), tmp_path, tmp_path, [], KeySet.of([]), "x", None)
    assert caught.value.code == "sync.answer"


async def test_another_recording_s_manifest_is_no_proof(edge: make.Edge, central: TestCentral, tmp_path: Path) -> None:
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await sync.flush()
    two, late = edge.facts["two"], edge.facts["late"]
    ((manifest,),) = await central.rows("SELECT sealed FROM recording WHERE recording_id=?", late.recording_id)
    await central.rows("UPDATE recording SET sealed=? WHERE recording_id=?", manifest, two.recording_id)
    done = await make.acommand(
        "recover", vault_of(edge), "-i", edge.paths["operator_identity"], "-o", tmp_path / "out", "--recording",
        two.recording_id, "--json", **surroundings(central),
    )  # fmt: skip
    assert done.json["recovered"] == []
    assert [why["code"] for why in done.json["lost"].values()] == ["vault.differs"]
