"""A fleet in front of central: N edges over real HTTP, each reporting an event every so often and waiting for commands.

Every edge has its own key and signs every request, as a real one does, and keeps one connection with a long-poll; its events
go over connections that it shares with others, as behind a proxy. Commands are orders of an administrator to edges drawn by
chance; their latency is from before the administrator's request to the end of the answer to the edge's long-poll. Central
runs as processes of its own on the same machine, and so does what is measured here: with two cores the two compete.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import resource
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.machine import machine, software
from central import setup
from central.config import CentralConfig, load
from central.db import locally
from central.enrol import register
from formats import canonical
from formats.ids import format_time
from formats.jws import sign_compact
from formats.keys import SigningKey
from formats.wire import Event, encode_batch, sign_batch
from rig.places import PROJECT
from rig.ports import free_tcp_port
from rig.postgres import postgres

#: An edge reports an event this often, seconds.
EVERY_S: Final = 10.0
#: How long an edge's long-poll waits, seconds.
POLL_S: Final = 25
#: Connections that the events of all edges share.
SHARED: Final = 32
COMMANDS_PER_S: Final = 5.0
RESULTS: Final = PROJECT / "bench" / "results"


@dataclass
class Edge:
    """One simulated edge."""

    edge_id: str
    key: SigningKey
    seq: int = 0
    after: int = 0
    call_id: str = ""

    def authorization(self, method: str, path: str, body: bytes) -> str:
        claims = {
            "edge_id": self.edge_id,
            "iat": format_time(datetime.now(UTC)),
            "method": method,
            "path": path,
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "jti": secrets.token_hex(16),
        }
        return "Callwarden " + sign_compact(canonical.dumps(claims), self.key, self.key.kid, "callwarden-request+json")

    def batch(self) -> tuple[bytes, str]:
        """The next event, signed."""
        self.seq += 1
        self.call_id = secrets.token_hex(16)
        event = Event(
            id=secrets.token_hex(16),
            source=self.edge_id,
            type="call.opened",
            subject=self.call_id,
            time=format_time(datetime.now(UTC)),
            sequence=self.seq,
            incarnation=1,
            data={"call_id": self.call_id, "direction": "inbound", "policy_id": "support", "mode": "opt_in"},
        )
        body = encode_batch([event])
        return body, sign_batch(body, self.key)


class Http:
    """One keep-alive connection, as plain as it can be: what is measured is central."""

    #: Requests over all connections.
    asked = 0

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """(status, JSON)."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", "Host: central", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(head.split(" ", 2)[1])
        length = int(head.split("content-length: ", 1)[1].split("\r\n", 1)[0])
        Http.asked += 1
        return status, json.loads(await reader.readexactly(length))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


@dataclass
class Counts:
    """What happened within the measured time."""

    accepted: int = 0
    refused: int = 0
    event_s: list[float] = field(default_factory=list)
    command_s: list[float] = field(default_factory=list)
    sent: dict[str, float] = field(default_factory=dict)
    measuring: bool = False


class Fleet:
    """All edges, and the administrator."""

    def __init__(self, edges: list[Edge], ports: list[int], token: str) -> None:
        self.edges, self.token, self.counts = edges, token, Counts()
        self._polls = [Http(ports[n % len(ports)]) for n in range(len(edges))]
        self._ports = ports
        self._pool: asyncio.Queue[Http] = asyncio.Queue()
        for n in range(SHARED):
            self._pool.put_nowait(Http(ports[n % len(ports)]))
        self._admin = Http(ports[0])

    async def run(self, warm_s: float, seconds: float) -> None:
        """Connect, warm up, measure."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._poll(edge, http)) for edge, http in zip(self.edges, self._polls, strict=True)]
        tasks += [loop.create_task(self._report(edge)) for edge in self.edges]
        tasks.append(loop.create_task(self._command()))
        await asyncio.sleep(warm_s)
        self.counts = Counts(measuring=True)
        await asyncio.sleep(seconds)
        self.counts.measuring = False
        await asyncio.sleep(2)  # what is under way arrives
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for http in self._polls:
            http.close()

    async def _poll(self, edge: Edge, http: Http) -> None:
        await asyncio.sleep(random.uniform(0, EVERY_S))
        while True:
            path = f"/v1/edges/{edge.edge_id}/deliveries?after={edge.after}&wait={POLL_S}"
            status, answer = await http.ask("GET", path, b"", {"Authorization": edge.authorization("GET", path, b"")})
            if status != 200:
                raise RuntimeError(f"a long-poll was answered {status}: {answer}")
            for one in answer["deliveries"]:
                edge.after = one["seq"]
                began = self.counts.sent.pop(edge.edge_id, None)
                if began is not None:
                    self.counts.command_s.append(time.monotonic() - began)

    async def _report(self, edge: Edge) -> None:
        await asyncio.sleep(random.uniform(0, EVERY_S))
        path = f"/v1/edges/{edge.edge_id}/events"
        while True:
            began = time.monotonic()
            body, signature = edge.batch()
            http = await self._pool.get()
            try:
                status, answer = await http.ask(
                    "POST",
                    path,
                    body,
                    {
                        "Authorization": edge.authorization("POST", path, body),
                        "Callwarden-Signature": signature,
                        "Content-Type": "application/cloudevents-batch+json",
                    },
                )
            finally:
                self._pool.put_nowait(http)
            if self.counts.measuring:
                good = status == 200 and answer["items"][0]["status"] == "accepted"
                self.counts.accepted += good
                self.counts.refused += not good
                self.counts.event_s.append(time.monotonic() - began)
            await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))

    async def _command(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        while True:
            await asyncio.sleep(1 / COMMANDS_PER_S)
            edge = random.choice(self.edges)
            if not self.counts.measuring or not edge.seq or edge.edge_id in self.counts.sent:
                continue
            draft = canonical.dumps(
                {"cmd": "hold", "target": {"kind": "edge", "id": edge.edge_id}, "reason": "measured"}
            )
            _, answer = await self._admin.ask("POST", "/v1/orders/draft", draft, headers)
            self.counts.sent[edge.edge_id] = time.monotonic()
            status, said = await self._admin.ask(
                "POST", "/v1/orders", canonical.dumps({"claims": answer["claims"]}), headers
            )
            if status != 202:
                raise RuntimeError(f"an order was answered {status}: {said}")


# ------------------------------------------------------------ central as processes


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def centrals(config: CentralConfig, path: Path, ports: list[int]) -> Iterator[list[int]]:
    """Start `central run` on each port (and a keeper, when there are several); their pids."""
    run = [sys.executable, "-m", "callwarden", "central"]
    several = len(ports) > 1
    commands = [[*run, "keeper", "--central-config", str(path)]] if several else []
    commands += [[*run, "run", "--central-config", str(path), "--listen", f"127.0.0.1:{port}"] for port in ports]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            started.append(subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            if several and len(started) == 1:
                while not (config.keeper_socket and config.keeper_socket.exists()):
                    time.sleep(0.05)
        for port in ports:
            _await(port, started)
        yield [process.pid for process in started[len(started) - len(ports) :]]
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _await(port: int, started: list[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and all(process.poll() is None for process in started):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("central did not start")


@contextlib.contextmanager
def engine(name: str) -> Iterator[str]:
    """The conninfo of an empty, durable database; "" for SQLite."""
    if name == "sqlite":
        yield ""
        return
    with postgres(durable=True, settings=("max_connections=60", "shared_buffers=256MB")) as server:
        yield server.database()


async def measure(
    name: str, edges: int, processes: int, connections: int, warm_s: float, seconds: float
) -> dict[str, Any]:
    """One row: this many edges before this many processes on this engine, each with so many connections to PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="cw-fleet-", dir="/var/tmp") as folder, engine(name) as conninfo:
        made = setup.init(Path(folder) / "central", "127.0.0.1:0", use_tls=False, postgres=conninfo)
        with open(made.config_path, "a") as file:
            file.write(f"connections = {connections}\n")
            if processes > 1:
                file.write('keeper_socket = "keeper.sock"\n')
        config = load(made.config_path)
        fleet = [Edge(f"pbx-{n}", SigningKey.from_seed(os.urandom(32))) for n in range(edges)]
        now = format_time(datetime.now(UTC))
        locally(config, lambda conn: [register(conn, now, one.edge_id, one.key.verify_key) for one in fleet])
        ports = [free_tcp_port() for _ in range(processes)]
        with centrals(config, made.config_path, ports) as pids:
            before = [_rss_kib(pid) for pid in pids]
            crowd = Fleet(fleet, ports, config.token.read_text().strip())
            cpu = sum(_cpu_s(pid) for pid in pids)
            began, asked = time.monotonic(), Http.asked
            await crowd.run(warm_s, seconds)
            spent, took = sum(_cpu_s(pid) for pid in pids) - cpu, time.monotonic() - began
            after = [_rss_kib(pid) for pid in pids]
        counts = crowd.counts
        return {
            "engine": name,
            "processes": processes,
            "connections": connections if name == "postgres" else None,
            "edges": edges,
            "wanted_events_per_s": edges / EVERY_S,
            "events_per_s": round(counts.accepted / seconds, 1),
            "events_refused": counts.refused,
            "event_ms": _spread(counts.event_s),
            "commands": len(counts.command_s),
            "commands_lost": len(counts.sent),
            "command_ms": _spread(counts.command_s),
            "central_cpu_share": round(spent / took, 2),
            "central_cpu_ms_per_request": round(spent / max(Http.asked - asked, 1) * 1000, 2),
            "central_rss_mib": [round(one / 1024, 1) for one in after],
            "rss_kib_per_edge": round((sum(after) - sum(before)) / edges, 1),
        }


def _spread(values: list[float]) -> dict[str, float] | None:
    if len(values) < 2:
        return None
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49] * 1000, 1), "p99": round(cuts[98] * 1000, 1), "max": round(max(values) * 1000, 1)}


async def rows(plan: list[tuple[str, int, int, int]], warm_s: float, seconds: float) -> AsyncIterator[dict[str, Any]]:
    """One after the other."""
    for name, edges, processes, connections in plan:
        yield await measure(name, edges, processes, connections, warm_s, seconds)


async def measured(words: list[str]) -> int:
    """Print and keep the rows."""
    parser = argparse.ArgumentParser(prog="bench.fleet")
    parser.add_argument("--edges", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm", type=float, default=20)
    parser.add_argument("--name", default=f"fleet-{datetime.now(UTC):%Y-%m-%d}", help="of the file in bench/results")
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres", "postgres2"])
    parser.add_argument("--connections", type=int, nargs="+", default=[8], help="to PostgreSQL, of each process")
    options = parser.parse_args(words)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 65_536), max(hard, 65_536)))
    plan = [
        (one.rstrip("2"), edges, 2 if one.endswith("2") else 1, connections)
        for one in options.engines
        for edges in options.edges
        for connections in options.connections
    ]
    found = []
    async for row in rows(plan, options.warm, options.seconds):
        found.append(row)
        print(json.dumps(row), flush=True)
    result = {
        "at": format_time(datetime.now(UTC)),
        "machine": machine(Path("/var/tmp")),
        "software": software(telephony=False),
        "every_s": EVERY_S,
        "seconds": options.seconds,
        "rows": found,
    }
    path = RESULTS / f"{options.name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"kept in {path.relative_to(PROJECT)}")
    return 0


def main(words: list[str]) -> int:
    """`python -m bench.fleet`; exit code 0."""
    return asyncio.run(measured(words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
