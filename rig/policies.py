"""The rig's own policies, one file each in conf.d: a mode for every extension that `callwarden init` has no policy for.

`init` writes `support` (1001) and `private` (1005). The law here is the Czech one, whose minimum is a notice; the same purposes
everywhere, because the shipped prompts name them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RigPolicy:
    """What is special about a policy, as TOML lines."""

    mode: str
    basis: str
    reference: str
    more: str = ""


POLICIES = {
    "orders": RigPolicy("opt_out", "legitimate_interests", "balancing test of 2026-03-02"),
    "helpdesk": RigPolicy("notice", "legitimate_interests", "balancing test of 2026-03-02"),
    "trading": RigPolicy(
        "obligation", "legal_obligation", "Act 256/2004 Coll., section 17", 'on_failure_midcall = "alarm"'
    ),
    "members": RigPolicy("prior", "consent", "membership terms 2026-01", 'remember = "P30D"'),
    "desk": RigPolicy("manual", "consent", "privacy notice"),
    "regulated": RigPolicy("opt_in", "consent", "privacy notice", 'on_failure = "refuse_call"'),
    "outbound": RigPolicy("opt_in", "consent", "privacy notice"),
    "classified": RigPolicy("opt_in", "consent", "privacy notice", 'suite = "aes256gcm"'),
}

#: Every way to capture that `support` does not use: extension to what the policy says about it.
CAPTURES = {
    "1060": 'capture = { codec = "sln", channels = 1 }',
    "1061": 'capture = { codec = "sln16", channels = 1 }',
    "1062": 'capture = { codec = "sln16", channels = 2 }',
    "1063": 'capture = { codec = "ulaw", channels = 1 }',
    "1064": 'capture = { codec = "ulaw", channels = 2 }',
    "1065": 'capture = { codec = "alaw", channels = 1 }',
    "1066": 'capture = { codec = "alaw", channels = 2 }',
    "1067": 'compact = "flac"',
    "1068": 'compact = "opus"\ncapture = { codec = "sln16", channels = 2 }',
}
POLICIES |= {f"capture{ext}": RigPolicy("opt_in", "consent", "privacy notice", more) for ext, more in CAPTURES.items()}

#: Which channels are the outside world: the trunks, and anybody who is not an agent.
TELEPHONY = """[telephony]
country = "CZ"
trunks = ["PJSIP/trunk", "PJSIP/trunk2", "PJSIP/anonymous"]
"""


def write(etc: Path) -> list[Path]:
    """Write the files that are missing into `etc`/conf.d; a file that is there is somebody's and stays. Returns the new ones.

    Recipients and languages are those of `init`'s own policy.
    """
    folder = etc / "conf.d"
    support = tomllib.loads((folder / "support.toml").read_text())["policy"]["support"]
    texts = {
        name: _toml(name, policy, support["recipients"], support["languages"]) for name, policy in POLICIES.items()
    }
    made = []
    for name, text in {"telephony": TELEPHONY, **texts}.items():
        path = folder / f"{name}.toml"
        if not path.exists():
            path.write_text(text)
            path.chmod(0o644)
            made.append(path)
    return made


def _toml(name: str, policy: RigPolicy, recipients: list[str], languages: list[str]) -> str:
    keys = "\n".join(f'  "{key}",' for key in recipients)
    spoken = ", ".join(f'"{language}"' for language in languages)
    return f"""[policy.{name}]
mode = "{policy.mode}"
jurisdiction = "CZ"
basis = "{policy.basis}"
basis_reference = "{policy.reference}"
purposes = ["quality", "evidence"]
languages = [{spoken}]
answer_window = "5s"
retries = 1
on_withdraw = "stop_and_erase"
{policy.more}
recipients = [
{keys}
]
"""
