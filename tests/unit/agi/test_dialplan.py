"""The shipped dialplan, read as text: nothing a caller chose stands in an application's argument (faults.md row 34)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.agi import variables

FOLDER = Path(__file__).parents[3] / "dialplan"
FILES = sorted(FOLDER.glob("*.conf"))
#: Variables and functions whose value comes from the caller, the called number, or the name of a device.
CALLER_CHOSEN = re.compile(
    r"\$\{[^}]*\b(CALLERID|EXTEN|CALLINGPRES|DNID|RDNIS|REDIRECTING|CONNECTEDLINE|PJSIP_HEADER|SIP_HEADER|SIPDOMAIN|SIPURI|"
    r"BLINDTRANSFER|CHANNEL\(name\)|CHANNEL\(peername\)|DIALEDPEERNAME|ARG[2-9]|CDR\((?!userfield)|STACK_PEEK\(\d,[^c])"
)
RUNS_A_SHELL = re.compile(r"\b(System|TrySystem|SHELL|EVAL|MixMonitor|Monitor|EAGI|ExternalIVR)\b\s*\(", re.IGNORECASE)


def live_lines(text: str) -> list[str]:
    return [line.split(";")[0].rstrip() for line in text.splitlines() if line.split(";")[0].strip()]


def faults(text: str) -> list[str]:
    return [line for line in live_lines(text) if CALLER_CHOSEN.search(line) or RUNS_A_SHELL.search(line)]


def test_there_is_something_to_check() -> None:
    assert [path.name for path in FILES] == ["callwarden.conf"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_row34_no_line_passes_on_what_a_caller_chose(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "same => n,AGI(agi://x,${CALLERID(num)})",
        "same => n,Set(X=${CALLERID(name)})",
        "same => n,Gosub(a,${EXTEN},1)",
        "same => n,NoOp(${EXTEN:1})",
        "same => n,Set(X=${FILTER(0-9,${CALLERID(dnid)})})",
        "same => n,Set(X=${STACK_PEEK(1,e)})",
        "same => n,Set(X=${PJSIP_HEADER(read,X-Y)})",
        "same => n,AGI(agi://x,${CHANNEL(name)})",
        "same => n,AGI(agi://x,${ARG2})",
        "same => n,System(true)",
        "same => n,Set(X=${SHELL(id)})",
        "same => n,MixMonitor(/tmp/x.wav)",
    ],
)
def test_the_check_finds_a_planted_line(line: str) -> None:
    assert faults(f"[a]\nexten => s,1,NoOp()\n {line}\n") != []


def test_what_a_caller_never_waits_for_is_set_before_agi_and_nothing_after() -> None:
    lines = live_lines((FOLDER / "callwarden.conf").read_text())
    agi = next(index for index, line in enumerate(lines) if ",AGI(" in line or ")AGI(" in line or "AGI(agi" in line)
    outcomes = [index for index, line in enumerate(lines) if f"Set({variables.OUTCOME}=" in line]
    assert outcomes
    later = [lines[index] for index in outcomes if index > agi]
    # After AGI only the daemon's word stands, but for the caller who hung up before it spoke.
    assert len(later) == 1
    assert later[0].endswith(f"Set({variables.OUTCOME}=abandoned)")
    assert any(f"Set({variables.CDR_USERFIELD}={variables.cdr_tag('unavailable')})" in line for line in lines[:agi])
    assert any("LOCAL(AGIEXITONHANGUP)=yes" in line for line in lines[:agi])


def test_every_variable_of_the_dialplan_is_named_in_the_code() -> None:
    named = {value for value in vars(variables).values() if isinstance(value, str)}
    used = set(re.findall(r"CALLWARDEN_[A-Z]+", "\n".join(live_lines((FOLDER / "callwarden.conf").read_text()))))
    assert used <= named
