"""The shipped dialplan, read as text: nothing a caller chose stands in an application's argument (faults.md row 34)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from callwarden.dialplanlint import faults
from edge.agi import variables
from edge.ami.translate import WANTED
from rig.pbx_conf import AMI_READ, AMI_WRITE

FOLDER = Path(__file__).parents[3] / "dialplan"
FILES = sorted([*FOLDER.rglob("*.conf"), *FOLDER.rglob("*.sample")])


def live_lines(text: str) -> list[str]:
    return [line.split(";")[0].rstrip() for line in text.splitlines() if line.split(";")[0].strip()]


def context(text: str, name: str) -> str:
    """The lines of one context."""
    return re.split(r"^\[", text.partition(f"\n[{name}]\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_there_is_something_to_check() -> None:
    assert [str(path.relative_to(FOLDER)) for path in FILES] == [
        "callwarden.conf",
        "features.callwarden.conf.sample",
        "freepbx/extensions_custom.conf",
        "freepbx/extensions_override_freepbx.conf",
        "manager.callwarden.conf.sample",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_row34_no_line_passes_on_what_a_caller_chose(path: Path) -> None:
    assert faults(path.read_text()) == []


REFUSED = [
    "same => n,AGI(agi://x,${CALLERID(num)})",
    "same => n,Set(X=${CALLERID(name)})",
    "same => n,Set(X=${CALLERID(all):3})",
    "same => n,Gosub(a,${EXTEN},1)",
    "same => n,NoOp(${EXTEN:1})",
    'same => n,GotoIf($["${CALLERID(num)}" = "1"]?x)',
    "same => n,Set(X=${IF($[1]?${EXTEN}:0)})",
    "same => n,Set(X=${LEN(${CONNECTEDLINE(num)})})",
    "same => n,Set(X=${STACK_PEEK(1,e)})",
    "same => n,Set(X=${PJSIP_HEADER(read,X-Y)})",
    "same => n,Set(X=${CHANNEL(pjsip,remote_addr)})",
    "same => n,AGI(agi://x,${CHANNEL(name)})",
    "same => n,AGI(agi://x,${CHANNEL})",
    "same => n,AGI(agi://x,${ARG3})",
    "same => n,Set(X=${CDR(src)})",
    "same => n,Set(X=${CDR(clid)})",
    "same => n,Set(X=${DNID})",
    "same => n,Set(X=${RDNIS})",
    "same => n,Set(X=${CALLERID(ANI-num)})",
    "same => n,Set(X=${REDIRECTING(from-num)})",
    "same => n,Set(X=${BLINDTRANSFER})",
    "same => n,Set(X=${${Y}})",
    "same => n,Set(X=${FILTER(0-9 ,${EXTEN})})",
    "same => n,Set(X=${FILTER(0-9\\x2C,${EXTEN})})",
    "same => n,Set(X=${FILTER(${ARG1},${EXTEN})})",
    "same => n,Set(X=${FILTER(0-9,${SHELL(echo ${EXTEN})})})",
    "same => n,Set(X=${EXTEN)",
    "same => n,System(true)",
    "same => n,TrySystem(true)",
    "same => n,Set(X=${SHELL(id)})",
    "same => n,Set(X=${EVAL(${Y})})",
    "same => n,MixMonitor(/tmp/x.wav)",
    "#exec /bin/true",
]
ALLOWED = [
    "same => n,Set(X=${FILTER(0-9,${CALLERID(dnid)})})",
    "same => n,Set(X=${FILTER(0-9+*#,${EXTEN:1})})",
    "same => n,Gosub(callwarden,s,1(${FILTER(a-z0-9_,${EXTEN})}))",
    "same => n,AGI(agi://x/entry,${ARG1},${CHANNEL(linkedid)},${ARG2})",
    "same => n,Set(PJSIP_HEADER(add,X-Y)=${Z})",
    "same => n,NoOp() ; ${EXTEN} in a comment",
    "exten => _9X.,1,NoOp(${UNIQUEID})",
    "same => n,Set(CDR(userfield)=cw=x\\;call=${CDR(userfield)})",
]


@pytest.mark.parametrize("line", REFUSED)
def test_the_linter_refuses(line: str) -> None:
    found = faults(f"[a]\nexten => s,1,NoOp()\n {line}\n")
    assert [fault.line for fault in found][:1] == [3]


@pytest.mark.parametrize("line", ALLOWED)
def test_the_linter_allows(line: str) -> None:
    assert faults(f"[a]\nexten => s,1,NoOp()\n {line}\n") == []


def test_a_block_comment_is_no_dialplan_and_what_follows_it_is() -> None:
    text = "[a]\n;-- exten => s,1,System(true)\nsame => n,System(true)\n--; exten => s,1,NoOp(${EXTEN})\n"
    assert [(fault.line, fault.what) for fault in faults(text)] == [(4, "${EXTEN}")]


def test_the_command_names_file_and_line_and_exits_7(tmp_path: Path) -> None:
    bad = tmp_path / "bad.conf"
    bad.write_text("[a]\nexten => s,1,NoOp(${EXTEN})\n")
    command = [sys.executable, "-m", "callwarden", "dialplan", "lint", str(FOLDER / "callwarden.conf"), str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert f"{bad}:2: ${{EXTEN}}: " in done.stderr
    assert done.stdout == "2 files, 1 to mend\n"
    assert subprocess.run(command[:-1], capture_output=True, check=False).returncode == 0


def test_what_a_caller_never_waits_for_is_set_before_agi_and_nothing_after() -> None:
    text = context((FOLDER / "callwarden.conf").read_text(), "callwarden")
    lines = live_lines(text)
    agi = next(index for index, line in enumerate(lines) if "AGI(agi" in line)
    outcomes = [index for index, line in enumerate(lines) if f"Set({variables.OUTCOME}=" in line]
    assert outcomes
    later = [lines[index] for index in outcomes if index > agi]
    # After AGI only the daemon's word stands, but for the caller who hung up before it spoke.
    assert len(later) == 1
    assert later[0].endswith(f"Set({variables.OUTCOME}=abandoned)")
    assert any(f"Set({variables.CDR_USERFIELD}={variables.cdr_tag('unavailable')})" in line for line in lines[:agi])
    assert any("LOCAL(AGIEXITONHANGUP)=yes" in line for line in lines[:agi])


@pytest.mark.parametrize("name", ["callwarden-callee", "callwarden-feature", "callwarden-header"])
def test_no_dead_mans_switch_where_it_would_hang_up_both(name: str) -> None:
    lines = context((FOLDER / "callwarden.conf").read_text(), name)
    assert "exten => s,1," in lines
    assert "TIMEOUT(" not in lines
    assert "exten => T" not in lines
    assert "Hangup(" not in lines
    assert live_lines(lines)[-1].endswith("Return()")


def test_feature_codes_do_not_begin_like_one_another_and_name_a_word_of_the_daemon() -> None:
    lines = live_lines((FOLDER / "features.callwarden.conf.sample").read_text())
    found = [
        re.fullmatch(r"(\w+) => (\S+),self/self,Gosub\(callwarden-feature,s,1\((\w+)\)\)", line) for line in lines[1:]
    ]
    assert lines[0] == "[applicationmap]"
    assert all(found)
    codes = {m[1]: m[2] for m in found if m}
    assert codes == {"cwapi": "DAD", "cwwithdraw": "*9", "cwpause": "*71", "cwresume": "*72", "cwstart": "*73"}
    assert [m[3] for m in found if m] == ["errand", "withdraw", "pause", "resume", "start"]
    assert not [(a, b) for a in codes.values() for b in codes.values() if a != b and b.startswith(a)]


def test_the_manager_account_asks_for_what_is_read_and_no_more() -> None:
    text = (FOLDER / "manager.callwarden.conf.sample").read_text()
    assert re.findall(r"^eventfilter\(name\((\w+)\)\) =$", text, re.MULTILINE) == sorted(WANTED)
    assert re.findall(r"^(read|write) = (.*)$", text, re.MULTILINE) == [("read", AMI_READ), ("write", AMI_WRITE)]


def test_every_variable_of_the_dialplan_is_named_in_the_code() -> None:
    named = {value for value in vars(variables).values() if isinstance(value, str)}
    texts = [path.read_text() for path in FOLDER.rglob("*.conf")]
    used = set(re.findall(r"CALLWARDEN_[A-Z_]+", "\n".join(line for text in texts for line in live_lines(text))))
    assert used <= named


def test_only_our_own_monitor_is_ever_stopped() -> None:
    text = (FOLDER / "callwarden.conf").read_text()
    stops = [line.partition(",")[2] for line in live_lines(text) if "StopMixMonitor" in line]
    assert stops == ["StopMixMonitor(${CALLWARDEN_MONITOR})"]  # without an id it would stop the admin's own
    feature = live_lines(context(text, "callwarden-feature"))
    guard = next(line for line in feature if "n(away)" in line)
    assert f'"${{{variables.MONITOR}}}" = ""' in guard
    assert faults("exten => s,1,StopMixMonitor(${CALLWARDEN_MONITOR})") == []
