"""The rig's own dialplan: what an admin's would be, with the project's file included where it exists (pure).

1000 plain call, no Callwarden (the baseline)      1005 policy `private`, mode never
1001 policy `support`, then the agent              1008 MixMonitor to a WAV, no Callwarden
1009 MixMonitor, then age and rm as post-command   1010 policy `support`, then the queue of agents
1012 policy `support` under an admin's own TIMEOUT(absolute)
1013 the called party is asked on its own leg       1018 MixMonitor to raw, caller left, agent right
policy-NAME: policy NAME, then the agent            echo: policy `support`, then no agent but an echo
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_LINES = {"1001": "support", "1005": "private"}
ADMIN_TIMEOUT_S = 30


@dataclass(frozen=True)
class DialplanSettings:
    """What the dialplan needs to know of a run."""

    monitor: Path  # folder MixMonitor of 1008, 1009 and 1018 writes into
    include: Path | None = None  # the project's dialplan/callwarden.conf
    age: str = ""  # command line of age, for 1009
    recipient: str = ""  # age1… for 1009; empty leaves 1009 out
    lines: tuple[tuple[str, str], ...] = tuple(DEFAULT_LINES.items())
    extra: str = ""  # further contexts or extensions of from-callers, given by a test


def extensions(plan: DialplanSettings) -> str:
    """The text after [globals] of extensions.conf."""
    dial = " same => n,Dial(PJSIP/agent,30)\n same => n,Hangup()\n"
    wav = f"{plan.monitor}/${{UNIQUEID}}.wav"
    blocks = [f"exten => 1000,1,NoOp(plain)\n{dial}"]
    blocks += [_asked(number, policy) + dial for number, policy in plan.lines]
    # The caller's own words never reach an argument unfiltered, in the rig as in the product.
    blocks.append(_asked("_policy-.", "${FILTER(a-z0-9_,${EXTEN:7})}") + dial)
    blocks.append(f"exten => 1008,1,MixMonitor({wav})\n{dial}")
    if plan.recipient:
        seal = f"{plan.age} -r {plan.recipient} -o ^{{MIXMONITOR_FILENAME}}.age ^{{MIXMONITOR_FILENAME}}"
        blocks.append(f"exten => 1009,1,MixMonitor({wav},,{seal} && rm ^{{MIXMONITOR_FILENAME}})\n{dial}")
    blocks.append(_asked("1010", "support") + " same => n,Queue(support)\n same => n,Hangup()\n")
    blocks.append(_asked("1012", "support", f"Set(TIMEOUT(absolute)={ADMIN_TIMEOUT_S})") + dial)
    if plan.include is not None:
        # Dial's U(context^argument) becomes Gosub(context,s,1(argument)) on the called leg.
        blocks.append("exten => 1013,1,Dial(PJSIP/agent,30,U(callwarden-callee^support))\n same => n,Hangup()\n")
    blocks.append(f"exten => 1018,1,MixMonitor({plan.monitor}/${{UNIQUEID}}.raw,D)\n{dial}")
    blocks.append(_asked("echo", "support") + " same => n,Answer()\n same => n,Echo()\n same => n,Hangup()\n")
    # Without the project's file its entry is a subroutine that only returns.
    stand_in = "[callwarden]\nexten => s,1,Return()\n"
    inclusion = f'#include "{plan.include}"\n' if plan.include is not None else stand_in
    agents = "[from-agents]\nexten => _X.,1,Dial(PJSIP/agent,30)\n same => n,Hangup()\n"
    return f"[from-callers]\n{''.join(blocks)}{plan.extra}\n{agents}{inclusion}"


def _asked(number: str, policy: str, first: str = "NoOp()") -> str:
    return f"exten => {number},1,{first}\n same => n,Gosub(callwarden,s,1({policy}))\n"
