"""A daemon cut down to journal, slots, vault and recorder, for killing: `capture_child.py STATE SPOOL [--hung-up]`.

On an empty journal it grants one permit, begins a capture and prints the spool file's path; then, and on every later
start, it recovers and seals until no capture is live. Whoever started it plays Asterisk and writes into the file.
`--hung-up`: Asterisk says that no channel is left. `--segment-chunks N`: a segment is full after N chunks.
`--clock-jump`: the wall clock jumps ahead by an hour once a first piece is sealed.
`--line FOLDER`: Asterisk's manager is this folder, see `FolderLine`, and what is wanted of the recording lies there too.
`--suite NAME`: what it is sealed with.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from edge import log
from edge.audit.log import AuditLog
from edge.clock import SystemClock
from edge.consent.permit import grant
from edge.consent.policy import Capture as Format
from edge.consent.policy import Policy
from edge.consent.units import Seconds
from edge.errors import CallwardenError
from edge.model.entities import ConsentEvent, NewCall
from edge.model.lifecycle import LIVE
from edge.model.live import Actor, PauseRow
from edge.recorder import capture
from edge.recorder.manifests import manifest_maker
from edge.recorder.recorder import Recorder
from edge.recorder.resume import ResumeFolder
from edge.recorder.spool import Spool
from edge.recorder.tools import Tools
from edge.retention.incidents import Incidents
from edge.retention.means import Means
from edge.store.journal import Journal
from edge.vault.payloads import PayloadVault as Payloads
from edge.vault.slots import ShredSlots
from formats.age import X25519Identity
from formats.keys import SigningKey

IDENTITY = X25519Identity.generate(b"\x07" * 32)
KEY = SigningKey.from_seed(b"\x09" * 32)
EDGE_ID = "crash-1"
POLICY = Policy(
    name="support",
    mode="opt_in",
    purposes=("quality",),
    capture=Format(seal_every=Seconds(0.5)),
    recipients=(str(IDENTITY.recipient()),),
)
if "--suite" in sys.argv:
    POLICY = msgspec.structs.replace(POLICY, suite=sys.argv[sys.argv.index("--suite") + 1])


class NoAsterisk:
    """The link is down all the time: the recorder must not need it."""

    up = False

    async def stop_monitor(self, channel_name: str, monitor_id: str) -> bool:
        raise CallwardenError("ami.down", "no link")

    async def set_variable(self, channel_name: str, name: str, value: str) -> None:
        raise CallwardenError("ami.down", "no link")

    async def get_variable(self, channel_name: str, name: str) -> str:
        raise CallwardenError("ami.down", "no link")

    async def mute_monitor(self, channel_name: str, monitor_id: str, on: bool) -> bool:
        raise CallwardenError("ami.down", "no link")

    async def summon(self, channel_name: str) -> None:
        raise CallwardenError("ami.down", "no link")

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None: ...
    async def set_device(self, name: str, state: str) -> None:
        raise CallwardenError("ami.down", "no link")

    def channel_alive(self, channel_uid: str) -> bool | None:
        return None

    def channel_name(self, channel_uid: str) -> str | None:
        return None

    def with_channel(self, channel_uid: str) -> Mapping[str, str]:
        return {}


class FolderLine(NoAsterisk):
    """A manager that outlives the daemon: files named `muted` and `stopped`, obeyed by whoever writes the spool file.

    With a file `deaf` mutes are acknowledged and not obeyed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get_variable(self, channel_name: str, name: str) -> str:
        return "0x7f"

    async def mute_monitor(self, channel_name: str, monitor_id: str, on: bool) -> bool:
        if on and not (self._folder / "deaf").exists():
            (self._folder / "muted").touch()
        else:
            (self._folder / "muted").unlink(missing_ok=True)
        return True

    async def stop_monitor(self, channel_name: str, monitor_id: str) -> bool:
        (self._folder / "stopped").touch()
        return True


async def conduct(journal: Journal, recorder: Recorder, folder: Path) -> None:
    """Compare what is wanted (a file `wanted`: a pause) with what is, at the start and at each change.

    A file `incident` holds the time since when nothing may be kept, and goes when that is promised.
    """
    known, actor = None, Actor("agent", "PJSIP/agent1")
    while True:
        wanted = (folder / "wanted").exists()
        for row in await journal.recordings(states=LIVE) if wanted != known else ():
            at = SystemClock().wall_text()
            with contextlib.suppress(CallwardenError):
                if wanted:
                    await journal.open_pause(PauseRow("cd" * 16, row.call_id, "asked", actor, at, None))
                    await recorder.pause(row.recording_id)
                else:
                    await journal.close_pause("cd" * 16, at, actor)
                    await recorder.resume(row.recording_id)
                known = wanted
        if (folder / "incident").exists():
            for row in await journal.recordings(states=LIVE):
                await recorder.shred_segment(row.recording_id, since=(folder / "incident").read_text())
            (folder / "incident").unlink()
        await asyncio.sleep(0.02)


async def clean_up(journal: Journal, slots: ShredSlots, vault: Payloads) -> None:
    """The retention stage's part of an incident; no central is configured."""

    async def in_worker(work: Callable[[], Any]) -> Any:
        return work()

    means = SimpleNamespace(journal=journal, slots=slots, vault=vault, keeper=None, in_worker=in_worker)
    while True:
        await Incidents(cast(Means, means)).once()
        await asyncio.sleep(0.1)


def open_parts(
    state: Path, spool: Path, asterisk: NoAsterisk | None = None
) -> tuple[Journal, ShredSlots, Payloads, Recorder]:
    clock = JumpingClock()
    audit = AuditLog()
    journal = Journal.open(state / "journal.db", audit=audit, clock=clock, edge_id=EDGE_ID)
    slots = ShredSlots.open(str(state / "shred.keys"), owner=journal.instance_id, count=256, allow_copy_on_write=True)
    journal.audit_log = audit  # type: ignore[attr-defined]
    vault = Payloads(str(state / "vault"))
    tools = Tools(
        journal=journal,
        slots=slots,
        vault=vault,
        spool=Spool(spool, None),
        resume=ResumeFolder(state.parent / "resume", journal.instance_id, clock),
        clock=clock,
        asterisk=asterisk or NoAsterisk(),
        make_manifest=manifest_maker(EDGE_ID, KEY),
        worker=ThreadPoolExecutor(1),
    )
    return journal, slots, vault, Recorder(tools)


async def begin(journal: Journal, recorder: Recorder, spool: Path, policy: Policy | None = None) -> None:
    policy = policy or POLICY
    clock = SystemClock()
    call_id = secrets.token_hex(16)
    await journal.open_call(
        NewCall(
            call_id=call_id, linked_id=secrets.token_hex(4), channel_uid="1.1", channel_name="SIP/x-1", party_id=secrets.token_hex(16),
            direction="inbound", policy_id="support", policy_version=policy.version, policy_document=policy.document,
            mode="opt_in", purposes=policy.purposes, language="en", number_heard="100", number_class="plain",
            started_at=clock.wall_text(),
        )
    )  # fmt: skip
    prepared = await recorder.prepare(policy)
    permit = grant(secrets.token_hex(16), call_id, "given", policy.purposes, "support", policy.version)
    new = recorder.rows(prepared, permit, policy, "1.1", "SIP/x-1")
    event = ConsentEvent("given", clock.wall_text(), clock.mono_ns(), {"key": "1"}, None)
    await journal.grant(call_id, event, permit.permit_id, policy.purposes, new)
    order = recorder.begin(permit, prepared, new, policy)
    print(order.path, flush=True)


class JumpingClock(SystemClock):
    """The machine's clocks, of which the wall's can be set."""

    ahead = timedelta()

    def wall(self) -> datetime:
        return super().wall() + self.ahead


async def jump(journal: Journal) -> None:
    """Once something is sealed, the wall clock is an hour ahead."""
    while not any(s.chunks for r in await journal.recordings() for s in r.segments):
        await asyncio.sleep(0.05)
    JumpingClock.ahead = timedelta(hours=1)


async def main(state: Path, spool: Path) -> None:
    folder = Path(sys.argv[sys.argv.index("--line") + 1]) if "--line" in sys.argv else None
    journal, slots, vault, recorder = open_parts(state, spool, FolderLine(folder) if folder else None)
    slots.sweep(await journal.slots_in_use())
    await journal.audit_log.unlock(journal, slots)  # type: ignore[attr-defined]
    await recorder.recover()
    if "--hung-up" in sys.argv:
        recorder.link_up({})
    if not await journal.recordings():
        more = {"compact": "flac"} if "--compact" in sys.argv else {}
        await begin(journal, recorder, spool, msgspec.structs.replace(POLICY, **more))
    jumping = asyncio.create_task(jump(journal)) if "--clock-jump" in sys.argv else None
    conducting = asyncio.create_task(conduct(journal, recorder, folder)) if folder else None
    running = asyncio.create_task(recorder.run())
    cleaning = asyncio.create_task(clean_up(journal, slots, vault))
    while recorder.live or await journal.shredding():
        if running.done():
            running.result()
        await asyncio.sleep(0.02)
    running.cancel()
    cleaning.cancel()
    if jumping:
        jumping.cancel()
    if conducting:
        conducting.cancel()
    await journal.close()
    await slots.close()


if __name__ == "__main__":
    log.set_up("console")
    if "--segment-chunks" in sys.argv:
        limit = int(sys.argv[sys.argv.index("--segment-chunks") + 1])
        capture.segment_chunks = lambda byte_rate, chunk: limit  # type: ignore[attr-defined]
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
