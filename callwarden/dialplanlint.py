"""Finds text that a caller chose in the arguments of a dialplan's applications. Pure.

Why: an argument of AGI, MixMonitor, System or Exec can end in a shell, one of Goto or Dial in somebody's account, one of
`$[...]` in another expression, and a comma or line end in a number begins the next argument. So nothing that comes from
outside stands in an argument, but through FILTER() with a set of letters, digits, `_`, `+`, `*` and `#`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Variables whose value a caller, a called party, a peer or a device's name decides.
_VARIABLES = """
    EXTEN MACRO_EXTEN INVALID_EXTEN CALLERIDNUM CALLERIDNAME CALLERANI DNID RDNIS ANI CHANNEL CALLINGPRES DIALEDPEERNAME
    DIALEDPEERNUMBER BLINDTRANSFER ATTENDEDTRANSFER TRANSFERERNAME FORWARDERNAME BRIDGEPEER SIPCALLID SIPDOMAIN SIPURI
    SIPREFERTOHDR SIPREFERREDBYHDR SIPREFERRINGCONTEXT OUTNUM DIAL_NUMBER FROM_DID FROMEXTEN REALCALLERIDNUM PARKEDCALL
    MESSAGE_DATA
"""
#: Functions of the same kind, whatever their arguments.
_FUNCTIONS = """
    CALLERID CALLERPRES CONNECTEDLINE REDIRECTING SIP_HEADER SIPPEER SIPCHANINFO PJSIP_HEADER PJSIP_HEADERS
    PJSIP_HEADER_PARAM PJSIP_RESPONSE_HEADER PJSIP_PARSE_URI MESSAGE JABBER_RECEIVE CURL FAXOPT IAXVAR IMPORT URIDECODE
    BASE64_DECODE
"""
#: Of these functions only some arguments are harmless.
_SOME = {
    "CHANNEL": "linkedid uniqueid language channeltype state musicclass tonezone accountcode",
    "CDR": "userfield uniqueid linkedid start answer end duration billsec disposition accountcode",
    "STACK_PEEK": "1,c 2,c 3,c 4,c",
}
_CHOSEN_VARIABLES, _CHOSEN_FUNCTIONS = frozenset(_VARIABLES.split()), frozenset(_FUNCTIONS.split())
_HARMLESS = {name: frozenset(words.split()) for name, words in _SOME.items()}
#: What runs a command, evaluates text anew, or records without a permit.
_SHELLS = frozenset(("SHELL", "EVAL", "FILE", "STAT"))
_RUNS = re.compile(
    r"\b(System|TrySystem|ExternalIVR|EAGI|DeadAGI|MixMonitor|Monitor|Record|Exec|TryExec)\s*\(", re.IGNORECASE
)
_ARGUMENT = re.compile(r"ARG([3-9]|\d\d+)")
_SAFE_SET = re.compile(r"(?:0-9|a-z|A-Z|[A-Za-z0-9_+*#])*")


@dataclass(frozen=True, slots=True)
class DialplanFault:
    """One line that must not be so. `line`: from 1; `what`: the expression; `why`: a sentence."""

    line: int
    what: str
    why: str


def faults(text: str) -> list[DialplanFault]:
    """Every fault of a dialplan or another of Asterisk's configuration files, in order of lines."""
    return [
        DialplanFault(number, what, why)
        for number, line in _live(text)
        for what, why in (*_commands(line), *_expansions(line))
    ]


def _live(text: str) -> Iterator[tuple[int, str]]:
    """Lines with what Asterisk takes for comments cut away."""
    inside = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw
        if inside:
            _, ended, line = line.partition("--;")
            if not ended:
                continue
            inside = False
        if line.lstrip().startswith(";--") and not line.lstrip().startswith(";---"):
            inside = "--;" not in line
            continue
        line = re.split(r"(?<!\\);", line, maxsplit=1)[0].strip()
        if line:
            yield number, line


def _commands(line: str) -> Iterator[tuple[str, str]]:
    if line.startswith("#exec"):
        yield "#exec", "it runs a command whenever the file is read"
    for found in _RUNS.finditer(line):
        yield found[1], "it runs a command, evaluates text or records without a permit"


def _expansions(text: str) -> Iterator[tuple[str, str]]:
    """Faults in every `${...}` of a text."""
    at = 0
    while (start := text.find("${", at)) >= 0:
        inner, at = _balanced(text, start + 2)
        if at < 0:
            yield text[start:], "the brace is never closed"
            return
        yield from _one(inner)


def _balanced(text: str, start: int) -> tuple[str, int]:
    """What lies between a `${` (or `{`) before `start` and its brace, and where it goes on; -1 when there is none."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at], at + 1
    return "", -1


def _one(inner: str) -> Iterator[tuple[str, str]]:
    shown = "${" + inner + "}"
    if inner.startswith("${"):
        yield shown, "which variable is read depends on another one's value"
        return
    name, opened, rest = inner.partition("(")
    if not opened:
        bare = inner.partition(":")[0]
        if bare in _CHOSEN_VARIABLES:
            yield shown, "a caller or a device's name decides what stands here; put it through FILTER(0-9,...)"
        elif _ARGUMENT.fullmatch(bare):
            yield shown, "only the first two arguments of a subroutine are the administrator's own"
        yield from _expansions(inner)
        return
    arguments = rest.rpartition(")")[0]
    if name == "FILTER":
        allowed, _, value = arguments.partition(",")
        if _SAFE_SET.fullmatch(allowed):
            # What is filtered may come from anywhere, but must not run anything while it is read.
            yield from ((what, why) for what, why in _expansions(value) if _runs(what))
            return
        yield shown, "the set of FILTER() may hold letters, digits, _, +, * and # only"
    elif name in _SHELLS:
        yield shown, "it runs a command, evaluates text or reads a file"
    elif name in _CHOSEN_FUNCTIONS or (name in _HARMLESS and arguments not in _HARMLESS[name]):
        yield shown, "a caller or a device's name decides what stands here; put it through FILTER(0-9,...)"
    yield from _expansions(arguments)


def _runs(what: str) -> bool:
    return what.partition("(")[0].removeprefix("${") in _SHELLS or what.startswith("${${")
