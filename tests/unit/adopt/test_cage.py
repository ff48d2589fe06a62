"""The child that looks into files can read what it is given, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.adopt.parser import Parser
from edge.errors import CallwardenError
from tests.unit.adopt.adopt_kit import samples, wav

#: Tried from within the cage; each must fail.
TRIES = """
import ctypes, json, mmap, os, socket, subprocess, sys
from edge.adopt.sandbox import lock_down
opened = os.open("/etc/hostname", os.O_RDONLY)
libc = ctypes.CDLL(None, use_errno=True)
cage = lock_down()
def tried(what):
    try:
        return "done" if what() is not None else "nothing"
    except OSError as error:
        return error.errno
out = {
    "cage": cage, "uid": os.getuid(), "given": len(os.read(opened, 10)) > 0,
    "open": tried(lambda: os.open("/etc/passwd", os.O_RDONLY)), "socket": tried(lambda: socket.socket()),
    "fork": tried(os.fork), "kill": tried(lambda: os.kill(os.getppid(), 0)),
    "exec": tried(lambda: os.execv("/bin/true", ["true"])), "unlink": tried(lambda: os.unlink("/tmp/x") or 1),
    "write": tried(lambda: os.open("/tmp/cage-was-here", os.O_WRONLY | os.O_CREAT)),
    "ptrace": -1 if libc.ptrace(0, 0, 0, 0) == 0 else ctypes.get_errno(),
}
sys.stdout.write(json.dumps(out))
"""


def test_what_the_cage_forbids() -> None:
    done = subprocess.run([sys.executable, "-c", TRIES], capture_output=True, text=True, timeout=30, check=True)
    out = json.loads(done.stdout)
    assert out.pop("uid") != 0
    assert out.pop("given") is True
    if out["cage"] != "seccomp":
        pytest.skip("this kernel or machine has no filter of ours: the limits alone hold here")
    del out["cage"]
    assert set(out.values()) == {1}, out  # EPERM


def asked(parser: Parser, path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        return parser.sound(fd, path.stat().st_size).data_bytes
    finally:
        os.close(fd)


def test_it_answers_and_a_new_one_comes_after_it_died(tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_bytes(wav(samples(1, 1)))
    with Parser() as parser:
        assert asked(parser, file) == 16000
        assert parser._child is not None
        parser._child.kill()
        parser._child.wait()
        with pytest.raises(CallwardenError) as error:
            asked(parser, file)
        assert error.value.code == "adopt.reader"
        assert asked(parser, file) == 16000


def test_records_come_through_whole(tmp_path: Path) -> None:
    table = tmp_path / "cdr.csv"
    lines = [f"{1704446100 + n}.1,2024-01-05 10:15:00,{n},600,rec{n}.wav" for n in range(5000)]
    table.write_text("\n".join(["uniqueid,calldate,src,dst,recordingfile", *lines]) + "\n" + "x" * 1_000_000)
    fd = os.open(table, os.O_RDONLY)
    try:
        with Parser() as parser:
            found = list(parser.records(fd))
    finally:
        os.close(fd)
    assert [row[2] for row in found[:5000]] == [f"rec{n}.wav" for n in range(5000)]
