"""Init, configuration, schema, and central as a process that is killed."""

from __future__ import annotations

import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from central import check, config, setup
from central.errors import CentralError
from central.keyfiles import read_key
from central.sqlite import open_connection
from rig.ports import free_tcp_port
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id


def test_init_makes_everything_once(tmp_path: Path) -> None:
    first = setup.init(tmp_path / "c", "127.0.0.1:8443", names=["central.example"])
    names = {path.name for path in first.made}
    assert names == {
        "central.toml", "store.key", "witness.key", "ca.key", "ca.crt", "server.key", "server.crt", "central.db",
        "keeper.keys", "central.token", "search.keys",
    }  # fmt: skip
    for path in first.made:
        public = path.name in ("central.toml", "ca.crt", "server.crt")
        assert path.stat().st_mode & 0o777 == (0o644 if public else 0o600), path
    before = {path: path.read_bytes() for path in first.made}
    second = setup.init(tmp_path / "c", "127.0.0.1:9999")
    assert second.made == []
    assert {path: path.read_bytes() for path in second.kept} == before
    assert second.ca_fingerprint == first.ca_fingerprint
    assert second.config.port == 8443  # what is written stays


def test_secrets_are_files_and_never_in_the_configuration(tmp_path: Path) -> None:
    made = setup.init(tmp_path / "c")
    text = made.config_path.read_text()
    assert set(tomllib.loads(text)["central"]) == {"listen", "fleet", "data", "tls"}
    made.config.store_key.chmod(0o644)
    with pytest.raises(CentralError, match="others may read"):
        read_key(made.config.store_key)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[central]\nlisten = 'nowhere'", "config.listen"),
        ("[central]\nlisten = '127.0.0.1:99999'", "config.listen"),
        ("[central]\nlisten = '0.0.0.0:80'\ntls = false", "config.plain_http"),
        ("[central]\nlisten = 'example.com:80'\ntls = false", "config.plain_http"),
        ("[central]\nprot = 1", "config.unknown_key"),
        ("[edge]\n", "config.unknown_key"),
        ("[central]\ntls = 'yes'", "config.type"),
        ("[central]\npoll_max_s = true", "config.type"),
        ("[central]\nfleet = 'a b'", "config.fleet"),
        ("[central", "config.unreadable"),
    ],
)
def test_bad_configuration_is_named(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "central.toml"
    path.write_text(text)
    with pytest.raises(CentralError) as caught:
        config.load(path)
    assert caught.value.code == code
    assert str(path) in caught.value.where


@pytest.mark.parametrize(
    ("written", "key", "line"),
    [
        (
            "store_key = '''\n-----BEGIN PRIVATE KEY-----\nQXKANARY\n-----END PRIVATE KEY-----\n'''",
            "central.store_key",
            3,
        ),
        ("certificate_key = '-----BEGIN EC PRIVATE KEY-----QXKANARY'", "central.certificate_key", 3),
        ("token = 'AGE-SECRET-KEY-1QXKANARY'", "central.token", 3),
        ("token = 'age-secret-key-pq-1QXKANARY'", "central.token", 3),
        ("""store_key = '{"kty": "OKP", "crv": "Ed25519", "d": "QXKANARY", "x": "AAAA"}'""", "central.store_key", 3),
        ("store_key = {kty = 'OKP', crv = 'Ed25519', d = 'QXKANARY'}", "central.store_key", 3),
        ('search_keys = \'{"kty":"oct","k":"QXKANARY"}\'', "central.search_keys", 3),
        ("[central.mail]\npassword = '-----BEGIN OPENSSH PRIVATE KEY-----QXKANARY'", "central.mail.password", 4),
        ("[central.mail]\nto = ['a@example.org', 'AGE-SECRET-KEY-1QXKANARY']", "central.mail.to", 4),
        ("[central.webhooks.crm]\nsecret = 'whsec_" + "QXKANARY" * 4 + "'", "central.webhooks.crm.secret", 4),
        ("[central.media]\nsecret_key = 'AGE-SECRET-KEY-1QXKANARY'", "central.media.secret_key", 4),
        ("'AGE-SECRET-KEY-1QXKANARY' = 1", "central", 1),
        ("unheard_of = 'AGE-SECRET-KEY-1QXKANARY'", "central.unheard_of", 3),
    ],
)
def test_a_secret_written_straight_into_the_file_is_refused_and_not_repeated(
    tmp_path: Path, written: str, key: str, line: int
) -> None:
    path = tmp_path / "central.toml"
    path.write_text(f"[central]\nfleet = 'fleet'\n{written}\n")
    with pytest.raises(CentralError) as caught:
        config.load(path)
    assert (caught.value.code, caught.value.where) == ("config.secret_in_toml", f"{path}:{line}: {key}")
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert "qxkanary" not in shown.lower()


def test_a_files_name_may_speak_of_secrets(tmp_path: Path) -> None:
    path = tmp_path / "central.toml"
    hook = "url = 'https://crm.example.org/x'\nsecret = 'whsec_crm'\nevents = ['*']"
    path.write_text(f"[central]\nstore_key = 'credential:store.private.key'\n[central.webhooks.crm]\n{hook}\n")
    assert config.load(path).outgoing.webhooks[0].secret.name == "whsec_crm"


def test_a_missing_configuration_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CentralError, match="central init"):
        config.load(tmp_path / "central.toml")


def test_70_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "central.db"
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE future(x)")
        conn.execute("PRAGMA user_version=2")
    conn.close()
    before = path.read_bytes()
    with pytest.raises(CentralError) as caught:
        open_connection(path)
    assert caught.value.code == "config.newer_schema"
    with sqlite3.connect(path) as conn:
        assert [row[0] for row in conn.execute("SELECT name FROM sqlite_schema")] == ["future"]
    conn.close()
    assert path.read_bytes()[100:] == before[100:]


def spawn(central: TestCentral) -> subprocess.Popen[bytes]:
    """`python -m central run`, ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "central", "run", "--config", str(central.made.config_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", central.config.port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process
    process.kill()
    raise AssertionError("central did not listen")


@pytest.fixture
def stopped(tmp_path: Path) -> TestCentral:
    central = TestCentral(tmp_path / "central")
    port = free_tcp_port()
    path = central.made.config_path
    path.write_text(path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    central.config = replace(central.config, port=port)
    return central


async def test_kill_9_loses_nothing_that_was_acknowledged(stopped: TestCentral) -> None:
    edge = TestEdge(stopped)
    keys = {}
    for n in range(1, 6):
        process = spawn(stopped)
        try:
            recording, key = an_id(), secrets.token_bytes(32)
            status, answer = await edge.send(edge.opened(n, recording, key=key))
            assert (status, answer["contiguous"]) == (200, n)
            keys[recording] = key
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    await stopped.start()
    for recording, key in keys.items():
        ((slot,),) = await stopped.rows("SELECT keeper_slot FROM header WHERE recording_id=?", recording)
        assert stopped.running is not None
        assert stopped.running.central.keeper.read(slot) == key
    assert await stopped.rows("PRAGMA integrity_check") == [("ok",)]
    await stopped.stop()


def test_sigterm_ends_central_quietly_and_a_second_one_is_refused(stopped: TestCentral) -> None:
    process = spawn(stopped)
    second = subprocess.run(
        [sys.executable, "-m", "central", "run", "--config", str(stopped.made.config_path)],
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 8
    assert b"environment.locked" in second.stderr
    assert b"Traceback" not in second.stderr
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert b"Traceback" not in output


async def test_a_taken_port_is_named(stopped: TestCentral) -> None:
    with socket.create_server(("127.0.0.1", stopped.config.port)):
        with pytest.raises(CentralError) as caught:
            await stopped.start()
        assert caught.value.code == "environment.port"
    await stopped.start()  # nothing was left locked
    await stopped.stop()


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:8443", "https://127.0.0.1:8443"),
        ("[::]:8443", "https://[::1]:8443"),
        ("192.0.2.7:1", "https://192.0.2.7:1"),
    ],
)
def test_a_central_that_listens_everywhere_is_asked_on_loopback(tmp_path: Path, listen: str, url: str) -> None:
    """Its certificate names loopback and not "any"."""
    assert config.from_table({"listen": listen}, base=tmp_path).url == url


async def test_a_check_beside_a_central_that_runs_finds_its_schema(central: TestCentral) -> None:
    found = await check.check(central.made.config_path, datetime.now(UTC))
    assert [one for one in found if one.severity != "fine"] == []
    key = "central.postgres" if central.postgres else "central.database"
    (database,) = (one.message for one in found if one.where.endswith(key))
    assert database.endswith(", schema 1")
