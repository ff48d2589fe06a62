"""`python -m bench.sealing`: how fast a file is sealed, side by side and in turns: our chunks against the raw cipher of the
same library, ours from file to file against `age`, `openssl enc` and `gpg`, and the edge's whole way of a piece to the disk.

docs/bench.md explains figures. Exits 0 when every row was measured and what was sealed opens again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from bench.foreign import tools
from bench.machine import machine, software
from edge.vault.payloads import PayloadVault
from formats.manifest import TAGS_HASH_START, extend_tags_hash
from formats.place import Place
from formats.suites import SUITES, TAG, Suite
from rig.places import PROJECT

RESULTS = PROJECT / "bench" / "results"
PLACE = Place("a1" * 16, "b2" * 16)
#: Plaintext that the edge seals in one tick (edge.consent.policy, TICK_BYTES).
TICK = 131072
_RAW: dict[str, Callable[[bytes], Any]] = {"age1": ChaCha20Poly1305, "aes256gcm": AESGCM}

#: Bytes that each way takes in its turn.
STEP = 1 << 20

Row = dict[str, Any]
Way = Callable[[], None]
#: Takes the mebibyte that begins at a byte of the data.
Step = Callable[[int], None]


@dataclass(frozen=True)
class Speed:
    """MiB of plaintext per second of wall and of CPU time."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, size: int, wall_s: float, cpu_s: float) -> Speed:
        """Of `size` bytes in so many seconds; CPU time has steps, and one step is the least there is."""
        return cls(size / (1 << 20) / wall_s, size / (1 << 20) / max(cpu_s, 1e-6))


def raw(suite: Suite, data: bytes) -> Step:
    """The cipher of the library alone, in chunks of the suite's size: what no format can be faster than."""
    encrypt = _RAW[suite.name](os.urandom(32)).encrypt

    def go(begin: int) -> None:
        for at in range(begin, begin + STEP, suite.chunk):
            encrypt(at.to_bytes(12, "big"), data[at : at + suite.chunk], None)

    return go


def chunks(suite: Suite, data: bytes) -> Step:
    """The suite's sealer on the same chunks."""
    seal = suite.sealer(os.urandom(suite.file_key), os.urandom(suite.salt), PLACE).seal

    def go(begin: int) -> None:
        for at in range(begin, begin + STEP, suite.chunk):
            seal(at // suite.chunk, data[at : at + suite.chunk], last=False)

    return go


def edge_way(suite: Suite, data: bytes, vault: PayloadVault, ids: tuple[str, str]) -> Step:
    """What the edge does with the pieces of its ticks: chunks, SHA-512 and running hash, append, fsync."""
    sealer = suite.sealer(os.urandom(suite.file_key), os.urandom(suite.salt), PLACE)
    digest, tags, offset = hashlib.sha512(), TAGS_HASH_START, 0
    vault.create(*ids)

    def go(begin: int) -> None:
        nonlocal tags, offset
        for at in range(begin, begin + STEP, TICK):
            parts = [] if offset else [sealer.prefix]
            for low in range(at, at + TICK, suite.chunk):
                parts.append(sealer.seal(low // suite.chunk, data[low : low + suite.chunk], last=False))
                tags = extend_tags_hash(tags, parts[-1][-TAG:])
            sealed = b"".join(parts)
            vault.append(*ids, offset, sealed)
            digest.update(sealed)
            offset += len(sealed)

    return go


def sha512(data: bytes) -> Step:
    """What the manifest's hash of a payload costs by itself."""
    digest = hashlib.sha512()
    return lambda begin: digest.update(data[begin : begin + STEP])


def raw_file(suite: Suite, source: Path, target: Path) -> Way:
    """The cipher alone, from file to file."""

    def go() -> None:
        cipher = _RAW[suite.name](os.urandom(32))
        with source.open("rb", buffering=0) as plain, target.open("wb", buffering=0) as sealed:
            number = 0
            while piece := plain.read(suite.chunk):
                sealed.write(cipher.encrypt(number.to_bytes(12, "big"), piece, None))
                number += 1

    return go


def stream_file(suite: Suite, source: Path, target: Path, keep: Row) -> Way:
    """The suite's whole payload, from file to file."""

    def go() -> None:
        keep["key"], salt = os.urandom(suite.file_key), os.urandom(suite.salt)
        with source.open("rb", buffering=0) as plain, target.open("wb", buffering=0) as sealed:
            for piece in suite.write(keep["key"], salt, PLACE, plain):
                sealed.write(piece)

    return go


def spent() -> tuple[float, float]:
    """Wall time and CPU time of this process and its ended children, seconds."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime


def measured(way: Way, size: int) -> Speed:
    """One way on the whole file."""
    before = spent()
    way()
    after = spent()
    return Speed.of(size, after[0] - before[0], after[1] - before[1])


def in_turns(ways: dict[str, Step], size: int) -> dict[str, Speed]:
    """Several ways, a mebibyte each in turns and every other time in the opposite order, so that what else the machine does,
    and who finds the data in the cache, hits all alike."""
    totals = {name: [0.0, 0.0] for name in ways}
    for number, begin in enumerate(range(0, size, STEP)):
        for name, way in list(ways.items())[:: -1 if number % 2 else 1]:
            before = spent()
            way(begin)
            after = spent()
            totals[name][0] += after[0] - before[0]
            totals[name][1] += after[1] - before[1]
    return {name: Speed.of(size, *total) for name, total in totals.items()}


def run(size: int, rounds: int, folder: Path, disk: Path) -> Row:
    """Every way once per round; medians, and ratios of pairs made within each round. `size`: bytes, whole mebibytes.

    Raises RuntimeError where what was sealed does not open to what it was.
    """
    data, source, target = os.urandom(size), folder / "plain", folder / "sealed"
    source.write_bytes(data)
    foreign, absent = tools(folder)
    vault, rows = PayloadVault(str(disk)), []
    for _ in range(rounds):
        row: dict[str, Speed] = {}
        ids = os.urandom(16).hex()
        steps: dict[str, Step] = {"sha512": sha512(data)}
        for name, suite in SUITES.items():
            steps[f"{name}_raw"], steps[f"{name}_chunks"] = raw(suite, data), chunks(suite, data)
            steps[f"{name}_edge"] = edge_way(suite, data, vault, (ids, os.urandom(16).hex()))
        row |= in_turns(steps, size)
        vault.unlink(ids)
        for name, suite in SUITES.items():
            keep: Row = {}
            row[f"{name}_raw_file"] = measured(raw_file(suite, source, target), size)
            row[f"{name}_file"] = measured(stream_file(suite, source, target, keep), size)
            with target.open("rb") as sealed:
                opened = hashlib.sha256(b"".join(suite.read(keep["key"], PLACE, sealed)))
            if opened.digest() != hashlib.sha256(data).digest():
                raise RuntimeError(f"what {name} sealed does not open to what it was")
        for tool in foreign:
            target.unlink(missing_ok=True)
            row[tool.name] = measured(partial(tool.seal, source, target), size)
        rows.append(row)
    for tool in foreign:
        tool.close()
    names = sorted(rows[0])
    return {
        "mib_per_s": {name: round(statistics.median(row[name].wall for row in rows), 1) for name in names},
        "mib_per_cpu_s": {name: round(statistics.median(row[name].cpu for row in rows), 1) for name in names},
        "ratios": ratios(rows, [tool.name for tool in foreign]),
        "tools": {tool.name: {"cipher": tool.cipher, "version": tool.version} for tool in foreign},
        "absent": absent,
        "rounds": [{name: [round(v.wall, 1), round(v.cpu, 1)] for name, v in row.items()} for row in rows],
    }


def ratios(rows: list[dict[str, Speed]], foreign: list[str]) -> Row:
    """Median over rounds of ours divided by the other, by wall and by CPU time, each pair from the same round."""
    pairs = []
    for name in SUITES:
        pairs += [
            (f"{name}_chunks", f"{name}_raw"),
            (f"{name}_file", f"{name}_raw_file"),
            (f"{name}_edge", f"{name}_raw"),
        ]
        pairs += [(f"{name}_file", other) for other in foreign]
    return {
        f"{a}/{b}": {
            "wall": round(statistics.median(row[a].wall / row[b].wall for row in rows), 3),
            "cpu": round(statistics.median(row[a].cpu / row[b].cpu for row in rows), 3),
        }
        for a, b in pairs
    }


def table(result: Row) -> str:
    """For people."""
    cpu = result["mib_per_cpu_s"]
    lines = [f"{'MiB a second of':24} {'wall':>9} {'CPU':>9}"]
    lines += [f"{name:24} {value:9.1f} {cpu[name]:9.1f}" for name, value in result["mib_per_s"].items()]
    lines += [f"{'ratio of ours by':44} {'wall':>7} {'CPU':>7}"]
    return "\n".join([*lines, *(f"{n:44} {v['wall']:7.3f} {v['cpu']:7.3f}" for n, v in result["ratios"].items())])


def main(arguments: list[str]) -> int:
    """Measure, write the JSON, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.sealing", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--mib", type=int, default=64, help="size of the file")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--disk", type=Path, default=PROJECT / ".rig", help="folder for the edge's own way, on a disk")
    parser.add_argument("--out", type=Path, help="where to write the JSON (default: bench/results/sealing-DATE.json)")
    options = parser.parse_args(arguments)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    options.disk.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=memory) as folder, tempfile.TemporaryDirectory(dir=options.disk) as disk:
        found = run(options.mib << 20, options.rounds, Path(folder), Path(disk))
        result = {
            "what": "sealing throughput, side by side",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine(Path(disk)),
            "software": software(telephony=False),
            "options": {"mib": options.mib, "rounds": options.rounds},
            **found,
        }
    out = options.out or RESULTS / f"sealing-{result['at'][:10]}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    print(f"Figures of every round: {out}")
    for name, why in result["absent"].items():
        print(f"not measured: {name}, {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
