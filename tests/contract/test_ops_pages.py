"""docs/ops: each command of the pages is run, in their order, with the paths of a test in the place of those of an
installation. `systemctl` and `central run` are what the test itself does between them."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from callwarden import keyfiles
from central import app, setup
from central.config import load as load_central
from edge.retention.means import Bounds
from formats import canonical
from formats.keys import dump_key
from rig.ports import free_tcp_port
from tests.contract.contract_end_kit import ended, recorded
from tests.contract.recovery_kit import fill, surroundings, syncing, vault_of
from tests.unit.central.central_kit import TestCentral, a_central, a_key
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory
from tests.unit.cli.key_kit import served, set_recipients

OPS = make.ROOT / "docs" / "ops"
#: Exit codes that are not 0 and are right where they come.
ALSO = {"status": {4, 8}, "recover": {7}}

Hook = Callable[[], Awaitable[None]]


class Page:
    """A page's commands. `words`: what stands on the page to what stands for it here; `hooks`: called for `systemctl …` and
    other lines that are not the command's."""

    def __init__(self, name: str, edge: make.Edge, words: Mapping[str, str], hooks: Mapping[str, Hook]) -> None:
        self.edge, self.words, self.hooks = edge, dict(words), hooks
        self.env: dict[str, str] = {}
        self.ran: list[make.Ran] = []
        text = (OPS / name).read_text()
        self.lines = [
            line
            for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
            for line in block.splitlines()
        ]
        assert self.lines

    async def run(self) -> None:
        for line in self.lines:
            await self._one(line)

    async def _one(self, line: str) -> None:
        for theirs, ours in sorted(self.words.items(), key=lambda pair: -len(pair[0])):
            line = line.replace(theirs, ours)
        first, *rest = shlex.split(line)
        if first == "export":
            self.env |= dict(one.partition("=")[::2] for one in rest)
        elif first == "callwarden" and rest[:2] != ["central", "run"]:
            done = await asyncio.to_thread(make.process, "--config", self.edge.config, *rest, **self.env)
            assert done.code in {0} | ALSO.get(rest[0], set()), (line, done.err)
            self.ran.append(done)
            await self._after(" ".join(rest[:2]), done)
        elif first in ("mkdir", "mv"):
            subprocess.run([first, *rest], check=True)
        else:
            hook = next((hook for start, hook in self.hooks.items() if line.startswith(start)), None)
            assert hook is not None, line
            await hook()

    async def _after(self, what: str, done: make.Ran) -> None:
        if what == "central enrol-token":
            self.words["cwe1.TOKEN"] = done.out.strip()
        if hook := self.hooks.get(f"after {what}"):
            await hook()


async def nothing() -> None:
    """Nobody runs a daemon here."""


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "first", tls=True) as one:
        yield one


@pytest.fixture
async def edge(tmp_path: Path, run_dir: Path, central: TestCentral) -> make.Edge:  # noqa: F811
    edge = make.make_edge(tmp_path / "etc", run_dir)
    await fill(edge, central)
    return edge


def audio(path: Path) -> bytes:
    with wave.open(str(path)) as wav:
        return wav.readframes(wav.getnframes())


async def test_lost_journal(edge: make.Edge, central: TestCentral, tmp_path: Path) -> None:
    env = surroundings(central)

    async def start() -> None:
        async with make.opened(edge) as files:  # as the daemon: a new journal and a new slot file
            assert await files.journal.recordings() == []

    words = {
        "/var/lib/callwarden": str(vault_of(edge).parent),
        "/media/keys/operator.identity": str(edge.paths["operator_identity"]),
        "/srv/recovered": str(tmp_path / "recovered"),
        "/etc/callwarden/trust.json": str(edge.loaded.edge.trust_file),
        "https://central.example:8443": env["CENTRAL_URL"],
        "/root/central.token": env["CENTRAL_TOKEN"],
        "/root/ca.crt": env["CENTRAL_CA"],
        "pbx-brno-1": "edge-1",
    }
    page = Page("lost-journal.md", edge, words, {"systemctl stop": nothing, "systemctl start": start})
    await page.run()
    for name in ("two", "cut", "live"):
        one = edge.facts[name]
        assert audio(tmp_path / "recovered" / f"{one.recording_id}.wav") == one.audio, name


async def test_lost_central(edge: make.Edge, central: TestCentral, tmp_path: Path) -> None:
    await central.stop()
    port = free_tcp_port()
    (tmp_path / "dpo.pub").write_bytes(
        canonical.dumps(keyfiles.read_signing_key(edge.paths["dpo_key"]).verify_key.jwk())
    )
    second = TestCentral(tmp_path / "second", tls=True)
    async with AsyncExitStack() as stack:

        async def run_central() -> None:
            running = await app.start(load_central(tmp_path / "new" / "central.toml"))
            stack.push_async_callback(running.stop)

        async def restart() -> None:
            files = await stack.enter_async_context(served(edge))
            trust = keyfiles.read_trust(edge.loaded.edge.trust_file)
            second.config = load_central(tmp_path / "new" / "central.toml")
            sync = await stack.enter_async_context(syncing(edge, files, second, trust=trust, url=second.config.url))
            page.hooks["after resend"] = sync.flush

        words = {
            "/etc/callwarden/central": str(tmp_path / "new"),
            "--listen 0.0.0.0:8443": f"--listen 127.0.0.1:{port}",
            "https://central.example:8443": f"https://127.0.0.1:{port}",
            " dpo.pub": f" {tmp_path / 'dpo.pub'}",
        }
        page = Page(
            "lost-central.md", edge, words, {"callwarden central run": run_central, "systemctl restart": restart}
        )
        await page.run()
        assert len(edge.facts) == 6
        listed = page.ran[-1].out
        for name in ("two", "cut", "live", "late"):
            assert edge.facts[name].recording_id in listed


async def test_lost_key(edge: make.Edge, tmp_path: Path) -> None:
    lost, recovery = edge.recipients
    fresh = tmp_path / "operator-2.identity"

    async def remove() -> None:
        """Between the first rewrap and the second reload: a person edits the policy."""
        (identity,) = keyfiles.read_identities(fresh)
        set_recipients(edge, str(identity.recipient()), recovery)
        page.hooks.pop("after key rewrap")

    words = {
        "/media/keys/operator-2.identity": str(fresh),
        "/media/keys/recovery.identity": str(edge.paths["recovery_identity"]),
        "/media/keys/dpo.jwk": str(edge.paths["dpo_key"]),
        "retire OLD": f"retire {lost}",
    }
    page = Page("lost-key.md", edge, words, {"after key rewrap": remove})
    async with served(edge):
        await page.run()
        two, out = edge.facts["two"], tmp_path / "out.wav"
        done = await edge.arun("export", two.recording_id, "-i", fresh, "-o", out)
        assert done.code == 0, done.err
        assert audio(out) == two.audio
        old = await edge.arun("export", two.recording_id, "-i", edge.paths["operator_identity"], "-o", tmp_path / "no")
        assert "[vault.no_match]" in old.err
        assert "retired" in page.ran[-1].out


async def test_contract_end(central: TestCentral, tmp_path: Path, run_dir: Path) -> None:  # noqa: F811
    edge = make.make_edge(tmp_path / "etc", run_dir)
    async with make.opened(edge) as files:
        await recorded(edge, files, central)
    second = a_key()
    (tmp_path / "dpo-2.jwk").write_bytes(dump_key(second))
    setup.register_key(central.config, "dpo", "Dora", second.verify_key)
    # One key is enough for none of them, as by default for none beyond twenty.
    async with served(edge) as files, ended(edge, central, files, tmp_path, Bounds(daily_free=0)) as fleet:
        env = surroundings(central)
        words = {
            "/srv/handover": str(tmp_path / "handover"),
            "/media/keys/dpo.jwk": str(fleet.dpo),
            "/media/keys/dpo-2.jwk": str(tmp_path / "dpo-2.jwk"),
            "/media/keys/operator.identity": str(edge.paths["operator_identity"]),
            "/etc/callwarden/trust.json": str(fleet.trust),
            "--wait 86400": "--wait 60",
        }
        page = Page("contract-end.md", edge, words, {})
        page.env |= env
        async with fleet.working():
            await page.run()
        assert page.ran[-1].out.startswith("holds: ")
        for name in ("two", "cut"):
            row = await files.journal.recording(edge.facts[name].recording_id)
            assert row is not None
            assert row.state == "erased"


def test_every_page_of_the_table_is_run() -> None:
    index = (OPS / "README.md").read_text()
    table = {
        found for line in index.splitlines() if line.startswith("|") for found in re.findall(r"\(([\w-]+\.md)\)", line)
    }
    run = set(re.findall(r'Page\(\s*"([\w-]+\.md)"', Path(__file__).read_text()))
    assert run == table
