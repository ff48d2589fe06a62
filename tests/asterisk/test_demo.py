"""`make demo` and `make up`, as somebody types them, on stacks of their own."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rig.places import PROJECT, memory_folder, state_folder
from rig.stack import open_stack
from rig.story import ClaimFailed, Story
from rig.story_search import search, speech_needles
from rig.tones import AGENT, CALLER, encode, tone

pytestmark = [pytest.mark.asterisk, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

#: What other people's scripts read.
NAMES = (
    "SIP_PORT AMI_PORT ASTERISK_CLI EDGE_CONFIG CAPTURE_DIR VAULT_DIR JOURNAL CENTRAL_URL CENTRAL_TOKEN IDENTITY DPO_KEY"
    " TRUST EDGE_PID ASTERISK_PID CENTRAL_PID CALLWARDEN"
)


class Rig:
    """A stack of its own name, driven by commands only."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.home = PROJECT / ".rig" / f"{name}-home"
        self.environment = dict(os.environ) | {"CALLWARDEN_STACK": name}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """One of the rig's modules, its output piped."""
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=PROJECT, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # A suite started in the background of a script inherits "ignore" from its shell.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str]:
        """(exit code, output)."""
        child = self.start(*arguments)
        out, _ = child.communicate(timeout=200)
        return child.returncode, out

    def env(self) -> dict[str, str]:
        """`.rig/env`, read as a shell would."""
        lines = (self.home / "env").read_text().splitlines()
        return {key: "".join(shlex.split(value)) for key, _, value in (line.partition("=") for line in lines)}

    def clear(self) -> None:
        """Stop it and remove every trace."""
        self.run("rig.stack", "down")
        for folder in (state_folder() / self.name, memory_folder(self.name), self.home):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(f"test-{re.sub(r'[^a-z_]', '', request.node.name.removeprefix('test_'))[:12]}-{os.getpid()}")
    yield made
    made.clear()


def test_demo_tells_the_story_and_every_claim_holds(rig: Rig) -> None:
    code, said = rig.run("rig.demo")
    assert code == 0, said
    for line in (
        "Carol hung up in the prompt: abandoned, no recording",
        "Bob refused and reached the agent unrecorded",
        "only one capture file ever existed, Alice's",
        "no plaintext on any disk",
        "the same search finds half a second of her speech planted among noise",
        "stock `age -d` opens the raw export and gives the same bytes",
        "the daemon is back and ready",
        "left: Dave's tone, which changes every second in an order of its own; none missing, none foreign",
        "it verifies elsewhere with the trusted keys alone",
        "forged receipts are refused",
        "an old copy of payload and sealed header, with the operator's identity, does not open",
        "the audit log verifies",
        "Asterisk's channel count is back to 0",
    ):
        assert re.search(rf"^  (✓|ok) .*{re.escape(line[:40])}", said, re.MULTILINE), f"{line!r} is missing in:\n{said}"
    assert "\x1b" not in said, "no colour codes in a log"
    assert not re.search("✗|FAILED|Traceback", said)
    assert int(re.search(r"All (\d+) claims held", said)[1]) > 50  # type: ignore[index]
    assert not (rig.home / "env").exists(), "the stack is stopped"


def test_demo_on_a_stack_that_does_not_ask_names_the_claim_that_fails(rig: Rig) -> None:
    assert rig.run("rig.stack", "up")[0] == 0
    config = Path(rig.env()["EDGE_CONFIG"])
    assert rig.run("rig.stack", "down")[0] == 0
    policy = config.parent / "conf.d" / "support.toml"
    text = policy.read_text()
    policy.write_text(text.replace('mode = "opt_in"', 'mode = "never"'))
    code, said = rig.run("rig.demo")
    assert code == 1, said
    assert re.search(r"^  (✗|FAILED) Carol hung up in the prompt: abandoned", said, re.MULTILINE), said
    assert "FAILED: this claim did not hold: Carol hung up in the prompt" in said
    assert "claims held" not in said
    assert not (rig.home / "env").exists(), "the stack is stopped"


def test_a_claim_is_ticked_only_when_it_holds() -> None:
    out = io.StringIO()
    story = Story(out)
    story.claim("water is wet", held=True, seen="touched")
    with pytest.raises(ClaimFailed, match="fire is cold -- burnt"):
        story.claim("fire is cold", held=[], seen="burnt")
    ticked, crossed = out.getvalue().splitlines()
    assert ticked == "  ok water is wet (touched)"
    assert crossed == "  FAILED fire is cold (burnt)"
    assert story.claims == 1


@pytest.mark.parametrize("form", ["both channels", "caller alone", "caller in mu-law"])
def test_the_search_finds_speech_in_each_form_it_could_lie_on_a_disk(rig: Rig, form: str) -> None:
    left, right = tone(3, CALLER, 10), tone("agent", AGENT, 10)
    stereo = np.stack([left, right], axis=1).astype("<i2")
    needles = speech_needles(stereo.tobytes())
    span = slice(33_333, 33_333 + 2400)  # 0.3 s, anywhere
    speech = {"both channels": stereo[span].tobytes(), "caller alone": left[span].tobytes()}.get(
        form, encode(left[span])
    )
    stack = open_stack(rig.name, home=rig.home)
    since = time.time() - 1
    clean, dirty = stack.state / "clean", stack.state / "dirty"
    clean.write_bytes(os.urandom(100_000))
    dirty.write_bytes(os.urandom(4_200_001) + speech + os.urandom(50))
    assert search(stack, needles, since).hits == (str(dirty.resolve()),)
    os.utime(dirty, (since - 60, since - 60))
    assert search(stack, needles, since).hits, "a changed date hides nothing: the kernel's own date of change counts"
    dirty.unlink()
    assert search(stack, needles, since).hits == ()


def test_demo_interrupted_stops_its_stack(rig: Rig) -> None:
    child = rig.start("rig.demo")
    env = rig.home / "env"
    end = time.monotonic() + 60
    while not env.exists() and time.monotonic() < end:
        time.sleep(0.1)
    pids = [int(rig.env()[f"{name}_PID"]) for name in ("EDGE", "ASTERISK", "CENTRAL")]
    time.sleep(3)  # callers are on the line
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert "interrupted" in said
    assert not any(alive(pid) for pid in pids)
    assert not env.exists()


def test_up_twice_restarts_only_what_died_and_down_leaves_nothing(rig: Rig) -> None:
    code, said = rig.run("rig.stack", "up")
    assert code == 0, said
    first = rig.env()
    assert set(NAMES.split()) <= first.keys()
    assert (rig.home / "env").stat().st_mode & 0o077 == 0
    channels = subprocess.run(
        [first["ASTERISK_CLI"], "-rx", "core show channels count"], capture_output=True, text=True, check=True
    )
    assert "0 active channels" in channels.stdout
    assert subprocess.run([first["CALLWARDEN"], "status"], capture_output=True, check=False).returncode == 0

    began = time.monotonic()
    code, said = rig.run("rig.stack", "up")
    assert code == 0, said
    assert time.monotonic() - began < 10
    assert rig.env() == first

    for name in ("EDGE_PID", "GUARD_PID"):
        os.kill(int(first[name]), signal.SIGKILL)
    code, said = rig.run("rig.stack", "up")
    assert code == 0, said
    second = rig.env()
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"EDGE_PID", "GUARD_PID"}
    assert alive(int(second["EDGE_PID"]))
    assert alive(int(second["GUARD_PID"]))
    assert subprocess.run([first["CALLWARDEN"], "status"], capture_output=True, check=False).returncode == 0

    code, said = rig.run("rig.stack", "down")
    assert code == 0, said
    assert not any(alive(int(pid)) for name, pid in second.items() if name.endswith("_PID"))
    for name in ("AMI_PORT", "SIP_PORT"):
        assert not taken(int(second[name]))
    assert not taken(int(second["CENTRAL_URL"].rpartition(":")[2]))
    assert not (rig.home / "env").exists()
    assert not Path(second["CAPTURE_DIR"]).exists()


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def taken(port: int) -> bool:
    """Whether somebody holds the port, TCP or UDP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                return True
    return False
