"""Secrets that systemd brings: a folder plays `$CREDENTIALS_DIRECTORY`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from central.config import load as load_central
from central.errors import CentralError
from central.keyfiles import make_key, read_key
from edge import host
from edge.config import check, load
from edge.errors import CallwardenError
from formats.credentials import too_open

EDGE = """\
[edge]
id = "e"
signing_key_file = "credential:edge.key"
[asterisk]
ami_secret_file = "credential:ami.secret"
agi_token_file = "credential:agi.token"
[notices]
url = "https://sms.example"
secret_file = "credential:sms.secret"
"""
NAMES = ("edge.key", "ami.secret", "agi.token", "sms.secret")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As systemd makes it for a service with a user of its own."""
    path = tmp_path / "credentials"
    path.mkdir(mode=0o700)
    for name in NAMES:
        (path / name).write_text(f"secret of {name}\n")
        (path / name).chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path))
    return path


def config(folder: Path, text: str = EDGE) -> Path:
    path = folder / "edge.toml"
    path.write_text(text)
    return path


def about_secrets(path: Path) -> list[tuple[str, str]]:
    return [(one.code, one.message) for one in check(load(path)) if any(name in one.message for name in NAMES)]


def test_every_secret_of_the_edge_is_read_from_there(tmp_path: Path, folder: Path) -> None:
    path = config(tmp_path)
    found = load(path)
    assert found.edge.signing_key_file == folder / "edge.key"
    assert found.notices.secret_file == folder / "sms.secret"
    assert host.secret(found.asterisk.agi_token_file) == "secret of agi.token"
    assert about_secrets(path) == []


@pytest.mark.parametrize("mode", [0o444, 0o460, 0o450, 0o666])
def test_a_credential_that_others_may_read_is_refused(tmp_path: Path, folder: Path, mode: int) -> None:
    (folder / "edge.key").chmod(mode)
    assert [code for code, _ in about_secrets(config(tmp_path))] == ["config.file_mode"]


def test_a_group_may_read_no_other_file(tmp_path: Path, folder: Path) -> None:
    assert too_open(tmp_path / "edge.key", 0o440, os.environ)
    assert not too_open(folder / "edge.key", 0o440, os.environ)
    assert not too_open(tmp_path / "edge.key", 0o400, os.environ)


def test_one_that_is_missing_is_told(tmp_path: Path, folder: Path) -> None:
    (folder / "ami.secret").unlink()
    assert [code for code, _ in about_secrets(config(tmp_path))] == ["config.file_missing"]


def test_outside_of_the_service_it_is_said_and_lists_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    path = config(tmp_path)
    assert [code for code, _ in about_secrets(path)] == ["config.credential"] * 4
    with pytest.raises(CallwardenError) as caught:
        host.secret(load(path).asterisk.agi_token_file)
    assert caught.value.where == "credential:agi.token"


@pytest.mark.parametrize("name", ["", "../edge.key", "a/b", ".hidden", "a b", "x" * 300])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, folder: Path, name: str) -> None:
    with pytest.raises(CallwardenError) as caught:
        load(config(tmp_path, EDGE.replace("credential:edge.key", f"credential:{name}")))
    assert (caught.value.code, caught.value.where) == ("config.value", f"{tmp_path / 'edge.toml'}:3")
    path = tmp_path / "central.toml"
    path.write_text(f'[central]\nstore_key = "credential:{name}"\n')
    with pytest.raises(CentralError) as refused:
        load_central(path)
    assert refused.value.code == "config.credential"


def test_central_s_secrets_too(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "central.toml"
    path.write_text('[central]\nstore_key = "credential:store.key"\nwitness_key = "credential:witness.key"\n')
    assert make_key(folder / "store.key")
    (folder / "store.key").chmod(0o440)
    assert read_key(load_central(path).store_key).kid
    (folder / "store.key").chmod(0o444)
    with pytest.raises(CentralError, match="others may read"):
        read_key(load_central(path).store_key)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    away = load_central(path).store_key
    assert make_key(away) is False  # `central init` does not make what systemd is to bring
    with pytest.raises(CentralError, match="no such key") as caught:
        read_key(away)
    assert "LoadCredential" in caught.value.hint
