"""The script that speaks when the daemon is dead: says what it should, sends nothing a caller chose, never fails."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "dialplan" / "last-resort.agi"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for language in ("en", "cs"):
        (tmp_path / language).mkdir()
        (tmp_path / language / "refused_call.wav").touch()
    return tmp_path


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize(
    ("language", "spoken"),
    [
        ("cs", "cs"),
        ("cs_CZ", "cs"),
        ("en_US_f_Allison", "en"),
        ("de", "en"),
        ("", "en"),
        ("../cs", "en"),
        ("c\ns", "en"),
    ],
)
def test_the_channels_language_or_english(script: dict[str, Any], sounds: Path, language: str, spoken: str) -> None:
    assert script["stem"](str(sounds), language, "refused_call") == str(sounds / spoken / "refused_call")


@pytest.mark.parametrize("prompt_id", ["ask", "../en/refused_call", "", "refused_call,x"])
def test_nothing_else_is_played(script: dict[str, Any], sounds: Path, prompt_id: str) -> None:
    assert script["stem"](str(sounds), "en", prompt_id) == ""


@pytest.mark.parametrize("folder", ["sounds", "/a b", '/a"b', "/a,b", "/a\nb", "/x/../y", "/nowhere"])
def test_a_folder_that_cannot_stand_in_a_command_is_none(script: dict[str, Any], folder: str) -> None:
    assert script["stem"](folder, "en", "refused_call") == ""


def speak(arguments: list[str], said: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], input=said, capture_output=True, text=True, check=False, timeout=40
    )


HOSTILE = 'agi_callerid: 1\nagi_calleridname: ${SHELL(id)}"; EXEC System x\nagi_language: cs\n\n'


def test_it_answers_and_plays_and_says_nothing_else(sounds: Path) -> None:
    done = speak(["refused_call", str(sounds)], HOSTILE + "200 result=0\n200 result=0 endpos=8000\n")
    assert done.returncode == 0
    assert done.stdout == f'ANSWER\nSTREAM FILE {sounds / "cs" / "refused_call"} "" 0\n'
    assert done.stderr == ""


@pytest.mark.parametrize(
    "said", ["", HOSTILE, HOSTILE + "510 Invalid\n", HOSTILE + "200 result=-1\n", HOSTILE + "\x00\xff\n"]
)
def test_whatever_is_said_to_it_the_call_goes_on(sounds: Path, said: str) -> None:
    done = speak(["refused_call", str(sounds)], said)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [[], ["refused_call"], ["refused_call", "/nowhere"]])
def test_wrong_arguments_are_silence(arguments: list[str]) -> None:
    done = speak(arguments, HOSTILE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "STREAM" not in done.stdout


def test_without_pyst2_it_is_silent(sounds: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(SCRIPT), "refused_call", str(sounds)],
        input=HOSTILE, capture_output=True, text=True, check=False, env={"PATH": os.defpath},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
