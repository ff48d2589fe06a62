"""`python -m bench.sealing`: how fast a file is sealed, side by side and in turns: our chunks against the raw cipher of the
same library, ours from file to file against `age`, `openssl enc` and `gpg`, and the edge's whole way of a piece to the disk.

docs/bench.md explains figures. Exits 0 when every row was measured and what was sealed opens again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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

Row = dict[str, Any]
Way = Callable[[], None]


def raw(suite: Suite, data: bytes) -> Way:
    """The cipher of the library alone, in chunks of the suite's size: what no format can be faster than."""
    cipher, view = _RAW[suite.name](os.urandom(32)), memoryview(data)

    def go() -> None:
        for number, at in enumerate(range(0, len(data), suite.chunk)):
            cipher.encrypt(number.to_bytes(12, "big"), view[at : at + suite.chunk], None)

    return go


def chunks(suite: Suite, data: bytes) -> Way:
    """The suite's sealer on the same chunks."""
    sealer, view = suite.sealer(os.urandom(suite.file_key), os.urandom(suite.salt), PLACE), memoryview(data)

    def go() -> None:
        count = -(-len(data) // suite.chunk)
        for number, at in enumerate(range(0, len(data), suite.chunk)):
            piece = view[at : at + suite.chunk]
            sealer.seal(number, piece, last=number == count - 1 and len(piece) < suite.chunk)

    return go


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


def edge_way(suite: Suite, data: bytes, folder: Path) -> Iterator[Way]:
    """What the edge does with a piece of a tick, over and over: chunks, SHA-512, running hash, append, fsync."""
    vault = PayloadVault(str(folder))
    while True:
        ids = os.urandom(16).hex(), os.urandom(16).hex()

        def go(ids: tuple[str, str] = ids) -> None:
            sealer = suite.sealer(os.urandom(suite.file_key), os.urandom(suite.salt), PLACE)
            digest, tags, offset, number = hashlib.sha512(), TAGS_HASH_START, 0, 0
            vault.create(*ids)
            for at in range(0, len(data) - TICK + 1, TICK):
                parts = [sealer.prefix] if not offset else []
                for low in range(at, at + TICK, suite.chunk):
                    parts.append(sealer.seal(number, data[low : low + suite.chunk], last=False))
                    tags = extend_tags_hash(tags, parts[-1][-TAG:])
                    number += 1
                sealed = b"".join(parts)
                vault.append(*ids, offset, sealed)
                digest.update(sealed)
                offset += len(sealed)

        yield go
        vault.unlink(ids[0])


def measured(way: Way, size: int) -> float:
    """MiB of plaintext a second of wall time."""
    began = time.perf_counter()
    way()
    return size / (1 << 20) / (time.perf_counter() - began)


def run(size: int, rounds: int, folder: Path, disk: Path) -> Row:
    """Every way once per round, in turns; medians, and ratios of pairs made within each round."""
    data, source, target = os.urandom(size), folder / "plain", folder / "sealed"
    source.write_bytes(data)
    foreign, absent = tools(folder)
    keep: Row = {name: {} for name in SUITES}
    edges = {name: edge_way(suite, data, disk / name) for name, suite in SUITES.items()}
    rows: list[Row] = []
    for _ in range(rounds):
        row: Row = {}
        for name, suite in SUITES.items():
            row[f"{name}_raw"] = measured(raw(suite, data), size)
            row[f"{name}_chunks"] = measured(chunks(suite, data), size)
            row[f"{name}_raw_file"] = measured(raw_file(suite, source, target), size)
            row[f"{name}_file"] = measured(stream_file(suite, source, target, keep[name]), size)
            with target.open("rb") as sealed:
                opened = hashlib.sha256(b"".join(suite.read(keep[name]["key"], PLACE, sealed)))
            if opened.digest() != hashlib.sha256(data).digest():
                raise RuntimeError(f"what {name} sealed does not open to what it was")
            row[f"{name}_edge"] = measured(next(edges[name]), size)
        for tool in foreign:
            target.unlink(missing_ok=True)
            row[tool.name] = measured(lambda tool=tool: tool.seal(source, target), size)  # type: ignore[misc]
        row["sha512"] = measured(lambda: hashlib.sha512(data).digest() and None, size)
        rows.append(row)
    for way in edges.values():
        way.close()  # type: ignore[attr-defined]
    return {
        "mib_per_s": {name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]},
        "ratios": ratios(rows, [tool.name for tool in foreign]),
        "tools": {tool.name: {"cipher": tool.cipher, "version": tool.version} for tool in foreign},
        "absent": absent,
        "rounds": [{name: round(value, 1) for name, value in row.items()} for row in rows],
    }


def ratios(rows: list[Row], foreign: list[str]) -> Row:
    """Median over rounds of ours divided by the other, each pair from the same round."""
    pairs = []
    for name in SUITES:
        pairs += [
            (f"{name}_chunks", f"{name}_raw"),
            (f"{name}_file", f"{name}_raw_file"),
            (f"{name}_edge", f"{name}_raw"),
        ]
        pairs += [(f"{name}_file", other) for other in foreign]
    return {f"{a}/{b}": round(statistics.median(row[a] / row[b] for row in rows), 3) for a, b in pairs}


def table(result: Row) -> str:
    """For people."""
    lines = [f"{name:28} {value:9.1f} MiB/s" for name, value in result["mib_per_s"].items()]
    return "\n".join([*lines, *(f"{pair:44} {value:6.3f}" for pair, value in result["ratios"].items())])


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
