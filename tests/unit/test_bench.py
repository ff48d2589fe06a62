"""The measurements that need no Asterisk run, check what they sealed and read, and say whose figure is whose."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import reading, sealing
from bench.foreign import tools


@pytest.fixture
def run_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cw-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


def test_sealing_measures_every_way_and_opens_what_it_sealed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    found = sealing.run(2 << 20, 2, tmp_path, tmp_path / "disk")
    here, absent = set(found["tools"]), found["absent"]
    ours = {f"{suite}_{way}" for suite in sealing.SUITES for way in ("raw", "chunks", "edge", "raw_file", "file")}
    assert set(found["mib_per_s"]) == ours | here | {"sha512"}
    assert {"age1_chunks/age1_raw", "aes256gcm_file/aes256gcm_raw_file", "age1_edge/age1_raw"} <= set(found["ratios"])
    assert all(f"age1_file/{tool}" in found["ratios"] for tool in here)
    assert all(value > 0 for pair in found["ratios"].values() for value in pair.values())
    assert {name.partition("_")[0] for name in here} | set(absent) == {"age", "openssl", "gpg"}
    assert len(found["rounds"]) == 2
    assert list((tmp_path / "disk").rglob("*.payload")) == []
    assert json.loads(json.dumps(found)) == found
    assert "age1_chunks/age1_raw" in sealing.table(found)


def test_a_sealing_that_does_not_open_again_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    suite = sealing.SUITES["age1"]
    monkeypatch.setattr(type(suite), "read", lambda *_: iter([b"something else"]))
    with pytest.raises(RuntimeError, match="does not open"):
        sealing.run(1 << 20, 1, tmp_path, tmp_path / "disk")


def test_each_tool_makes_another_file(tmp_path: Path) -> None:
    plain = b"speech " * 1000
    (tmp_path / "plain").write_bytes(plain)
    for tool in tools(tmp_path)[0]:
        target = tmp_path / f"{tool.name}.sealed"
        tool.seal(tmp_path / "plain", target)
        assert target.stat().st_size >= len(plain)
        assert plain[:70] not in target.read_bytes()
        tool.close()


def test_reading_takes_the_part_and_the_whole(tmp_path: Path, run_dir: Path) -> None:
    found = reading.run(15, 1, tmp_path, run_dir)
    assert set(found) == {"age1", "aes256gcm"}
    assert all(row["part_s"] > 0 and row["whole_s"] > 0 and len(row["rounds"]) == 1 for row in found.values())


def test_a_bench_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["sealing", "nothing"]) == 2
    assert "there are: sealing, reading, calls" in capsys.readouterr().err
