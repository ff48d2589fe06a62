"""Write orders `start`, `tick` and `erase`, asserted from a recorded system-call trace of one full life of an edge's storage.

Slot synced before a row names it; payload synced before its progress is committed, and that before the spool lets go; at an
erasure: slot overwritten, synced, read back, then the payload unlinked, its folder synced, then the tombstone committed; the
WAL overwritten with zeros before it is truncated.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLS = "pwrite64,write,pread64,preadv,preadv2,fdatasync,fsync,unlink,unlinkat,fallocate,ftruncate"

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]

_LINE = re.compile(rb"^(\d+) +(\w+)\((.*)$")
_RESUMED = re.compile(rb"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_HEX = re.compile(rb"((?:\\x[0-9a-f]{2})+)")


@dataclass
class Call:
    """One call: when it began and ended (line numbers), its name, the path it is about, its data, its offset."""

    began: int
    ended: int
    name: str
    path: str
    data: bytes
    text: str

    @property
    def offset(self) -> int:
        return int(self.text.rsplit(",", 1)[1].split(")")[0])


@dataclass
class Trace:
    calls: list[Call]

    def of(self, name: str, path: str, after: int = -1) -> list[Call]:
        """Calls whose name begins and whose path ends so, begun after a line."""
        return [one for one in self.calls if one.name.startswith(name) and path in one.path and one.began > after]


def decoded(text: bytes) -> bytes:
    return _HEX.sub(lambda found: bytes.fromhex(found[1].replace(b"\\x", b"").decode()), text)


def read(path: Path) -> Trace:
    calls: list[Call] = []
    waiting: dict[tuple[bytes, bytes], Call] = {}
    for number, line in enumerate(path.read_bytes().splitlines()):
        if (resumed := _RESUMED.match(line)) is not None:
            call = waiting.pop((resumed[1], resumed[2]), None)
            if call is not None:
                call.ended, call.text = number, call.text + resumed[3].decode("latin-1")
                if not call.data and (given := re.search(rb'"((?:\\x[0-9a-f]{2})*)"', resumed[3])):
                    call.data = decoded(given[1])  # what a read gave
            continue
        begun = _LINE.match(line)
        if begun is None:
            continue
        rest = begun[3]
        quoted = re.search(rb'"((?:\\x[0-9a-f]{2})*)"', rest)
        named = re.search(rb"<((?:\\x[0-9a-f]{2})+|[^>]*)>", rest)
        data = decoded(quoted[1]) if quoted else b""
        where = decoded(named[1]).decode("latin-1") if named else ""
        if begun[2].startswith(b"unlink"):
            where, data = f"{where}/{data.decode('latin-1')}", b""
        text = re.sub(rb'"[^"]*"', b"", rest).decode("latin-1")
        call = Call(number, number, begun[2].decode(), where, data, text)
        calls.append(call)
        if b"<unfinished" in rest:
            call.ended = sys.maxsize
            waiting[begun[1], begun[2]] = call
    return Trace(calls)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trace, dict[str, object]]]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: the write orders cannot be read from a trace (apt-get install strace)")
    disk = Path(tempfile.mkdtemp(prefix="callwarden-trace-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="callwarden-trace-", dir="/dev/shm"))
    out = tmp_path_factory.mktemp("trace") / "calls"
    try:
        done = subprocess.run(
            ["strace", "-f", "-y", "-xx", "-s", "70000", "-e", f"trace={CALLS}", "-o", out, sys.executable, "-m",
             "tests.crash.faults_zygote", disk, memory, "trace", "0", "0", "0"],
            capture_output=True, text=True, cwd=ROOT, timeout=200,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines and "ptrace" in done.stderr.lower():
            pytest.skip(f"nothing may be traced here: {done.stderr.strip()[-200:]}")
        assert lines, done.stderr[-2000:]
        said = json.loads(lines[-1])
        assert not said.get("bug"), said
        yield read(out), said
    finally:
        shutil.rmtree(disk)
        shutil.rmtree(memory)


def test_a_slot_is_synced_before_a_row_names_it(traced: tuple[Trace, dict[str, object]]) -> None:
    trace, said = traced
    puts = [one for one in trace.of("pwrite", "/shred.keys") if len(one.data) == 64 and one.data[0] == 1]
    assert len(puts) >= 3, "the audit secret and two calls"
    for segment_id in said["segments"]:  # type: ignore[attr-defined]
        row = next(one for one in trace.of("pwrite", "journal.db-wal") if segment_id.encode() in one.data)
        before = [one for one in puts if one.ended < row.began]
        assert before
        syncs = [one for one in trace.of("fdatasync", "/shred.keys", before[-1].ended) if one.ended < row.began]
        assert syncs, "the row that names the slot was written before the slot was synced"


def test_a_payload_is_synced_then_committed_then_freed(traced: tuple[Trace, dict[str, object]]) -> None:
    trace, _ = traced
    freed = [*trace.of("fallocate", "/spool/"), *trace.of("unlink", "/spool")]
    assert trace.of("fallocate", "/spool/"), "no chunk was freed while its call was live"
    for free in freed:
        writes = [one for one in trace.calls if one.name in ("write", "pwrite64") and ".payload" in one.path]
        last = max((one for one in writes if one.began < free.began), key=lambda one: one.began)
        synced = [one for one in trace.of("fdatasync", last.path, last.ended) if one.ended < free.began]
        assert synced, "freed before the payload was synced"
        committed = [one for one in trace.of("fdatasync", "journal.db-wal", synced[0].ended) if one.ended < free.began]
        assert committed, "freed before its progress was committed"


def test_a_key_is_gone_for_good_before_its_file_goes(traced: tuple[Trace, dict[str, object]]) -> None:
    trace, said = traced
    unlinked = [one for one in trace.of("unlink", ".payload") if str(said["erased"]) in one.path]
    assert unlinked
    for gone in unlinked:
        shreds = [one for one in trace.of("pwrite", "/shred.keys") if len(one.data) == 64 and one.data[0] == 2]
        shred = max((one for one in shreds if one.ended < gone.began), key=lambda one: one.began)
        born = [
            one for one in trace.of("pwrite", "/shred.keys") if one.offset == shred.offset and one.data[:1] == b"\x01"
        ]
        assert born[-1].ended < shred.began, "what was overwritten is the key that was put there"
        synced = [one for one in trace.of("fdatasync", "/shred.keys", shred.ended) if one.ended < gone.began]
        assert synced, "unlinked before the overwriting was synced"
        read_back = [
            one
            for one in trace.of("pread", "/shred.keys", synced[0].ended)
            if shred.data in one.data and one.ended < gone.began
        ]
        assert read_back, "unlinked before the overwriting was read back"
        folder = trace.of("fsync", str(Path(gone.path).parent), gone.ended)
        tombstone = next(
            one for one in trace.of("pwrite", "journal.db-wal", gone.ended) if b"recording.erased" in one.data
        )
        assert folder
        assert folder[0].ended < tombstone.began, "the tombstone was committed before the unlinking was durable"


def test_the_wal_is_zeroed_before_it_is_truncated(traced: tuple[Trace, dict[str, object]]) -> None:
    trace, _ = traced
    cuts = trace.of("ftruncate", "journal.db-wal")
    assert cuts
    last = cuts[-1]
    zeros = [one for one in trace.of("pwrite", "journal.db-wal") if one.ended < last.began and not any(one.data)]
    assert zeros, "truncated with its frames still in it"
    assert [one for one in trace.of("fdatasync", "journal.db-wal", zeros[-1].ended) if one.ended < last.began]
