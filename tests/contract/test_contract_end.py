"""The end of a contract: everything is taken out, nothing is erased before it is verified, and every interruption goes on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from callwarden.contractend.check import Known, covered, missing, unreadable, verify, vouched
from callwarden.contractend.erase import CERTIFICATE, ORDER
from callwarden.contractend.folder import Place, Taken, signers
from callwarden.keyfiles import read_identities
from central import setup
from edge.errors import CallwardenError
from edge.retention.means import Bounds
from formats import canonical
from formats.age import decrypt_file
from formats.errors import PayloadError
from formats.keys import SigningKey, dump_key
from formats.orders import read_order
from tests.contract.contract_end_kit import Fleet, ended, recorded
from tests.contract.recovery_kit import surroundings
from tests.unit.central.central_kit import a_central, a_key
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory
from tests.unit.cli.key_kit import served


class Scene:
    """The command, with everything it needs said."""

    def __init__(self, edge: make.Edge, files: make.Opened, fleet: Fleet, folder: Path) -> None:
        self.edge, self.files, self.fleet, self.folder = edge, files, fleet, folder

    @property
    def place(self) -> Place:
        return Place(self.folder / "support" / self.edge.loaded.edge.id)

    def arguments(self, *more: str | Path) -> list[str | Path]:
        return [
            "--config", self.edge.config, "central", "contract-end", "--policy", "support", "--folder", self.folder,
            "--dpo-key", self.fleet.dpo, *more,
        ]  # fmt: skip

    async def run(self, *more: str | Path) -> make.Ran:
        return await make.acommand(*self.arguments(*more), **surroundings(self.fleet.central))

    async def erase(self, *more: str | Path) -> make.Ran:
        return await self.run("--reason", "contract 7 ended", "--exported-to", "Example", "--yes", *more)

    async def orders(self) -> int:
        return len(await self.fleet.central.rows("SELECT jti FROM orders"))

    async def reads(self) -> int:
        return sum(
            "recording.read" in row.entry for row in await self.files.journal.audit_entries(0, 10_000)
        )  # fmt: skip


#: One key is enough for all of it.
WIDE = Bounds(daily_share=100)


@asynccontextmanager
async def a_scene(
    tmp_path: Path, run: Path, bounds: Bounds = WIDE, more: int = 0, dpo: SigningKey | None = None
) -> AsyncIterator[Scene]:
    """`more`: recordings beside those of the kit; `dpo`: a second one."""
    async with a_central(tmp_path / "central", tls=True) as central:
        if dpo is not None:
            setup.register_key(central.config, "dpo", "Dora", dpo.verify_key)
        edge = make.make_edge(tmp_path / "etc", run)
        async with make.opened(edge) as files:
            await recorded(edge, files, central)
            for _ in range(more):
                await make.record(edge, files, [make.sound(1, 1)])
        async with served(edge) as files, ended(edge, central, files, tmp_path, bounds) as fleet:
            yield Scene(edge, files, fleet, tmp_path / "handover")


@pytest.fixture
async def scene(tmp_path: Path, run_dir: Path) -> AsyncIterator[Scene]:  # noqa: F811
    async with a_scene(tmp_path, run_dir) as one:
        yield one


def opened(scene: Scene, name: str) -> bytes:
    """The audio of a recording, from the files that were taken out alone."""
    identities = read_identities(scene.edge.paths["operator_identity"])
    recording, audio = scene.edge.facts[name].recording_id, b""
    for path in sorted(scene.place.path.rglob(f"{recording}.*.age")):
        with path.open("rb") as file:
            try:
                for piece in decrypt_file(file, identities):
                    audio += piece
            except PayloadError:
                assert name == "cut"
    return audio


async def test_everything_under_the_policy_is_taken_out_and_opens(scene: Scene) -> None:
    done = await scene.run("--export-only", "-i", scene.edge.paths["operator_identity"])
    assert done.code == 0, done.err
    assert "4 calls, 2 recordings; 3 age files opened to their end" in done.err
    for name in ("two", "cut"):
        assert opened(scene, name) == scene.edge.facts[name].audio
    keys, people = signers((scene.fleet.dpo,))
    taken = scene.place.taken(people)
    assert len(keys) == 1
    assert taken.without_audio == (scene.edge.facts["erased"].recording_id,)
    for call_id in taken.calls:
        evidence = json.loads((scene.place.call(call_id) / "evidence.json").read_bytes())
        assert call_id in json.dumps(evidence)
        assert json.loads((scene.place.call(call_id) / "vcon.json").read_bytes()).keys() & {"signatures", "vcon"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in scene.place.path.rglob("*"))
    before = await scene.reads()
    again = await scene.run("--export-only")
    assert (again.code, "complete since an earlier run" in again.err) == (0, True)
    assert await scene.reads() == before, "what is complete is not read again"
    assert await scene.orders() == 0


async def test_an_export_that_was_killed_goes_on(scene: Scene) -> None:
    """Killed when the first call is whole: the next run makes the rest, and reads nothing twice."""
    await asyncio.to_thread(killed_after, 1, scene)
    whole = [one.name for one in scene.place.path.iterdir() if not one.name.startswith(".")]
    assert len(whole) >= 1
    assert not scene.place.complete
    halves = scene.place.path / f".{'ab' * 16}"
    halves.mkdir()
    (halves / "half.age").write_bytes(b"half")
    stamps = {name: scene.place.call(name).stat().st_mtime_ns for name in whole}
    refused = await scene.run("--no-export", "--export-only")
    assert (refused.code, "[export.manifest]" in refused.err) == (7, True)
    halves.joinpath("half.age").unlink()
    halves.rmdir()
    done = await scene.run("--export-only", "-i", scene.edge.paths["operator_identity"])
    assert done.code == 0, done.err
    assert {name: scene.place.call(name).stat().st_mtime_ns for name in whole} == stamps
    assert opened(scene, "two") == scene.edge.facts["two"].audio


def killed_after(calls: int, scene: Scene) -> None:
    """The export dies of SIGKILL once so many calls are whole (blocking)."""
    env = {**os.environ, **surroundings(scene.fleet.central)}
    command = [sys.executable, "-m", "callwarden", *map(str, scene.arguments("--export-only"))]
    with subprocess.Popen(command, cwd=make.ROOT, env=env, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith(f"call {calls} of"):
                break
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
    scene.place.manifest.unlink(missing_ok=True)  # on a busy machine it may have come to its end before the kill did


async def test_nothing_is_ordered_while_the_export_is_not_whole(scene: Scene) -> None:
    assert (await scene.run("--export-only")).code == 0
    identity = scene.edge.paths["operator_identity"]
    age = next(scene.place.path.rglob("*.age"))
    good = age.read_bytes()
    age.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    done = await scene.erase("-i", identity)
    assert (done.code, "[export.differs]" in done.err, age.name in done.err) == (7, True, True)
    age.write_bytes(good)
    stranger = age.parent / "more.txt"
    stranger.write_text("?")
    assert "[export.differs]" in (await scene.erase()).err
    stranger.unlink()
    age.unlink()
    assert "[export.differs]" in (await scene.erase()).err
    age.write_bytes(good)
    other = await scene.erase("-i", scene.edge.paths["recovery_identity"], "--wait", "0")
    assert (other.code, await scene.orders()) == (75, 1), "the recovery key opens everything, too"


async def test_recordings_that_no_export_has_stop_the_order(scene: Scene) -> None:
    assert (await scene.run("--export-only")).code == 0
    late = await make.record(scene.edge, scene.files, [make.sound(1, 9)])
    await scene.fleet.sync.sync.flush()
    done = await scene.erase()
    assert (done.code, "[export.uncovered]" in done.err, late.recording_id in done.err) == (7, True, True)
    assert not (scene.folder / "support" / ORDER).exists()
    assert await scene.orders() == 0


async def test_an_order_that_was_signed_is_the_only_one_however_often_the_run_is_interrupted(scene: Scene) -> None:
    unseen = await scene.run("--reason", "r", "--exported-to", "Example")
    assert (unseen.code, "[usage.review]" in unseen.err) == (2, True)
    assert "[usage.reason]" in (await scene.run("--yes")).err
    first = await scene.erase("--wait", "0")
    assert first.code == 75, first.err
    order = (scene.folder / "support" / ORDER).read_bytes()
    # As if central had been gone, and the folder came back, before the order was handed in.
    assert (await scene.erase("--wait", "0")).code == 75
    assert (scene.folder / "support" / ORDER).read_bytes() == order
    assert await scene.orders() == 1
    async with scene.fleet.working():
        done = await scene.erase("--wait", "60")
    assert done.code == 0, done.err
    certificate = json.loads((scene.folder / "support" / CERTIFICATE).read_bytes())
    told = canonical.dumps(certificate).decode()
    assert scene.edge.facts["two"].recording_id in told
    for name in ("two", "cut"):
        row = await scene.files.journal.recording(scene.edge.facts[name].recording_id)
        assert row is not None
        assert row.state == "erased"
    assert (await scene.erase()).code == 0
    assert await scene.orders() == 1
    assert opened(scene, "two") == scene.edge.facts["two"].audio, "what was handed over stays with whoever has it"


async def test_an_order_that_was_cancelled_is_put_aside_and_another_one_is_signed(scene: Scene) -> None:
    assert (await scene.erase("--wait", "0")).code == 75
    jti = read_order(json.loads((scene.folder / "support" / ORDER).read_bytes())).jti
    await scene.fleet.exchange()
    cancel: list[str | Path] = ["central", "cancel", jti, "--reason", "too early", "--key", scene.fleet.dpo]
    assert (await make.acommand(*cancel, **surroundings(scene.fleet.central))).code == 75
    await scene.fleet.exchange()
    done = await scene.erase("--wait", "0")
    assert (done.code, "refused:command.cancelled" in done.err, f"order.{jti}.json" in done.err) == (6, True, True)
    assert (await scene.erase("--wait", "0")).code == 75
    assert read_order(json.loads((scene.folder / "support" / ORDER).read_bytes())).jti != jti


async def test_an_order_that_never_came_to_central_is_not_handed_in_unverified(scene: Scene) -> None:
    assert (await scene.erase("--wait", "0")).code == 75
    central = scene.fleet.central
    assert central.running is not None
    await central.running.central.db.run(lambda conn: conn.execute("DELETE FROM delivery"))
    await central.running.central.db.run(lambda conn: conn.execute("DELETE FROM orders"))
    age = next(scene.place.path.rglob("*.age"))
    good = age.read_bytes()
    age.write_bytes(good[:-1])
    assert "[export.differs]" in (await scene.erase()).err
    age.write_bytes(good)
    await make.record(scene.edge, scene.files, [make.sound(1, 9)])
    await scene.fleet.sync.sync.flush()
    assert "[export.uncovered]" in (await scene.erase()).err
    assert await scene.orders() == 0


async def test_a_running_call_and_a_wrong_signer_stop_it(scene: Scene) -> None:
    live = await make.record(scene.edge, scene.files, [make.sound(9, 5)], end="live")
    done = await scene.run("--export-only")
    assert (done.code, "[command.live]" in done.err) == (6, True)
    assert not scene.place.complete
    assert live.recording_id


def test_who_is_missing() -> None:
    def call(name: str, policy: str) -> dict[str, Any]:
        return {"call_id": name, "opened": {"policy_id": policy}}

    def recording(edge: str, name: str, call_id: str, state: str = "sealed", sealed: str = "sealed") -> dict[str, Any]:
        return {"edge_id": edge, "recording_id": name, "call_id": call_id, "state": state, "sealed": {"state": sealed}}

    taken = [Taken("a", "p", "", ("c",), ("r1",), (), ())]
    calls = [call("c", "p"), call("d", "p"), call("e", "other"), {"call_id": "f", "opened": None}]
    rows = [
        recording("a", "r1", "c"), recording("b", "r1", "c"), recording("a", "r2", "d"), recording("a", "r3", "e"),
        recording("a", "r4", "d", state="erased"), recording("a", "r5", "d", sealed="no_audio"), recording("a", "r6", "f"),
        recording("gone", "r7", "d"), recording("gone", "r8", "f"),
    ]  # fmt: skip
    edges = [{"edge_id": "a", "state": "enrolled"}, {"edge_id": "gone", "state": "revoked"}]
    known = Known(calls, rows, (), edges)
    assert missing("p", taken, known) == [("a", "r2"), ("b", "r1")]
    assert unreadable(taken, known) == [("a", "r6")], "a restricted call is not passed over"
    assert not vouched(["a"], taken, known)
    assert vouched(["a"], taken, Known(calls, rows[:1]))
    assert not vouched(["a", "b"], taken, Known(calls, rows[:1])), "nobody knows what b has"


@pytest.mark.parametrize(
    ("call", "reported", "state", "named"),
    [
        ({"opened": None, "refused": "restricted"}, None, "enrolled", True), ({"opened": {}}, None, "enrolled", True),
        (None, "v", "enrolled", True), (None, None, "enrolled", False), (None, "v", "revoked", False),
        ({"opened": {"policy_id": "q"}}, None, "enrolled", False), ({"opened": None}, None, "revoked", False),
    ],
)  # fmt: skip
def test_an_edge_that_may_have_more_and_has_no_folder_stops_the_order(
    call: dict[str, Any] | None, reported: str | None, state: str, *, named: bool
) -> None:
    """It ran the policy, or central does not say what of it is under the policy."""
    taken = [Taken("a", "p", "", ("c",), ("r1",), (), ())]
    row = {"edge_id": "pbx-2", "recording_id": "r2", "call_id": "d", "state": "sealed", "sealed": None}
    known = Known(
        [{"call_id": "d", **call}] if call else [], [row] if call else [],
        [{"edge_id": "pbx-2", "policy": "p", "version": reported}], [{"edge_id": "pbx-2", "state": state}],
    )  # fmt: skip
    if not named:
        covered("p", taken, known)
        return
    with pytest.raises(CallwardenError) as caught:
        covered("p", taken, known)
    assert (caught.value.code, "pbx-2" in caught.value.message) == ("export.uncovered", True)


async def test_an_edge_refuses_what_it_never_exported_where_the_folder_does_not_stand_for_all(scene: Scene) -> None:
    """Another edge is cut off: the order does not say that everything was handed over, and what this one has not reported and not
    exported yet is safe; once it was taken out the next order goes through."""
    setup.register_edge(scene.fleet.central.config, "pbx-2", a_key().verify_key)
    assert (await scene.run("--export-only")).code == 0
    late = await make.record(scene.edge, scene.files, [make.sound(1, 9)])
    first = await scene.erase("--wait", "0")
    assert (first.code, "no folder of: pbx-2" in first.err) == (75, True), first.err
    order = scene.folder / "support" / ORDER
    claims = read_order(json.loads(order.read_bytes()))
    assert (claims.exported_to, claims.reason) == (None, "contract 7 ended; handed over to: Example")
    await scene.fleet.exchange()
    refused = await scene.erase("--wait", "0")
    assert (refused.code, "refused:command.not_exported" in refused.err) == (6, True), refused.err
    assert not order.exists()
    assert order.with_name(f"order.{claims.jti}.json").exists()
    for name in ("two", "cut"):
        row = await scene.files.journal.recording(scene.edge.facts[name].recording_id)
        assert row is not None
        assert row.state != "erased"
    uncovered = await scene.erase()
    assert ("[export.uncovered]" in uncovered.err, late.recording_id in uncovered.err) == (True, True)
    shutil.rmtree(scene.place.path)
    assert (await scene.erase("--wait", "0")).code == 75
    for _ in range(4):
        await scene.fleet.exchange(hours=9)
    for name in (scene.edge.facts["two"].recording_id, late.recording_id):
        row = await scene.files.journal.recording(name)
        assert row is not None
        assert row.state == "erased"


async def test_with_default_bounds_one_key_is_refused_and_the_next_run_signs_with_two(
    tmp_path: Path,
    run_dir: Path,  # noqa: F811
) -> None:
    """More than twenty recordings: what docs/ops/contract-end.md has two keys for."""
    second = a_key()
    (tmp_path / "second.jwk").write_bytes(dump_key(second))
    async with a_scene(tmp_path, run_dir, Bounds(), more=20, dpo=second) as scene:
        first = await scene.erase("--wait", "0")
        assert first.code == 75, first.err
        await scene.fleet.exchange()
        refused = await scene.erase("--wait", "0")
        assert (refused.code, "refused:command.second_key" in refused.err, "order." in refused.err) == (6, True, True)
        assert not (scene.folder / "support" / ORDER).exists()
        both = ("--dpo-key", tmp_path / "second.jwk")
        assert (await scene.run("--export-only", *both)).code == 0
        assert (await scene.erase("--wait", "0", *both)).code == 75
        async with scene.fleet.working():
            done = await scene.erase("--wait", "60", *both)
        assert done.code == 0, done.err
        assert await scene.orders() == 2
        again = await scene.run("--export-only", *both)
        assert (again.code, "complete since" in again.err, "verified" in again.err) == (0, True, True)


async def test_a_manifest_of_somebody_else_is_none(scene: Scene, tmp_path: Path) -> None:
    assert (await scene.run("--export-only")).code == 0
    other = tmp_path / "other.jwk"
    other.write_bytes(dump_key(a_key()))
    _, strangers = signers((other,))
    for policy, people in (("support", strangers), ("other", signers((scene.fleet.dpo,))[1])):
        with pytest.raises(CallwardenError) as caught:
            verify(scene.place, policy, people, [])
        assert caught.value.code == "export.manifest"
