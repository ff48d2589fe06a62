"""The daemon itself, without an Asterisk: it takes rewrapped headers, resends, and says who can play what here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from pathlib import Path

from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory
from tests.unit.cli.key_kit import new_reader, set_recipients


@contextlib.contextmanager
def running(edge: make.Edge) -> Iterator[None]:
    """`callwarden run`, until its door answers and to its end by SIGTERM."""
    with tempfile.TemporaryFile("w+") as said:  # no pipe, which would fill up and hold the daemon
        process = subprocess.Popen(
            [sys.executable, "-m", "callwarden", "--config", str(edge.config), "run"],
            cwd=make.ROOT, stdout=subprocess.DEVNULL, stderr=said, text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith(("CALLWARDEN_", "CENTRAL_"))},
        )  # fmt: skip
        try:
            end = time.monotonic() + 60
            while not edge.loaded.edge.socket.exists():
                if process.poll() is not None or time.monotonic() > end:
                    process.kill()
                    process.wait()
                    said.seek(0)
                    raise AssertionError(said.read())
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_keys_change_under_a_daemon(tmp_path: Path, run_dir: Path) -> None:  # noqa: F811
    edge = make.make_edge(tmp_path / "etc", run_dir)
    operator, recovery = edge.recipients

    async def fill() -> make.Recorded:
        async with make.opened(edge) as files:
            return await make.record(edge, files, [make.sound(2, 1), make.sound(1, 2)])

    one = asyncio.run(fill())
    with running(edge):
        assert edge.run("status", "--json").json["readiness"]["local_playback"] == []
        recipient = new_reader(tmp_path / "new")
        set_recipients(edge, recipient, recovery)
        with edge.config.open("a") as file:
            file.write(f'\n[keys]\nlocal = "{recipient}"\nnames = {{ "{operator}" = "the old one" }}\n')
        signing = ["--sign-key", edge.paths["dpo_key"]]
        early = edge.run("key", "rewrap", "-i", edge.paths["operator_identity"], *signing, "--json")
        assert early.json["segments"] == 0  # the daemon still has the policy of before
        reload = edge.run("reload", "--json")
        assert reload.code == 0, reload.err
        assert reload.json["sections"] == ["keys"]
        done = edge.run("key", "rewrap", "-i", edge.paths["operator_identity"], *signing, "--json")
        assert (done.code, done.json["done"]) == (0, 2), done.err
        assert edge.run("status", "--json").json["readiness"]["local_playback"] == ["support"]
        listed = {row["recipient"]: row for row in edge.run("key", "list", "--json").json["recipients"]}
        assert (listed[recipient]["segments"], listed[recipient]["local"]) == (2, True)
        assert operator not in listed  # nothing here is sealed to it any more
        retired = edge.run("key", "retire", operator, "--json")
        assert retired.json["segments"] == 0
        out = tmp_path / "out.wav"
        assert edge.run("export", one.recording_id, "-i", tmp_path / "new", "-o", out).code == 0
        with wave.open(str(out)) as wav:
            assert wav.readframes(wav.getnframes()) == one.audio
        checked = edge.run("verify", "-i", tmp_path / "new", "--json")
        assert (checked.code, checked.json["sound"]) == (0, True), checked.out
        told = edge.run("resend", "--json")
        assert (told.code, told.json["calls"]) == (0, 1)
        assert told.json["events"] > 5
