"""Row 40, 60, 70 and the wrong things people do first: each is one clear error (what, where, how to mend it) and an exit
code that says whether the configuration (3) or the host (8) is to blame.

Run as the daemon's own user against a real Asterisk, a real guard and a real central.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rig.callers import place_call
from rig.checker import cdr_of, outcome
from rig.invariants import snapshot
from rig.places import CENTRAL_UID, EDGE_UID, identity
from rig.stack import Stack, runnable
from tests.asterisk.sweep_kit import close, fresh, wait_for

pytestmark = pytest.mark.asterisk

#: A daemon that cannot start says so within this many seconds (Python's own start included, on a busy machine).
WITHIN_S = 20


@pytest.fixture(scope="module")
def whole() -> Iterator[Stack]:
    """A stack that works."""
    home = Path(tempfile.mkdtemp(prefix="callwarden-bad-"))
    stack = fresh("bad", home).stack
    yield stack
    close(stack)
    shutil.rmtree(home)


@pytest.fixture
def stack(whole: Stack) -> Iterator[Stack]:
    """The stack without its daemon; its configuration is put back afterwards."""
    files = {path: path.read_bytes() for path in whole.etc.rglob("*") if path.is_file()}
    if (edge := whole.process("edge")) is not None:
        edge.stop()
    yield whole
    for path, content in files.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)  # the same file: owner and mode stay


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    stderr: str


def attempt(stack: Stack, *arguments: str, uid: int = EDGE_UID) -> Said:
    """Run the command as its service would; a command that goes on running fails the test."""
    program, paths = runnable(stack.state)
    try:
        done = subprocess.run(
            [*program, "-m", "callwarden", *arguments],
            capture_output=True, text=True, timeout=WITHIN_S, check=False, cwd="/",
            env={"PATH": os.defpath, "LANG": "C.UTF-8"} | paths, **identity(uid).popen(),
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"it went on running: {late.stderr!r}") from late
    return Said(done.returncode, done.stderr)


def run_edge(stack: Stack) -> Said:
    return attempt(stack, "--config", str(stack.config), "run", "--log", "console")


def clear(said: Said, code: str, exit_code: int, where: str) -> None:
    """What, where, how to mend it; no traceback; the exit code of its family."""
    assert said.code == exit_code, said.stderr
    assert "Traceback" not in said.stderr
    text = said.stderr.replace("callwarden-guard: ", "")
    found = re.search(r"error: (?P<where>.+?): (?P<what>.+) \[(?P<code>[a-z0-9_.]+)\]\n\s+hint: (?P<hint>.+)", text)
    assert found is not None, said.stderr
    assert found["code"] == code, said.stderr
    assert where in found["where"], said.stderr
    assert len(found["what"]) > 10
    assert len(found["hint"]) > 10


def line_of(path: Path, text: str) -> str:
    """`file:line` of the first line that holds `text`."""
    number = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)
    return f"{path.name}:{number}"


def change(path: Path, pattern: str, to: str) -> None:
    text, count = re.subn(pattern, lambda _: to, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1, f"{pattern} is not in {path}"
    path.write_text(text)


# ---------------------------------------------------------------- configuration (3)


@pytest.mark.parametrize(
    ("file", "pattern", "to", "code"),
    [
        ("edge.toml", r"^id = .*$", 'id = "rig"\ncolour = "red"', "config.unknown_key"),
        ("edge.toml", r"^id = .*$", "id = 5", "config.value"),
        ("edge.toml", r"^id = .*$", "id = ", "config.syntax"),
        ("conf.d/support.toml", r"^mode = .*$", 'mode = "sometimes"', "config.value"),
        ("conf.d/support.toml", r"^retries = .*$", 'retries = "often"', "config.value"),
        ("conf.d/support.toml", r'^  "age1.*# operator$', '  "age1unknown0000000000000000",', "recipient.bech32"),
        ("conf.d/support.toml", r'^  "age1.*# operator$', '  "ssh-ed25519 AAAA",', "recipient.unknown_kind"),
        ("conf.d/support.toml", r"^languages = .*$", 'languages = ["en", "xx"]', "prompt.no_language"),
    ],
    ids=[
        "unknown-key",
        "wrong-type",
        "syntax",
        "mode",
        "policy-type",
        "recipient-broken",
        "recipient-kind",
        "language",
    ],
)
def test_configuration(stack: Stack, file: str, pattern: str, to: str, code: str) -> None:
    path = stack.etc / file
    change(path, pattern, to)
    said = run_edge(stack)
    clear(said, code, 3, line_of(path, to.strip().splitlines()[-1]))


@pytest.mark.parametrize("harm", ["missing", "empty", "other"])
def test_a_prompt_that_is_not_what_it_was(stack: Stack, harm: str) -> None:
    prompts = stack.state / "prompts"
    shutil.rmtree(prompts, ignore_errors=True)
    source = re.search(r'^prompts = "(.+?)"', stack.config.read_text(), re.MULTILINE)
    assert source is not None
    shutil.copytree(source[1], prompts)
    change(stack.config, r"^prompts = .*$", f'prompts = "{prompts}"')
    victim = prompts / "en" / "ask.wav"
    if harm == "missing":
        victim.unlink()
    else:
        victim.write_bytes(b"" if harm == "empty" else (prompts / "en" / "withdrawn.wav").read_bytes())
    said = run_edge(stack)
    assert said.code == 3, said.stderr
    clear(said, {"missing": "prompt.missing", "empty": "prompt.empty", "other": "prompt.hash"}[harm], 3, str(victim))


# ---------------------------------------------------------------- the host (8)


def test_an_unwritable_spool(stack: Stack) -> None:
    if os.geteuid() == 0:
        owner = stack.spool.stat()
        os.chown(stack.spool, 0, 0)
        stack.spool.chmod(0o755)
    else:
        owner = stack.spool.stat()
        stack.spool.chmod(0o555)
    try:
        clear(run_edge(stack), "spool.unwritable", 8, str(stack.spool))
    finally:
        os.chown(stack.spool, owner.st_uid, owner.st_gid)
        stack.spool.chmod(owner.st_mode & 0o7777)
    assert os.listdir(stack.spool) == []


def test_a_spool_on_a_disk(stack: Stack) -> None:
    folder = stack.state / "spool"
    folder.mkdir(exist_ok=True)
    change(stack.config, r"^spool = .*$", f'spool = "{folder}"')
    clear(run_edge(stack), "spool.not_tmpfs", 8, line_of(stack.config, f'spool = "{folder}"'))


def test_no_spool(stack: Stack) -> None:
    change(stack.config, r"^spool = .*$", 'spool = "/dev/shm/nobody-made-this"')
    clear(run_edge(stack), "spool.missing", 8, line_of(stack.config, "nobody-made-this"))


def test_two_daemons(stack: Stack) -> None:
    stack.start_edge()
    clear(run_edge(stack), "journal.locked", 8, str(stack.journal.with_suffix(".lock")))
    assert stack.ready()


def test_a_wrong_ami_password_at_the_first_start(stack: Stack) -> None:
    secret = stack.etc / "ami.secret"
    secret.write_text("not the one in manager.conf\n")
    said = run_edge(stack)
    clear(said, "ami.auth", 8, str(secret))
    assert "Authentication failed" in said.stderr
    assert said.stderr.count("the manager refused the login") <= 2, "it tried again and again"


def test_a_password_that_stops_working_ends_nothing(stack: Stack) -> None:
    """The daemon goes on (it could have captures), refuses to record, alarms once, tries seldom, and recovers."""
    stack.start_edge()
    edge = stack.process("edge")
    assert edge is not None
    secret = stack.etc / "ami.secret"
    good = secret.read_text()
    secret.write_text("changed under the daemon\n")
    _kick(stack)
    wait_for("the lost link", lambda: not stack.ready(), 10)
    call = asyncio.run(place_call(stack.pbx(), "1001", behaviour="silent", prompt_s=0, seconds=2))
    [record] = cdr_of(stack.pbx(), call.number)
    assert outcome(record) == "unavailable"
    assert stack.agent().dialled(call.number) is not None
    time.sleep(3)
    assert edge.alive
    log = (stack.run / "edge.out").read_text()
    tail = log[log.rindex("manager link up") :]
    assert 1 <= tail.count("code=ami.auth") <= 2, "a lockout storm"
    with snapshot(stack.journal) as conn:
        alarms = [row[0] for row in conn.execute("SELECT code FROM alarm ORDER BY seq DESC LIMIT 4")]
    assert "ami.auth" in alarms
    secret.write_text(good)
    wait_for("the link", stack.ready, 60)  # the next try comes 30 s after the refusal


def _kick(stack: Stack) -> None:
    """End the daemon's manager session from Asterisk's side."""
    rows = stack.pbx().cli("manager show connected").splitlines()
    [session] = [row.split() for row in rows if row.split()[:1] == ["callwarden"]]
    descriptor = session[4]
    assert descriptor.isdecimal(), rows
    stack.pbx().cli(f"manager kick session {descriptor}")


def _taken(port: int) -> socket.socket:
    """Somebody else's listener."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", port))
    taken.listen()
    return taken


@pytest.mark.parametrize("service", ["guard", "central"])
def test_an_occupied_port(stack: Stack, service: str) -> None:
    process = stack.process(service)
    assert process is not None
    port = {"guard": stack.ports.agi, "central": stack.ports.central}[service]
    run: dict[str, Callable[[], Said]] = {
        "guard": lambda: attempt(stack, "--config", str(stack.config), "guard"),
        "central": lambda: attempt(
            stack, "central", "run", "--central-config", str(stack.central_config), uid=CENTRAL_UID
        ),
    }
    process.stop()
    try:
        with _taken(port):
            clear(run[service](), "environment.port", 8, f"127.0.0.1:{port}")
    finally:
        stack.up()
