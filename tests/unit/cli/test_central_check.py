"""`callwarden central check`: what is fine, what must be mended and where, beside a central that runs, and nothing is changed."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from central import check as checking
from central import setup
from tests.unit.cli.cli_makers import Ran, command

HOOK = """
[central.webhooks.crm]
url = "https://crm.example.org/calls"
secret = "crm.secret"
events = ["*"]
"""
MAIL = """
[central.mail]
host = "mail.example.org"
from = "callwarden@example.org"
to = ["dpo@example.org"]
user = "central"
password = "mail.password"
"""


def check(folder: Path, *more: str) -> Ran:
    return command("central", "check", "--central-config", folder / "central.toml", *more)


def errors(ran: Ran) -> dict[str, tuple[str, str]]:
    """Key to (code, hint) of each error; that it says file and line is looked at here."""
    found: dict[str, tuple[str, str]] = {}
    for one in ran.json["findings"]:
        file, line, key = one["where"].split(":", 2)
        assert file.endswith("central.toml")
        assert int(line) >= 1
        if one["severity"] == "error":
            assert one["hint"]
            found[key.strip()] = (one["code"], one["message"])
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    setup.init(tmp_path / "central")
    return tmp_path / "central"


def add(folder: Path, text: str) -> None:
    with (folder / "central.toml").open("a") as file:
        file.write(text)


def put(path: Path, text: str, mode: int = 0o600) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)


def _everything(folder: Path) -> dict[str, Any]:
    return {str(one): (one.stat().st_mode, one.read_bytes()) for one in folder.rglob("*") if one.is_file()}


def test_what_init_made_is_fine_and_stays_as_it_is(folder: Path) -> None:
    add(folder, '[central.media]\nstore = "folder"\n' + HOOK + MAIL)
    put(folder / "crm.secret", "whsec_" + "A" * 32 + "\n")
    put(folder / "mail.password", "open sesame\n")
    before = _everything(folder)
    ran = check(folder)
    assert (ran.code, ran.err) == (0, "")
    assert f"{folder}/central.toml: 0 to mend, 0 to know" in ran.out
    for said in (
        "store.key",
        "server.crt",
        "central.db, schema 1",
        "media is made when",
        "crm.example.org",
        "mail.example.org",
    ):
        assert said in ran.out
    assert check(folder, "--json").json["ok"] is True
    assert _everything(folder) == before
    assert not (folder / "media").exists()


def test_everything_that_is_wrong_is_said_at_once(folder: Path) -> None:
    add(folder, '[central.media]\nstore = "folder"\n' + HOOK + MAIL)
    (folder / "store.key").chmod(0o644)
    (folder / "witness.key").unlink()
    (folder / "search.keys").write_text("no key\n")
    (folder / "keeper.keys").unlink()
    (folder / "server.key").write_text("no key\n")
    (folder / "central.db").unlink()
    (folder / "media").mkdir(0o755)
    (folder / "media").chmod(0o755)
    put(folder / "crm.secret", "open sesame\n")
    put(folder / "mail.password", "open sesame\n", 0o644)
    ran = check(folder, "--json")
    assert ran.code == 3
    assert ran.json["ok"] is False
    found = errors(ran)
    assert {key: code for key, (code, _) in found.items()} == {
        "central.store_key": "config.key",
        "central.witness_key": "config.key",
        "central.search_keys": "config.key",
        "central.keeper": "config.file",
        "central.certificate": "config.certificate",
        "central.database": "config.database",
        "central.media.folder": "config.media",
        "central.webhooks.crm.secret": "config.webhook",
        "central.mail.password": "config.secret",
    }
    assert "open sesame" not in ran.out
    assert not (folder / "central.db").exists()
    assert not (folder / "keeper.keys").exists()
    told = check(folder)
    assert told.code == 3
    assert "9 to mend" in told.out
    assert told.err.count("hint: ") == 9


def test_a_file_that_cannot_be_read_is_the_one_finding(folder: Path) -> None:
    add(folder, "unheard_of = 1\n")
    ran = check(folder, "--json")
    assert ran.code == 3
    (one,) = ran.json["findings"]
    assert one["code"] == "config.unknown_key"
    assert one["where"].endswith("central.unheard_of")


def test_a_database_of_a_newer_program_and_one_that_was_moved(folder: Path) -> None:
    with sqlite3.connect(folder / "central.db") as conn:
        conn.execute("INSERT INTO meta(key, value) VALUES ('moved_to', 'elsewhere')")
    conn.close()
    assert errors(check(folder, "--json"))["central.database"][0] == "config.moved"
    with sqlite3.connect(folder / "central.db") as conn:
        conn.execute("PRAGMA user_version=99")
    conn.close()
    assert errors(check(folder, "--json"))["central.database"][0] == "config.newer_schema"


def test_a_bucket_that_nobody_answers_for(folder: Path) -> None:
    add(folder, '[central.media]\nstore = "s3"\nendpoint = "http://127.0.0.1:1"\nbucket = "callwarden"\n')
    for name in ("s3.access", "s3.secret"):
        put(folder / name, "AKIA\n")
    code, message = errors(check(folder, "--json"))["central.media.bucket"]
    assert code == "config.media"
    assert "looked at" in message


def test_a_certificate_that_ends_soon_is_said_and_one_that_ended_must_be_mended(folder: Path) -> None:
    def severity(days: int) -> str:
        now = datetime.now(UTC) + timedelta(days=days)
        found = asyncio.run(checking.check(folder / "central.toml", now))
        return next(one.severity for one in found if one.where.endswith("central.certificate"))

    assert [severity(days) for days in (0, 820, 900)] == ["fine", "warning", "error"]


def test_postgresql_that_is_not_there(folder: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    add(folder, f'postgres = "postgresql:///callwarden?host={folder}"\n')
    ran = check(folder, "--json")
    assert errors(ran)["central.postgres"][0] == "central.database"
