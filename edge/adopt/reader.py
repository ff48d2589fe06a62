"""The child that looks into foreign files: `python -m edge.adopt.reader FD`, caged before it sees the first of them.

It talks over the SOCK_SEQPACKET socket FD. A question is one byte and one descriptor: `w` what sound a file holds, `c` the
call records in it. Answers are JSON. To `w`: {"sound": {...}} or {"error": [code, message]}. To `c`: lists of rows, then
{"end": true} or an error. The first message says which cage it is in.
"""

from __future__ import annotations

import codecs
import dataclasses
import encodings.idna
import encodings.utf_8_sig  # noqa: F401 - nothing can be imported once the cage is shut
import io
import json
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final

from edge.adopt.cdr import LONGEST_LINE, rows
from edge.adopt.sandbox import lock_down
from edge.errors import CallwardenError
from formats.errors import FormatError
from formats.wavscan import scan

#: Most bytes of one answer; a packet has to fit into the socket's buffer.
PACKET: Final = 48 * 1024


def main(number: int) -> int:
    """Answer until the other side is gone."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=number)
    codecs.lookup("utf-8")
    _say(line, {"cage": lock_down()})
    while True:
        asked, descriptors, _, _ = socket.recv_fds(line, 1, 1)
        if not asked or not descriptors:
            return 0
        try:
            if asked == b"w":
                _say(line, _sound(descriptors[0]))
            else:
                _records(line, descriptors[0])
        finally:
            for one in descriptors:
                os.close(one)


def _sound(fd: int) -> dict[str, Any]:
    size = os.lseek(fd, 0, os.SEEK_END)
    try:
        return {"sound": dataclasses.asdict(scan(lambda at, most: os.pread(fd, most, at) if at < size else b"", size))}
    except FormatError as error:
        return {"error": [error.code, error.message]}
    except OSError as error:
        return {"error": ["adopt.file", f"it cannot be read: {error.strerror}"]}


def _records(line: socket.socket, fd: int) -> None:
    try:
        batch: list[Any] = []
        length = 0
        for row in rows(_lines(fd)):
            text = json.dumps(row)
            if length + len(text) + 2 > PACKET:
                line.send(f"[{','.join(batch)}]".encode())
                batch, length = [], 0
            batch.append(text)
            length += len(text) + 1
        line.send(f"[{','.join(batch)}]".encode())
        _say(line, {"end": True})
    except (CallwardenError, OSError) as error:
        _say(line, {"error": ["adopt.cdr", getattr(error, "message", "") or str(error)]})


def _lines(fd: int) -> Iterator[str]:
    """Lines of bounded length, whatever the file holds; bytes that are no UTF-8 as replacement characters."""
    with io.FileIO(fd, closefd=False) as raw, io.BufferedReader(raw, 1 << 16) as file:
        while line := file.readline(LONGEST_LINE):
            yield line.decode("utf-8", "replace")


def _say(line: socket.socket, answer: dict[str, Any]) -> None:
    line.send(json.dumps(answer).encode())


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1])))
