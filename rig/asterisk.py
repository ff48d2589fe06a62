"""One real Asterisk on loopback: made, started, asked and stopped."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge.errors import CallwardenError
from rig import last_resort
from rig.pbx_conf import PEERS, PbxSettings, files
from rig.pbx_dialplan import DialplanSettings, extensions
from rig.places import ASTERISK_UID, PROJECT, SHARED_GID, Identity
from rig.ports import free_port, free_range, free_tcp_port
from rig.process import Process, recall, start, wait_until
from rig.programs import Programs, programs
from rig.tones import AGENT, voice_file

#: The product's snippets an admin would include, when they are there.
SNIPPETS = PROJECT / "dialplan"

#: Folders the record modules write into and do not make.
_RECORDS = ("log/cdr-custom", "log/cel-custom")


def asterisk_identity() -> Identity:
    """Asterisk's own user, with the group it shares with the edge as its primary one (as `asterisk` on Debian)."""
    return Identity(ASTERISK_UID, SHARED_GID) if os.geteuid() == 0 else Identity()


@dataclass(frozen=True)
class Asterisk:
    """A started Asterisk. `sip_port`, `ami_port`: on 127.0.0.1; `agent_port`, `agi_port`: where it expects
    its agent (SIP) and Callwarden's guard (FastAGI)."""

    run: Path
    sip_port: int
    agent_port: int
    ami_port: int
    agi_port: int
    ami_secret: str
    process: Process
    programs: Programs

    @property
    def monitor(self) -> Path:
        """Where extensions 1008, 1009 and 1018 record."""
        return self.run / "monitor"

    @property
    def peers(self) -> dict[str, int]:
        """Loopback UDP ports of the phones and trunks that Asterisk knows by name besides `agent` (rig.pbx_conf.PEERS)."""
        return _peers(self.run)

    @property
    def log(self) -> Path:
        """Asterisk's full log."""
        return self.run / "log" / "full"

    def cli(self, command: str) -> str:
        """What `asterisk -rx COMMAND` prints. Raises CallwardenError environment.asterisk_gone."""
        done = _cli(self.programs, self.run, command)
        if done.returncode != 0:
            raise CallwardenError("environment.asterisk_gone", f"asterisk -rx '{command}': {done.stdout.strip()}")
        return done.stdout

    def stop(self) -> None:
        """End it, dropping its calls."""
        self.process.stop()


def start_asterisk(
    run: Path,
    *,
    dialplan: DialplanSettings | None = None,
    variables: dict[str, str] | None = None,
    agi_port: int | None = None,
    agent_port: int | None = None,
    sip_port: int | None = None,
    ami_port: int | None = None,
    ami_secret: str | None = None,
    rtp_ports: int = 2000,
    found: Programs | None = None,
) -> Asterisk:
    """Write the configuration under `run` and start Asterisk there; returns when it has fully booted.

    run: a folder every id can walk to; one used before is used again, its logs and records go on. dialplan: defaults
    to the rig's with a copy of the project's file included if there is one (`run/etc/callwarden`). variables: globals
    for extensions.conf besides CALLWARDEN_AGI. agi_port, agent_port: free ones unless named. rtp_ports: how many UDP
    ports media may use (four per bridged call). found: another Asterisk than the usual one (rig.programs.old_programs).
    """
    found = found or programs()
    identity = asterisk_identity()
    for name in ("", "etc", "lib", "agi-bin", "spool", "run", "log", *_RECORDS, "moh", "monitor"):
        folder = run / name
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        identity.own(folder)
    snippets = _copy_snippets(run / "etc" / "callwarden", identity)
    entry, features = snippets / "callwarden.conf", snippets / "features.callwarden.conf"
    plan = dialplan or DialplanSettings(run / "monitor", include=entry if entry.is_file() else None)
    first, last = free_range(rtp_ports)
    agi = agi_port or free_tcp_port()
    settings = PbxSettings(
        run=run,
        modules=found.modules,
        data=found.data,
        sip_port=sip_port or free_port(),
        agent_port=agent_port or free_port(),
        ami_port=ami_port or free_tcp_port(),
        rtp_first=first,
        rtp_last=last,
        ami_secret=ami_secret or secrets.token_hex(16),
        extensions=extensions(plan),
        peers=_peers(run),
        major=int(found.version.partition(".")[0]),
        features=f'#include "{features}"\n' if features.is_file() else "",
        globals={"CALLWARDEN_AGI": f"127.0.0.1:{agi}", **last_resort.lay(run, identity), **(variables or {})},
    )
    voice_file(run / "moh", "music", AGENT)
    for name, text in files(settings).items():
        path = run / "etc" / name
        path.write_text(text)
        path.chmod(0o640)
        identity.own(path)
    command = [*found.asterisk, "-C", str(run / "etc" / "asterisk.conf"), "-f"]
    process = start("asterisk", command, folder=run, identity=identity, env={"PATH": os.defpath, "HOME": str(run)})
    wait_until("asterisk", lambda: _booted(found, run), within=30, process=process)
    return Asterisk(
        run=run,
        sip_port=settings.sip_port,
        agent_port=settings.agent_port,
        ami_port=settings.ami_port,
        agi_port=agi,
        ami_secret=settings.ami_secret,
        process=process,
        programs=found,
    )


def stop_leftover(run: Path) -> None:
    """End an Asterisk an earlier, interrupted run left in this folder."""
    left = recall("asterisk", run)
    if left is not None:
        left.stop()


def _copy_snippets(folder: Path, identity: Identity) -> Path:
    """The project's dialplan files beside Asterisk's own: its id may not be able to walk to the project."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.conf"):
        old.unlink()
    for source in (*SNIPPETS.glob("*.conf"), *SNIPPETS.glob("features.*.sample")):
        copy = folder / source.name.removesuffix(".sample")
        copy.write_bytes(source.read_bytes())
        copy.chmod(0o640)
        identity.own(copy)
    identity.own(folder)
    return folder


def _peers(run: Path) -> dict[str, int]:
    """The ports of one run, chosen at its first start and kept: phones may hold them while Asterisk restarts."""
    file = run / "peers.json"
    if not file.is_file():
        file.write_text(json.dumps({name: free_port() for name in PEERS}))
    found: dict[str, int] = json.loads(file.read_text())
    return found


def _booted(found: Programs, run: Path) -> bool:
    if not (run / "run" / "asterisk.ctl").exists():
        return False
    return "fully booted" in _cli(found, run, "core waitfullybooted").stdout


def _cli(found: Programs, run: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*found.asterisk, "-C", str(run / "etc" / "asterisk.conf"), "-rx", command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
