"""Gateway and rules out of a configuration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.config.schema import NoticesSection, TelephonySection
from edge.errors import CallwardenError
from edge.notices.settings import settings_of


def config(**notices: Any) -> Any:
    telephony = TelephonySection(country="CZ", never_numbers=("777 1",), shared_numbers=("800",), emergency=("2222",))
    return SimpleNamespace(notices=NoticesSection(**notices), telephony=telephony)


def test_what_the_operator_said(tmp_path: Path) -> None:
    assert settings_of(config()) is None
    secret = tmp_path / "notices.secret"
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    secret.chmod(0o600)
    said = config(url="https://texts.example/x", secret_file=secret, countries=("CZ",), per_hour=7, link="https://a")
    made = settings_of(said)
    assert made is not None
    assert (made.url, len(made.keys), made.link) == ("https://texts.example/x", 1, "https://a")
    rules = made.rules
    assert (rules.countries, rules.country, rules.per_hour) == (("CZ",), "CZ", 7)
    assert (rules.never, rules.shared, rules.emergency) == (("777 1",), ("800",), ("2222",))
    for text, mode, code in (("nonsense", 0o600, "config.notices"), ("whsec_", 0o644, "config.secret_mode")):
        secret.write_text(text)
        secret.chmod(mode)
        with pytest.raises(CallwardenError) as refused:
            settings_of(said)
        assert refused.value.code == code
