"""The receiver's examples of docs/webhooks.md, run against what a sender really signed."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from central.config import from_table
from central.hooks.signing import headers, read_keys

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
BODY = b'{"type":"call.outcome","data":{"x":"\xc3\xa9\\n"}}\n\n'
KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in (7, 8)]


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def verifies(language: str, secret: str, at: datetime, body: bytes, *, signed: bytes = BODY) -> bool:
    program = {"python": [sys.executable, "-c"], "sh": ["sh", "-c"]}[language]
    made = headers(read_keys("".join(f"whsec_{key}\n" for key in KEYS), "x"), "ab" * 16, at, signed)
    env = {name.upper().replace("-", "_"): value for name, value in made.items() if name.startswith("webhook-")}
    ran = subprocess.run(
        [*program, block(language)],
        input=body,
        env={**os.environ, **env, "SECRET": f"whsec_{secret}"},
        timeout=20,
        check=False,
    )
    assert ran.returncode in (0, 1)
    return ran.returncode == 0


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_receivers_example_verifies_and_refuses(language: str) -> None:
    if language == "sh" and shutil.which("openssl") is None:
        pytest.skip("the shell example needs openssl (Debian: apt-get install openssl)")
    now = datetime.now(UTC)
    assert verifies(language, KEYS[0], now, BODY)
    assert verifies(language, KEYS[1], now, BODY)  # a receiver that still has the former secret
    assert not verifies(language, base64.b64encode(b"other" * 6).decode(), now, BODY)
    assert not verifies(language, KEYS[0], now, BODY + b" ")
    assert not verifies(language, KEYS[0], now - timedelta(minutes=10), BODY)
    assert not verifies(language, KEYS[0], now + timedelta(minutes=10), BODY)


def test_the_settings_on_the_page_are_taken(tmp_path: Path) -> None:
    table = tomllib.loads(block("toml"))["central"]
    outgoing = from_table(table, base=tmp_path).outgoing
    assert outgoing.webhooks[0].secret == tmp_path / "crm.secret"
    assert outgoing.mail is not None
    assert outgoing.mail.to == ("dpo@example.org", "oncall@example.org")
