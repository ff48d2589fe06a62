"""Names and numbers that nobody should be able to hurt anything with: what a caller can put into a SIP From header.

The payloads aim at each sink there is: dialplan expressions, AGI and AMI lines, shells, SQL, logs, terminals, CSV and
spreadsheets, JSON, HTML, file names, SIP itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

#: A file each shell payload would make. It must never exist.
CANARY = "/tmp/callwarden-canary"

_PAYLOADS = (
    # dialplan and AGI
    "${{SHELL(touch {c})}}", "$[1+1]", "${{ENV(PATH)}}", "a,b,c", "a|b", "x,i(CALLWARDEN_MONITOR)", "1)&System(touch {c})",
    "${{CALLWARDEN_TOKEN}}", '"\nEXEC System "touch {c}', "HANGUP", "200 result=1", "520-Invalid", "agi_network: yes",
    # AMI
    "\r\nAction: Originate\r\nChannel: Local/1000@from-callers", "\r\n\r\nEvent: Hangup\r\nUniqueid: 1.1\r\n\r\n",
    "\nEvent: BridgeEnter\nUniqueid: 1.1", "Variable: CALLWARDEN_OUTCOME=given", "\nCallwardenConsent",
    # shells
    "; touch {c} ;", "$(touch {c})", "`touch {c}`", "| touch {c}", "&& touch {c}", "../../../../tmp/x", "-rf /", "~root",
    # SQL
    "'; DROP TABLE call; --", '" OR 1=1 --', "x' UNION SELECT secret FROM answer --", "%", "_", "\\",
    # logs and terminals
    "\x1b[2J\x1b[1;31mFAKE", "\x1b]0;title\x07", "\x07\x08\x7f", 'level=critical event="all is well"', "\u2028\u2029",
    "\u202eevil\u202c", "a\tb", "\x00null", "\x9b31m",
    # CSV, spreadsheets, JSON, HTML, XML
    "=cmd|' /C calc'!A0", "+1+1", "-1", "@SUM(1)", '"quoted"', '{{"a": 1}}', '"}},{{"x":"', "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "&lt;b&gt;", "]]>", "<!--", "{{{{7*7}}}}", "{{%raw%}}",
    # texts of unusual shape
    "", " ", "0", "null", "None", "NaN", "true", "A" * 60, "9" * 60, "\U0001f512" * 10, "Jiří Ďáblík", "日本語", "\ufeffBOM",
    "anonymous", "unknown", "Restricted", "+420 608 000 000", "00420608000000", "+", "112", "*9", "#", "1;2;3",
    # SIP
    "sip:evil@example", "x@y", "<sip:a@b>", ";tag=1", "?Replaces=1", "%0d%0aX-Injected: 1", "%00", "%2525",
)  # fmt: skip


def texts(count: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """`count` pairs (name, number). Every payload comes in both places; the rest are payloads glued together."""
    chance = random.Random(seed)
    payloads = [p.format(c=CANARY) for p in _PAYLOADS]
    plain = [("Plain Name", p) for p in payloads] + [(p, "+420608999999") for p in payloads]
    for n in range(count):
        if n < len(plain):
            yield plain[n]
        else:
            first, second = chance.choice(payloads), chance.choice(payloads)
            yield first + second, chance.choice(payloads) + str(n)
