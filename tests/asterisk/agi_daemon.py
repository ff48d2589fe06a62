"""A small daemon made of the product's own AGI door and AMI link, for the tests of the two alone.

python -m tests.asterisk.agi_daemon AGI_SOCKET AMI_PORT SECRET_FILE PROMPT MONITOR_FOLDER: asks every caller, starts
MixMonitor, sets the outcome and then the feature codes; a feature code plays the prompt.
Prints `ready` when the link is up, and a line per dialogue.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from edge.agi import variables
from edge.agi.server import AgiServer
from edge.ami.link import AmiLink, AmiSettings
from edge.ports import CallerGone, Dialogue, DialogueLost


class Quiet:
    """A ChannelSink that only has to exist."""

    def channel_gone(self, channel_uid: str) -> None: ...
    def channel_bridged(self, channel_uid: str) -> None: ...
    def channel_unbridged(self, channel_uid: str) -> None: ...
    def company_changed(self, channel_uids: frozenset[str]) -> None: ...
    def channel_held(self, channel_uid: str, on: bool) -> None: ...
    def monitor_seen(self, channel_uid: str, on: bool) -> None: ...
    def link_up(self, alive: Mapping[str, str]) -> None: ...
    def link_down(self) -> None: ...


async def main(agi_socket: str, ami_port: str, secret_file: str, prompt: str, folder: str) -> None:
    """Serve until killed."""

    async def ask(dialogue: Dialogue) -> None:
        told: dict[str, object] = {"number": dialogue.caller_number, "context": dialogue.context}
        told |= {"uid": dialogue.channel_uid, "linked": dialogue.linked_id, "script": dialogue.script}
        try:
            if dialogue.script == "feature":
                told["feature"] = dialogue.feature
                _, told["played_ms"] = await dialogue.play(prompt, "")
                return
            await dialogue.answer()
            await dialogue.discard_keys()
            key, told["played_ms"] = await dialogue.play(prompt, "12")
            told["key"] = key = key or await dialogue.wait_key(1000)
            if key == "1":
                spool = Path(folder) / f"{secrets.token_hex(16)}.raw"
                spool.touch()
                spool.chmod(0o666)
                told["spool"], told["monitor"] = str(spool), await dialogue.start_monitor(str(spool), "D")
            await dialogue.set_variable(variables.CALL, "c" * 32)
            tag = "given" if key == "1" else "refused"
            await dialogue.set_variable(variables.CDR_USERFIELD, variables.cdr_tag(tag, "c" * 32))
            await dialogue.set_variable(variables.OUTCOME, tag)
            if dialogue.script == "entry":
                await dialogue.set_variable("__DYNAMIC_FEATURES", "cwapi#cwwithdraw")
            told["alive"] = link.channel_alive(dialogue.channel_uid)
        except (CallerGone, DialogueLost) as ended:
            told["ended"] = type(ended).__name__
            raise
        finally:
            print(json.dumps(told), flush=True)

    token = secrets.token_hex(16)
    link = AmiLink(AmiSettings("127.0.0.1", int(ami_port), "callwarden", Path(secret_file)), Quiet(), token)
    server = AgiServer(agi_socket, token, ask)
    linked = asyncio.create_task(link.run())
    await link.wait_up()
    await server.start()
    print("ready", flush=True)
    await linked


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
