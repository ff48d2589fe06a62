"""Every test of central runs on both engines: SQLite in a folder, and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.postgres import Postgres, postgres, programs
from tests.unit.central.central_kit import TestCentral, TestEdge, a_central


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """One PostgreSQL for all tests of this process, a database for each."""
    if programs() is None:
        pytest.skip("no PostgreSQL server of version 15 or newer on this host (Debian: apt-get install postgresql-15)")
    with postgres() as running:
        yield running


@pytest.fixture(scope="session")
def service() -> Iterator[Any]:
    """An S3 server on loopback, and a client of another maker for it."""
    try:
        import boto3
        from moto.server import ThreadedMotoServer
    except ImportError:
        pytest.skip("moto and flask are not installed: pip install 'moto[s3]' flask flask-cors")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", aws_access_key_id="AKIA",
        aws_secret_access_key="secret",
    )  # fmt: skip
    yield client, f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    """The conninfo of an empty database, or "" for SQLite."""
    if request.param == "sqlite":
        return ""
    running: Postgres = request.getfixturevalue("server")
    return running.database()


@pytest.fixture
async def central(tmp_path: Path, engine: str) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "central", postgres=engine) as running:
        yield running


@pytest.fixture
def edge(central: TestCentral) -> TestEdge:
    return TestEdge(central)
