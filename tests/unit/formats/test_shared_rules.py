"""Rules that edge and central share, where they stand: the secret of a webhook, and a secret that systemd brings."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from formats.credentials import credential, is_away, too_open
from formats.errors import FormatError
from formats.webhook import read_keys

KEY = base64.b64encode(bytes(range(24))).decode()


def test_a_file_of_secrets() -> None:
    assert read_keys(f"whsec_{KEY}\n\n  whsec_{KEY}\n") == (bytes(range(24)),) * 2


@pytest.mark.parametrize("text", ["", " \n", KEY, "whsec_", "whsec_é", f"whsec_{KEY}x", f"whsec_{KEY}\nwhsec_c2hvcnQ="])
def test_a_file_that_is_none_says_so_and_repeats_nothing(text: str) -> None:
    with pytest.raises(FormatError) as refused:
        read_keys(text)
    assert refused.value.code == "webhook.secret"
    assert KEY not in str(refused.value)


def test_a_credential_is_a_file_of_the_services_folder() -> None:
    inside = {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}
    assert credential("store.key", inside) is None
    assert credential("credential:store.key", inside) == Path("/run/credentials/x/store.key")
    for outside in ({}, {"CREDENTIALS_DIRECTORY": "relative"}):
        away = credential("credential:store.key", outside)
        assert away is not None
        assert is_away(away)
    with pytest.raises(ValueError, match="cannot name a credential"):
        credential("credential:../store.key", inside)


def test_only_a_credential_may_be_read_by_its_group() -> None:
    inside = {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}
    assert not too_open(Path("/run/credentials/x/store.key"), 0o100440, inside)
    assert too_open(Path("/run/credentials/x/store.key"), 0o100444, inside)
    assert too_open(Path("/etc/callwarden/store.key"), 0o100440, inside)
    assert not too_open(Path("/etc/callwarden/store.key"), 0o100600, {})
