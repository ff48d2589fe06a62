"""Records what a real Asterisk says, for the tests that must run without one: `python -m tests.transcripts.record`.

agi.txt: one session, from the environment to the hang-up, with every kind of answer. ami.txt: a login as the product's
account with its full event stream over two calls. Ids and times differ on each recording; tests read them from it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from edge.agi.protocol import AgiParser, EnvReceived, Reply
from edge.ami.connection import connect
from rig.asterisk import Asterisk, start_asterisk
from rig.pbx_dialplan import DialplanSettings
from rig.ports import free_tcp_port
from tests.transcripts.relay import Relay

HERE = Path(__file__).parent
EXTRA = """
exten => caller,1,Answer()
 same => n,Wait(0.5)
 same => n,SendDTMF(1)
 same => n,Wait(4)
exten => lines,1,Set(TWO_LINES=${SHELL(printf 'a\\012b')})
 same => n,AGI(agi://127.0.0.1:%d/entry,support,${CHANNEL(linkedid)})
"""
COMMANDS = (
    "ANSWER",
    'GET VARIABLE "CALLWARDEN_TOKEN"',
    'SET VARIABLE "CALLWARDEN_OUTCOME" "unavailable"',
    'GET VARIABLE "CALLWARDEN_OUTCOME"',
    'GET VARIABLE "TWO_LINES"',
    'STREAM FILE "no-such-file" "12" "0"',
    'STREAM FILE "vm-goodbye" "1" "0"',
    'WAIT FOR DIGIT "1"',
    "NO SUCH COMMAND",
    "SET VARIABLE",
    'EXEC "UserEvent" "CallwardenTest,Outcome: given"',
    "HANGUP",
    'GET VARIABLE "CALLWARDEN_OUTCOME"',
)


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say every command, each after the answer to the last."""
    parser = AgiParser()
    waiting = list(COMMANDS)
    while data := await reader.read(4096):
        for event in parser.feed(data):
            if isinstance(event, EnvReceived | Reply):
                if not waiting:
                    writer.close()
                    return
                writer.write(waiting.pop(0).encode() + b"\n")
    writer.close()


async def record(asterisk: Asterisk, agi_port: int) -> None:
    """Two calls, watched from both sides."""
    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    behind = server.sockets[0].getsockname()[1]
    async with Relay("127.0.0.1", behind, port=agi_port) as agi, Relay("127.0.0.1", asterisk.ami_port) as ami:
        watcher = await connect("127.0.0.1", ami.port, lambda message: None)
        await watcher.action("Login", {"Username": "callwarden", "Secret": asterisk.ami_secret})
        admin = await connect("127.0.0.1", asterisk.ami_port, lambda message: None)
        await admin.action("Login", {"Username": "rig", "Secret": asterisk.ami_secret})
        for extension in ("lines", "lines"):
            call = {"Context": "from-callers", "Exten": extension, "Priority": "1", "Async": "true"}
            await admin.action("Originate", {"Channel": "Local/caller@from-callers", **call})
            await asyncio.sleep(2)
            await watcher.listing("CoreShowChannels", {})
        await asyncio.sleep(6)
        (HERE / "ami.txt").write_bytes(ami.said[0])
    (HERE / "agi.txt").write_bytes(agi.heard[0])
    server.close()


def main() -> int:
    """Start an Asterisk, record, stop it."""
    port = free_tcp_port()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        run = Path(folder)
        run.chmod(0o755)
        asterisk = start_asterisk(run, dialplan=DialplanSettings(run / "monitor", extra=EXTRA % port))
        try:
            asyncio.run(record(asterisk, port))
        finally:
            asterisk.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
