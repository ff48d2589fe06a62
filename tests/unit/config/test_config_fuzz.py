"""Whatever stands in the files, loading ends in a configuration or in an error that names one of the files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edge.config import load
from edge.errors import CallwardenError
from formats.age import X25519Identity

KEYS = [str(X25519Identity.generate(bytes([n]) * 32).recipient()) for n in (1, 2)]
TEXT = f"""\
[edge]
id = "pbx-1"
waive = ["spool-not-mount"]
spool = "spool"
[asterisk]
ami = "127.0.0.1:5038"
guard_deadline = "2s"
[central]
url = "https://127.0.0.1:8443"
[policy.support]
mode = "opt_in"
match = {{ did = ["+420555100200"], queue = ["support"] }}
purposes = ["quality"]
recipients = [
  "{KEYS[0]}", # one
  '{KEYS[1]}',
]
capture = {{ rate = 8000, seal_every = "4s" }}
retention.recordings = "P6M"
language_did = {{ "+420555100200" = "en" }}
[[policy.support.further]]
purposes = ["training"]
prompt = "ask_training"
[telephony]
country = "CZ"
trunks = ["PJSIP/trunk"]
[agents.anna]
device = "PJSIP/agent1"
basis = "contract"
reference = "works agreement 2026-03"
until = 2027-06-30
"""
PIECES = [
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ".",
    ",",
    '"',
    "'",
    '"""',
    "#",
    "\n",
    "\\",
    " ",
    "0",
    "-1",
    "nan",
    "1e999",
    "true",
]
PIECES += [
    "policy",
    "edge",
    "central",
    "support",
    "mode",
    "[policy.support]\n",
    "[[policy]]\n",
    "é",
    "\x00",
    "1979-05-27",
    "{}",
    "[]",
]


def mutate(text: str, dice: random.Random) -> str:
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(text) + 1)
        cut = dice.choice((0, 0, 1, 2, dice.randint(0, 60)))
        text = text[:at] + dice.choice(["", *PIECES]) + text[at + cut :]
    return text


def outcome(file: Path, text: str) -> CallwardenError | None:
    try:
        load(file)
    except CallwardenError as e:
        return e
    except Exception as e:  # a fuzz test tells which text did it
        pytest.fail(f"{e!r} from:\n{text}")
    return None


@pytest.mark.parametrize("seed", range(8))
def test_mutated_files(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    file = tmp_path / "edge.toml"
    refused = 0
    for _ in range(250):
        text = mutate(TEXT, dice)
        file.write_text(text, encoding="utf-8")
        error = outcome(file, text)
        if error is not None:
            refused += 1
            assert error.where.startswith(str(file)), text
            assert error.code.split(".")[0] in ("config", "policy", "recipient"), text
    assert refused > 100, "mutations that break nothing would test nothing"
