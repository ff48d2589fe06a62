"""The whole stack on one machine: Asterisk, an agent, guard, edge and central, on loopback, in the background.

`python -m rig.stack up` starts what does not run and writes `.rig/env`; `down` stops what it started, by pid. State
(journal, vault, keys) stays between runs; `make clean` removes it. As root Asterisk, edge and central run under three
different ids that share one group; as a user everything runs under that user.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.errors import CallwardenError
from rig import debs, policies
from rig.agent import Agent, start_agent, start_trunk
from rig.asterisk import Asterisk, start_asterisk
from rig.pbx_dialplan import DialplanSettings
from rig.places import (
    CENTRAL_UID,
    EDGE_UID,
    PROJECT,
    SHARED_GID,
    identity,
    memory_folder,
    reachable_by_others,
    state_folder,
)
from rig.ports import free_port, free_tcp_port
from rig.process import Process, recall, start, wait_until
from rig.programs import Programs, old_programs, programs

#: Start-up checks that a trial on somebody's machine does without, by name; a real installation waives none.
WAIVED = ("spool-not-mount", "unencrypted-swap", "cow-filesystem")


#: What runs under other ids, of this project.
STAGED = ("callwarden", "edge", "central", "formats", "dialplan", "prompts")


def say(line: str) -> None:
    """One line of progress."""
    print(f"rig: {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one stack, chosen once and kept while they are free."""

    sip: int
    agent: int
    ami: int
    agi: int
    central: int


@dataclass
class Stack:
    """A stack by its folders. `home`: where `.rig/env` and the wrappers lie; `state`: durable; `memory`: tmpfs."""

    home: Path
    state: Path
    memory: Path
    ports: Ports
    age_recipient: str = ""
    extra_dialplan: str = ""
    old: bool = False  # Asterisk 16 in place of 22

    # ------------------------------------------------------------ places

    @property
    def etc(self) -> Path:
        """Configuration and keys."""
        return self.state / "etc"

    @property
    def config(self) -> Path:
        """edge.toml."""
        return self.etc / "edge.toml"

    @property
    def run(self) -> Path:
        """Pid files and outputs of edge, guard and central."""
        return self.state / "run"

    @property
    def pbx_run(self) -> Path:
        """Asterisk's folder."""
        return self.state / "pbx"

    @property
    def spool(self) -> Path:
        """The capture spool."""
        return self.memory / "spool"

    @property
    def vault(self) -> Path:
        """Sealed payloads."""
        return self.state / "var" / "vault"

    @property
    def journal(self) -> Path:
        """The edge's database."""
        return self.state / "var" / "state" / "journal.db"

    @property
    def identity_file(self) -> Path:
        """The age identity that opens recordings."""
        return self.etc / "keys" / "operator.age-identity"

    @property
    def dpo_key(self) -> Path:
        """Signs erasures."""
        return self.etc / "keys" / "dpo.key"

    @property
    def trust(self) -> Path:
        """The pinned public keys."""
        return self.etc / "trust.json"

    @property
    def central_config(self) -> Path:
        """central.toml."""
        return self.etc / "central" / "central.toml"

    @property
    def central_url(self) -> str:
        """Where central listens."""
        return f"https://127.0.0.1:{self.ports.central}"

    def token(self) -> str:
        """The API token."""
        return next(self.state.rglob("central.token")).read_text().strip()

    # ------------------------------------------------------------ processes

    def process(self, name: str) -> Process | None:
        """A running part by name: edge, guard, central, asterisk, agent, trunk."""
        folders = {"asterisk": self.pbx_run, "agent": self.pbx_run / "agent", "trunk": self.pbx_run / "trunk"}
        return recall("sipp" if name in ("agent", "trunk") else name, folders.get(name, self.run))

    def pbx(self) -> Asterisk:
        """The running Asterisk. Raises CallwardenError environment.not_ready."""
        process = self.process("asterisk")
        if process is None:
            raise CallwardenError("environment.not_ready", "Asterisk does not run", hint="make up")
        secret, ports = (self.etc / "ami.secret").read_text().strip(), self.ports
        return Asterisk(
            self.pbx_run, ports.sip, ports.agent, ports.ami, ports.agi, secret, process, self._programs()
        )  # fmt: skip

    def agent(self) -> Agent:
        """The running agent. Raises CallwardenError environment.not_ready."""
        process = self.process("agent")
        if process is None:
            raise CallwardenError("environment.not_ready", "the agent does not run", hint="make up")
        return Agent(self.pbx_run / "agent", process)

    def trunk(self) -> Agent:
        """The running far end of the trunk. Raises CallwardenError environment.not_ready."""
        process = self.process("trunk")
        if process is None:
            raise CallwardenError("environment.not_ready", "the trunk does not run", hint="make up")
        return Agent(self.pbx_run / "trunk", process)

    def callwarden(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the command against this stack."""
        done = subprocess.run(
            [str(self.home / "callwarden"), *arguments], capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            raise CallwardenError(
                "environment.command",
                f"callwarden {' '.join(arguments)} exited {done.returncode}: {done.stderr.strip()}",
            )
        return done

    def read(self, *arguments: str) -> Any:
        """The JSON document that a reading command prints."""
        return json.loads(self.callwarden(*arguments, "--json").stdout)

    # ------------------------------------------------------------ up and down

    def up(self, *, edge_env: dict[str, str] | None = None) -> None:
        """Start what does not run; returns when calls can come."""
        self._initialise()
        waits: list[tuple[str, Callable[[], object], float, Process | None]] = []
        if self.process("central") is None:
            say("starting central")
            process: Process | None = self._start(
                "central", CENTRAL_UID, ["central", "run", "--central-config", str(self.central_config)]
            )
            waits.append(("central", lambda: _listens(self.ports.central), 20, process))
        if self.process("guard") is None:
            self._start("guard", EDGE_UID, ["--config", str(self.config), "guard"])
            waits.append(("the guard", lambda: _listens(self.ports.agi), 10, self.process("guard")))
        if self.process("edge") is None:
            say("starting the edge daemon")
            self.start_edge(edge_env, wait=False)
        if self.process("asterisk") is None:
            say("starting Asterisk")
            start_asterisk(
                self.pbx_run,
                dialplan=self._dialplan(),
                agi_port=self.ports.agi,
                agent_port=self.ports.agent,
                sip_port=self.ports.sip,
                ami_port=self.ports.ami,
                ami_secret=(self.etc / "ami.secret").read_text().strip(),
                found=self._programs(),
            )
        if self.process("agent") is None:
            start_agent(self.pbx())
        if self.process("trunk") is None:
            start_trunk(self.pbx())
        for what, ready, within, process in waits:
            wait_until(what, ready, within=within, process=process)
        self.wait_ready()
        self._write_env()

    def start_edge(self, env: dict[str, str] | None = None, *, wait: bool = True) -> Process:
        """Start the daemon; with `wait` returns when it is ready for calls."""
        process = self._start("edge", EDGE_UID, ["--config", str(self.config), "run", "--log", "console"], env)
        if wait:
            self.wait_ready()
        return process

    def wait_ready(self, within: float = 20) -> None:
        """Until the daemon says it is ready."""
        wait_until("the edge daemon", self.ready, within=within, process=self.process("edge"))

    def ready(self) -> bool:
        """Whether calls would be asked now."""
        try:
            return bool(_ask(self.memory / "edge.sock", "/v1/status")["readiness"].get("ready"))
        except (OSError, ValueError, KeyError):
            return False

    def down(self) -> None:
        """Stop what runs, callers' side first."""
        for name in ("agent", "trunk", "asterisk", "edge", "guard", "central"):
            if (process := self.process(name)) is not None:
                process.stop()
        shutil.rmtree(self.memory, ignore_errors=True)
        (self.home / "env").unlink(missing_ok=True)

    # ------------------------------------------------------------ pieces

    def _programs(self) -> Programs:
        return old_programs() if self.old else programs()

    def _dialplan(self) -> DialplanSettings:
        include = self.pbx_run / "etc" / "callwarden" / "callwarden.conf"
        return DialplanSettings(
            self.pbx_run / "monitor",
            include=include,
            age=shlex.join(programs().age),
            recipient=self.age_recipient,
            extra=self.extra_dialplan,
        )

    def _start(self, name: str, uid: int, arguments: list[str], env: dict[str, str] | None = None) -> Process:
        self.run.mkdir(exist_ok=True)
        program, paths = runnable(self.state)
        who = identity(uid)
        return start(
            name,
            [*program, "-m", "callwarden", *arguments],
            folder=self.run,
            identity=who,
            cwd=Path("/"),
            env={"PATH": os.defpath, "LANG": "C.UTF-8"} | paths | (env or {}),
        )

    def _initialise(self) -> None:
        root = os.geteuid() == 0
        group = SHARED_GID if root else os.getegid()
        owners = ["--owner", str(EDGE_UID), "--central-owner", str(CENTRAL_UID)] if root else []
        waived = [word for name in WAIVED for word in ("--waive", name)]
        program, paths = runnable(self.state)
        command = [
            *program, "-m", "callwarden", "init", str(self.etc), "--single-host", "--edge-id", "rig",
            "--asterisk-ami", f"127.0.0.1:{self.ports.ami}", "--ami-user", "callwarden",
            "--agi-listen", f"127.0.0.1:{self.ports.agi}", "--group", str(group), *owners,
            "--var-dir", str(self.state / "var"), "--run-dir", str(self.memory),
            "--central-listen", f"127.0.0.1:{self.ports.central}", *waived, "--json",
        ]  # fmt: skip
        made = subprocess.run(
            command, capture_output=True, text=True, check=False, env=dict(os.environ) | paths, cwd="/"
        )
        if made.returncode != 0:
            raise CallwardenError("environment.init", f"callwarden init failed: {made.stderr.strip()}")
        errors = [f for f in json.loads(made.stdout)["findings"] if f["severity"] == "error"]
        if errors:
            raise CallwardenError(
                errors[0]["code"], errors[0]["message"], hint=errors[0]["hint"], where=errors[0]["where"]
            )
        policies.write(self.etc)

    def _write_env(self) -> None:
        self.home.mkdir(exist_ok=True)
        program, paths = runnable(self.state)
        _script(
            self.home / "callwarden",
            {
                **paths,
                "CALLWARDEN_CONFIG": str(self.config),
                "CENTRAL_URL": self.central_url,
                "CENTRAL_TOKEN": self.token(),
                "CENTRAL_CA": str(self.etc / "central-ca.pem"),
            },
            [*program, "-m", "callwarden"],
        )
        pbx = self.pbx()
        cli = [*pbx.programs.asterisk, "-C", str(pbx.run / "etc" / "asterisk.conf"), "-rx"]
        _script(self.home / "asterisk-cli", {}, cli, '[ "${1:-}" = -rx ] && shift\n')
        values = {
            "SIP_PORT": self.ports.sip,
            "AMI_PORT": self.ports.ami,
            "ASTERISK_CLI": self.home / "asterisk-cli",
            "EDGE_CONFIG": self.config,
            "CAPTURE_DIR": self.spool,
            "VAULT_DIR": self.vault,
            "JOURNAL": self.journal,
            "CENTRAL_URL": self.central_url,
            "CENTRAL_TOKEN": self.token(),
            "CENTRAL_CA": self.etc / "central-ca.pem",
            "IDENTITY": self.identity_file,
            "DPO_KEY": self.dpo_key,
            "TRUST": self.trust,
            "CALLWARDEN": self.home / "callwarden",
            "RIG_STATE": self.state,
        }
        for name in ("edge", "asterisk", "central", "guard", "agent"):
            process = self.process(name)
            values[f"{name.upper()}_PID"] = process.pid if process else ""
        text = "".join(f"{key}={shlex.quote(str(value))}\n" for key, value in values.items())
        temporary = self.home / "env.new"
        temporary.write_text(text)
        temporary.chmod(0o600)
        temporary.replace(self.home / "env")


def runnable(state: Path) -> tuple[list[str], dict[str, str]]:
    """(interpreter, environment) that run the product's code under any id.

    Where other ids cannot walk to the project (a clone below /root, a private temporary folder), packages and code are
    staged in the rig's state folder, by hard links where that works.
    """
    if os.geteuid() != 0 or reachable_by_others(PROJECT):
        return [sys.executable], {"PYTHONPATH": str(PROJECT)}
    stage = state / "stage"
    site = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if not (stage / "site-packages" / ".complete").exists():
        shutil.rmtree(stage / "site-packages", ignore_errors=True)
        _copy(site, stage / "site-packages")
        (stage / "site-packages" / ".complete").touch()
    code = stage / f"code-{_fingerprint()}"
    if not code.exists():  # never replaced: a program that was just started may still be importing from it
        fresh = stage / f"code.{os.getpid()}"
        for name in STAGED:
            shutil.copytree(PROJECT / name, fresh / name, ignore=shutil.ignore_patterns("__pycache__"))
        fresh.rename(code)
    base = Path(os.path.realpath(sys.executable))
    if not reachable_by_others(base.parent):
        raise CallwardenError(
            "environment.python",
            "other ids cannot reach this Python",
            where=str(base),
            hint="use Debian's python3.11 (/usr/bin/python3.11), or run the rig as an ordinary user",
        )
    return [str(base)], {"PYTHONPATH": f"{code}:{stage / 'site-packages'}"}


def _fingerprint() -> str:
    """Twelve hex digits that change with the code to be staged."""
    digest = hashlib.sha256()
    for name in STAGED:
        for path in sorted((PROJECT / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                stat = path.stat()
                digest.update(f"{path.relative_to(PROJECT)} {stat.st_mtime_ns} {stat.st_size}\n".encode())
    return digest.hexdigest()[:12]


def _copy(source: Path, target: Path) -> None:
    for copy in (os.link, shutil.copy2):
        try:
            shutil.copytree(source, target, copy_function=copy, ignore=shutil.ignore_patterns("__pycache__"))
        except (OSError, shutil.Error):
            shutil.rmtree(target, ignore_errors=True)
        else:
            return
    raise CallwardenError("environment.stage", "the packages could not be staged", where=str(target))


def open_stack(name: str = "stack", *, home: Path | None = None) -> Stack:
    """The stack of this checkout, its ports chosen at the first start and again when somebody else took one."""
    home = home or PROJECT / ".rig"
    home.mkdir(parents=True, exist_ok=True)
    state = state_folder() / name
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    memory = memory_folder(name) / "run"
    stored = state / "ports.json"
    stack = Stack(home, state, memory, _new_ports())
    if stored.exists():
        stack.ports = Ports(**json.loads(stored.read_text()))
        running = any(stack.process(n) for n in ("edge", "guard", "central", "asterisk"))
        if running or _all_free(stack.ports):
            return stack
        say("a port of the last run is taken by somebody else: choosing new ones")
        old, stack.ports = stack.ports, _new_ports()
        _replace_ports(stack.etc, old, stack.ports)
    stored.write_text(json.dumps(asdict(stack.ports)))
    return stack


def _new_ports() -> Ports:
    return Ports(free_port(), free_port(), free_tcp_port(), free_tcp_port(), free_tcp_port())


def _all_free(ports: Ports) -> bool:
    return not any(_listens(port) for port in (ports.ami, ports.agi, ports.central))


def _replace_ports(etc: Path, old: Ports, new: Ports) -> None:
    """Put the new ports into the files that name the old ones."""
    pairs = [(asdict(old)[name], asdict(new)[name]) for name in asdict(old)]
    for path in [*etc.rglob("*.toml")]:
        text = path.read_text()
        for was, now in pairs:
            text = text.replace(f"127.0.0.1:{was}", f"127.0.0.1:{now}")
        path.write_text(text)


def _listens(port: int) -> bool:
    """Whether somebody listens on this loopback port, from the kernel's table: a connection would count as a call."""
    return any(f":{port:04X} " in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines())


def _ask(path: Path, target: str) -> dict[str, Any]:
    """GET over the daemon's Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2)
        sock.connect(str(path))
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    body = b"".join(parts).partition(b"\r\n\r\n")[2]
    answer = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])
    assert isinstance(answer, dict)
    return answer


def _script(path: Path, env: dict[str, str], command: list[str], before: str = "") -> None:
    """A small shell script that runs `command` with `env` and passes its arguments on."""
    lines = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in env.items())
    path.write_text(f'#!/bin/sh\n{lines}{before}exec {shlex.join(command)} "$@"\n')
    path.chmod(0o700)


def usual_stack() -> Stack:
    """The stack of `make up`: .rig/env. CALLWARDEN_STACK=NAME in the environment means another one, .rig/NAME-home/env."""
    name = os.environ.get("CALLWARDEN_STACK") or "stack"
    return open_stack(name, home=None if name == "stack" else PROJECT / ".rig" / f"{name}-home")


def left_by_demo() -> Path:
    """Says, by being there, that `make demo STAY=1` left a stack up beside the one of `make up`."""
    return state_folder() / "demo" / "stays"


def main(arguments: list[str]) -> int:
    """`up` or `down`."""
    began = time.monotonic()
    try:
        if arguments == ["up"]:
            debs.unpacked()
            stack = usual_stack()
            stack.up()
            say(f"the stack is up after {time.monotonic() - began:.1f} s; its addresses are in {stack.home / 'env'}")
            return 0
        if arguments == ["down"]:
            usual_stack().down()
            if left_by_demo().exists():
                open_stack("demo", home=PROJECT / ".rig" / "demo-home").down()
                left_by_demo().unlink()
            say("the stack is down")
            return 0
    except CallwardenError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)
    print("usage: python -m rig.stack up|down", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
