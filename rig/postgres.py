"""A PostgreSQL of one's own for tests and measurements: in a folder, on a Unix socket, gone afterwards.

The server's programs come from the host (Debian: postgresql-15). It refuses to run as root, so there it runs as nobody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

#: How long a start may take, seconds.
START_S = 30.0
#: Unix sockets have names of 107 bytes at most, so the folder's is short.
PREFIX = "cw-pg-"


def programs() -> Path | None:
    """The folder of the newest server programs on this host, version 15 or newer; None where there are none."""
    found = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if p.parent.name.isdigit()]
    found = [p for p in found if int(p.parent.name) >= 15 and (p / "initdb").exists() and (p / "postgres").exists()]
    return max(found, key=lambda p: int(p.parent.name), default=None)


class Postgres:
    """A running server. `conninfo(name)` names a database on it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process = folder, process
        self._made = 0

    def conninfo(self, database: str) -> str:
        """As libpq spells it; without a password, since only this host's users reach the socket."""
        return f"postgresql://callwarden@/{database}?host={self.folder}"

    def database(self, template: str = "template1") -> str:
        """A new database; its conninfo."""
        self._made += 1
        name = f"cw{os.getpid()}_{self._made}"
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.conninfo(name)


def _user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def postgres(*, durable: bool = False, settings: tuple[str, ...] = ()) -> Iterator[Postgres]:
    """Start one and stop it. `durable`: it syncs what it commits (a measurement needs that, most tests do not).

    Raises RuntimeError when there are no programs or it does not start.
    """
    with a_folder(durable=durable) as folder:
        words = ["initdb", "-D", str(folder / "data"), "-U", "callwarden", "-A", "trust", "-E", "UTF8", "--locale=C"]
        program(*words, "--no-sync", folder=folder)
        with served(folder, durable=durable, settings=settings) as server:
            yield server


@contextmanager
def a_folder(*, durable: bool = False) -> Iterator[Path]:
    """A folder for a server's files that its user may write to. Raises RuntimeError when there are no programs."""
    if programs() is None:
        raise RuntimeError("no PostgreSQL server of version 15 or newer (Debian: apt-get install postgresql-15)")
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/var/tmp" if durable else "/tmp"))
    try:
        if user := _user():
            os.chown(folder, user["user"], user["group"])
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def program(name: str, *words: str, folder: Path) -> None:
    """Run one of PostgreSQL's programs as the server's user. Raises subprocess.CalledProcessError."""
    where = programs()
    assert where is not None
    subprocess.run([str(where / name), *words], check=True, cwd=folder, stdout=subprocess.DEVNULL, **_user())


@contextmanager
def served(folder: Path, *, durable: bool = False, settings: tuple[str, ...] = ()) -> Iterator[Postgres]:
    """Serve what lies in `folder`/data. Raises RuntimeError when it does not start."""
    where = programs()
    assert where is not None
    options = ["listen_addresses=", f"unix_socket_directories={folder}", "unix_socket_permissions=0777"]
    options += [] if durable else ["fsync=off", "full_page_writes=off", "synchronous_commit=off"]
    command = [str(where / "postgres"), "-D", str(folder / "data")]
    for option in (*options, *settings):
        command += ["-c", option]
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **_user())
    server = Postgres(folder, process)
    try:
        _wait(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # "fast": connections are cut
        process.wait(START_S)


def _wait(server: Postgres) -> None:
    """Until it takes connections and writes: a server that is put back answers before its recovery has ended."""
    end = time.monotonic() + START_S
    while True:
        try:
            with psycopg.connect(server.conninfo("postgres"), connect_timeout=2) as conn:
                row = conn.execute("SELECT pg_is_in_recovery()").fetchone()
            if row is not None and not row[0]:
                return
            error = "still in recovery"
        except psycopg.OperationalError as refused:
            error = str(refused)
        if server.process.poll() is not None or time.monotonic() > end:
            text = (server.folder / "log").read_text(errors="replace")
            raise RuntimeError(f"PostgreSQL did not start: {error}\n{text}")
        time.sleep(0.05)
