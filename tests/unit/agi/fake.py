"""A stand-in for Asterisk's side of FastAGI, over a real socket, and a daemon in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

TOKEN = "0123456789abcdef0123456789abcdef"
ENV = {
    "agi_network": "yes",
    "agi_network_script": "entry",
    "agi_request": "agi://127.0.0.1:4573/entry",
    "agi_channel": "PJSIP/anonymous-00000001",
    "agi_language": "en",
    "agi_uniqueid": "1795309622.7",
    "agi_callerid": "+420777123456",
    "agi_calleridname": "Alice",
    "agi_callingpres": "0",
    "agi_dnid": "1001",
    "agi_arg_1": "support",
    "agi_arg_2": "1795309622.7",
}


def env_bytes(**changes: str | None) -> bytes:
    """An environment block; None removes a key."""
    values = {key: value for key, value in {**ENV, **changes}.items() if value is not None}
    return "".join(f"{key}: {value}\n" for key, value in values.items()).encode() + b"\n"


class FakeAsterisk:
    """One session seen from Asterisk: answers commands as `answers` says (first word or "SET VARIABLE NAME" to a line)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.commands: list[str] = []
        self.answers: dict[str, str | Callable[[str], str]] = {}

    @classmethod
    async def unix(cls, path: str | Path, env: bytes | None = None) -> FakeAsterisk:
        """Straight to the daemon's socket."""
        fake = cls(*await asyncio.open_unix_connection(str(path)))
        fake.writer.write(env_bytes() if env is None else env)
        return fake

    @classmethod
    async def tcp(cls, port: int, env: bytes | None = None) -> FakeAsterisk:
        """Through the guard."""
        fake = cls(*await asyncio.open_connection("127.0.0.1", port))
        fake.writer.write(env_bytes() if env is None else env)
        return fake

    async def run(self, limit: int | None = None) -> None:
        """Answer until the other side closes, or `limit` commands were answered."""
        while limit is None or len(self.commands) < limit:
            line = await self.next_command()
            if not line:
                return
            self.reply(self.answer_to(line))

    async def next_command(self) -> str:
        """The next command without its line feed; "" at the end."""
        try:
            line = (await self.reader.readline()).decode().rstrip("\n")
        except ConnectionError:
            return ""
        if line:
            self.commands.append(line)
        return line

    def answer_to(self, line: str) -> str:
        bare = line.replace('"', "")
        for start in sorted(self.answers, key=len, reverse=True):
            if bare.startswith(start):
                answer = self.answers[start]
                return answer(bare) if callable(answer) else answer
        if bare == "GET VARIABLE CALLWARDEN_TOKEN":
            return f"200 result=1 ({TOKEN})"
        if bare == "GET VARIABLE STACK_PEEK(1,c)":
            return "200 result=1 (from-callers)"
        return {"SET": "200 result=1", "GET": "200 result=0", "STREAM": "200 result=0 endpos=8000"}.get(
            bare.split(" ")[0], "200 result=0"
        )

    def reply(self, line: str) -> None:
        self.writer.write(line.encode() + b"\n")

    async def closed_after(self) -> float:
        """Seconds until the other side closes (whatever it still says)."""
        begin = time.monotonic()
        try:
            while await self.reader.read(4096):
                pass
        except ConnectionError:
            pass
        return time.monotonic() - begin


DAEMON = """
import asyncio, sys
from edge.agi.server import AgiServer
async def handler(dialogue):
    await dialogue.answer()
    await dialogue.play("/prompts/ask", "1")
    await dialogue.set_variable("CALLWARDEN_OUTCOME", "given")
async def main():
    server = AgiServer(sys.argv[1], sys.argv[2], handler)
    await server.start()
    print("ready", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


async def start_daemon(socket_path: Path) -> asyncio.subprocess.Process:
    """A real AgiServer in its own process; returns when it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, str(socket_path), TOKEN, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def start_guard(socket_path: Path, deadline: float = 2.0) -> tuple[asyncio.subprocess.Process, int]:
    """The real guard in its own process, and its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge.agi.guard", "--listen", "127.0.0.1:0"),
        *("--socket", str(socket_path), "--deadline", str(deadline)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    return process, int(line.strip().rpartition(":")[2])
