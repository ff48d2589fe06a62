"""The guard between a stand-in for Asterisk and real daemons in processes of their own (faults.md rows 1 to 3, 9, 12, 13)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.agi.guard import main
from tests.unit.agi.fake import FakeAsterisk, env_bytes, start_daemon, start_guard

Process = asyncio.subprocess.Process

#: What must come waits so long at most, seconds: a busy machine may be late.
PATIENCE_S = 60.0
#: Less than the 2 s after which a silent daemon is given up: the guard did not wait for them, seconds.
AT_ONCE_S = 1.5


async def end(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    await process.wait()


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("g") / "agi.sock"


@pytest.fixture
async def guard(socket_path: Path) -> AsyncIterator[tuple[Process, int]]:
    process, port = await start_guard(socket_path)
    yield process, port
    await end(process)


@pytest.fixture
async def daemon(socket_path: Path) -> AsyncIterator[Process]:
    process = await start_daemon(socket_path)
    yield process
    await end(process)


async def served(port: int) -> bool:
    """Whether a whole session passes now."""
    fake = await FakeAsterisk.tcp(port)
    await fake.run()
    fake.writer.close()
    return any("CALLWARDEN_OUTCOME" in command for command in fake.commands)


async def until_served(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await served(port):
            await asyncio.sleep(0.05)


async def test_a_session_passes(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])


async def test_row1_absent_daemon_frees_at_once(guard: tuple[Process, int]) -> None:
    fake = await FakeAsterisk.tcp(guard[1])
    assert await fake.closed_after() < AT_ONCE_S


async def test_row2_killed_daemon_frees_at_once(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    fake = await FakeAsterisk.tcp(guard[1])
    await fake.run(limit=3)
    assert (await fake.next_command()).startswith("STREAM FILE")  # the prompt plays
    daemon.kill()
    assert await fake.closed_after() < AT_ONCE_S


async def test_row3_frozen_before_the_call(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    daemon.send_signal(signal.SIGSTOP)
    fake = await FakeAsterisk.tcp(guard[1])
    await asyncio.wait_for(fake.closed_after(), PATIENCE_S)
    later = await FakeAsterisk.tcp(guard[1])  # the heartbeat is late by now: no waiting at all
    assert await later.closed_after() < AT_ONCE_S


async def test_row3_frozen_in_the_prompt(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    fake = await FakeAsterisk.tcp(guard[1])
    await fake.run(limit=3)
    assert (await fake.next_command()).startswith("STREAM FILE")
    daemon.send_signal(signal.SIGSTOP)
    await asyncio.wait_for(fake.closed_after(), PATIENCE_S)  # freed although the prompt goes on


async def test_row3_thawed_daemon_serves_again(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    daemon.send_signal(signal.SIGSTOP)
    fake = await FakeAsterisk.tcp(guard[1])
    await fake.closed_after()
    daemon.send_signal(signal.SIGCONT)
    await until_served(guard[1])


async def test_restarted_daemon_is_found_at_its_new_socket(guard: tuple[Process, int], socket_path: Path) -> None:
    for _ in range(2):
        daemon = await start_daemon(socket_path)
        try:
            await until_served(guard[1])
        finally:
            await end(daemon)
        fake = await FakeAsterisk.tcp(guard[1])
        assert await fake.closed_after() < AT_ONCE_S


async def test_row12_five_hundred_silent_connections(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    silent = [await asyncio.open_connection("127.0.0.1", guard[1]) for _ in range(500)]
    assert await served(guard[1])
    for reader, _ in silent:
        with_end = await asyncio.wait_for(_read_end(reader), PATIENCE_S)
        assert with_end
    for _, writer in silent:
        writer.close()


async def _read_end(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_row12_more_than_the_limit_are_closed_at_once(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    taken = [await asyncio.open_connection("127.0.0.1", guard[1]) for _ in range(1024)]
    fake = await FakeAsterisk.tcp(guard[1])
    assert await fake.closed_after() < AT_ONCE_S
    for _, writer in taken:
        writer.close()


async def test_row9_noise_is_closed_and_never_reaches_the_daemon(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(70_000), b"agi_x: 1\n" * 3, env_bytes() + b"garbage\n"):
        fake = await FakeAsterisk.tcp(guard[1], noise)
        assert await fake.closed_after() < AT_ONCE_S
    assert await served(guard[1])


async def test_hangup_lines_do_not_shift_the_answers(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    fake = await FakeAsterisk.tcp(guard[1])
    await fake.run(limit=3)
    await fake.next_command()
    fake.writer.write(b"HANGUP\nHANGUP\n")
    assert await fake.closed_after() < AT_ONCE_S  # the daemon ends a dialogue whose caller is gone
    assert await served(guard[1])


async def test_the_count_of_freed_calls_reaches_the_daemon(guard: tuple[Process, int], socket_path: Path) -> None:
    for _ in range(3):
        await (await FakeAsterisk.tcp(guard[1])).closed_after()
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.readline())
        writer.write(b".")
        await asyncio.sleep(0.2)
        writer.close()

    async with await asyncio.start_unix_server(listen, str(socket_path)):
        assert await asyncio.wait_for(heard.get(), PATIENCE_S) == b"callwarden-guard 1 turned_away=3\n"
        assert await asyncio.wait_for(heard.get(), PATIENCE_S) == b"callwarden-guard 1 turned_away=0\n"


def test_row13_only_a_loopback_address_is_listened_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--listen", "0.0.0.0:0", "--socket", "/nowhere"]) == 2
    assert "not a loopback" in capsys.readouterr().err


async def test_a_socket_that_cannot_be_opened_is_said_once(guard: tuple[Process, int], socket_path: Path) -> None:
    assert guard[0].stderr is not None
    assert b"no daemon at" in await asyncio.wait_for(guard[0].stderr.readline(), PATIENCE_S)
    daemon = await start_daemon(socket_path)
    assert b"the daemon is at" in await asyncio.wait_for(
        guard[0].stderr.readline(), PATIENCE_S
    )  # one line, after many tries
    await end(daemon)


async def test_taken_port_is_said(guard: tuple[Process, int]) -> None:
    process = await asyncio.create_subprocess_exec(
        *("python3", "-m", "edge.agi.guard", "--listen", f"127.0.0.1:{guard[1]}", "--socket", "/nowhere"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = (await process.stderr.read()).decode()
    assert await process.wait() == 8
    assert "cannot listen" in said


async def test_idle_guard_costs_next_to_nothing(guard: tuple[Process, int], daemon: Process) -> None:
    await until_served(guard[1])
    pid = guard[0].pid
    before = _cpu_seconds(pid)
    await asyncio.sleep(2)
    assert _cpu_seconds(pid) - before < 0.5
    assert _resident_mb(pid) < 40


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
