"""The rig's own dialplan: what an admin's would be, with the project's file included where it exists (pure).

From callers:

1000 plain call, no Callwarden (the baseline)      1008 MixMonitor to a WAV, no Callwarden
1001 opt_in       1002 opt_out     1003 notice     1009 MixMonitor, then age and rm as post-command
1004 obligation   1005 never       1006 prior      1010 opt_in, then the queue of two agents
1007 manual       1016 prior, and the caller is verified
1011 a regulated line that refuses unrecorded calls 1012 opt_in under an admin's own TIMEOUT(absolute)
1013 the called party is asked on its own leg       1018 MixMonitor to raw, caller left, agent right
1030 a conference, opt_in before it                 1040 opt_in, then the queue of the phones agent1 and agent2
1041 opt_in, then the phone agent1                  1042 opt_in, then the phone agent2
1050 opt_in, sealed with aes256gcm                 1060 to 1068 opt_in, captured otherwise (rig/policies.py)
112 and 9112, the emergency number                  policy-NAME: policy NAME, then the agent
echo: opt_in, then no agent but an echo

From agents: 9 and a number goes out through `trunk`, 8 and a number through `trunk2`, each asked by the policy
`outbound`; 112 and 9112 too, unasked; 200 rings agent, 201 agent1, 202 agent2; 301 agent1 without features; 1030 is the
conference, 1040 the queue of phones, 1010 the queue of agents; 700 parks, 701 to 720 take back; *8 picks up; anything else rings
the agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rig.pbx_conf import PARKED

#: Extension to policy (rig/policies.py, and `callwarden init`'s own two).
DEFAULT_LINES = {
    "1001": "support",
    "1002": "orders",
    "1003": "helpdesk",
    "1004": "trading",
    "1005": "private",
    "1006": "members",
    "1007": "desk",
}
#: The policy of calls that agents make.
OUTBOUND = "outbound"
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
    agents_extra: str = ""  # further extensions of from-agents


def extensions(plan: DialplanSettings) -> str:
    """The text after [globals] of extensions.conf."""
    plain = " same => n,Dial(PJSIP/agent,30)\n same => n,Hangup()\n"
    wav = f"{plan.monitor}/${{UNIQUEID}}.wav"
    blocks = [f"exten => 1000,1,NoOp(plain)\n{plain}"]
    blocks += [_asked(number, policy) + _dial(plan) for number, policy in plan.lines]
    blocks.append(_asked("1016", "members", first="Set(CALLWARDEN_VERIFIED=yes)") + _dial(plan))
    # The caller's own words never reach an argument unfiltered, in the rig as in the product.
    blocks.append(_asked("_policy-.", "${FILTER(a-z0-9_,${EXTEN:7})}") + _dial(plan))
    blocks.append(f"exten => 1008,1,MixMonitor({wav})\n{plain}")
    if plan.recipient:
        seal = f"{plan.age} -r {plan.recipient} -o ^{{MIXMONITOR_FILENAME}}.age ^{{MIXMONITOR_FILENAME}}"
        blocks.append(f"exten => 1009,1,MixMonitor({wav},,{seal} && rm ^{{MIXMONITOR_FILENAME}})\n{plain}")
    blocks.append(_asked("1010", "support") + _queue("support"))
    blocks.append(_asked("1011", "regulated", also=",refuse_call") + _dial(plan))
    blocks.append(_asked("1012", "support", first=f"Set(TIMEOUT(absolute)={ADMIN_TIMEOUT_S})") + _dial(plan))
    if plan.include is not None:
        # Dial's U(context^argument) becomes Gosub(context,s,1(argument)) on the called leg.
        blocks.append("exten => 1013,1,Dial(PJSIP/agent,30,U(callwarden-callee^support))\n same => n,Hangup()\n")
    blocks.append(f"exten => 1018,1,MixMonitor({plan.monitor}/${{UNIQUEID}}.raw,D)\n{plain}")
    blocks.append(_asked("1030", "support") + " same => n,ConfBridge(1030)\n same => n,Hangup()\n")
    blocks.append(_asked("1040", "support") + _queue("desks"))
    blocks.append(_asked("1050", "classified") + _dial(plan))
    blocks += [_asked(f"106{n}", f"capture106{n}") + _dial(plan) for n in range(9)]
    blocks += [_asked(f"104{n}", "support") + _dial(plan, f"agent{n}") for n in (1, 2)]
    blocks += [_asked(number, "support") + _dial(plan) for number in ("112", "9112")]
    blocks.append(_asked("echo", "support") + " same => n,Answer()\n same => n,Echo()\n same => n,Hangup()\n")
    # Without the project's file its entry is a subroutine that only returns.
    stand_in = "[callwarden]\nexten => s,1,Return()\n"
    inclusion = f'#include "{plan.include}"\n' if plan.include is not None else stand_in
    return f"[from-callers]\n{''.join(blocks)}{plan.extra}\n{_agents(plan)}{inclusion}"


def _agents(plan: DialplanSettings) -> str:
    """What agents may dial and transfer to."""
    callee = f",U(callwarden-callee^{OUTBOUND})" if plan.include is not None else ""
    # An agent's digits: dialled by the pattern, and filtered all the same.
    out = "same => n,Dial(PJSIP/${CW_NUMBER}@%s,30%s)\n same => n,Hangup()\n"
    blocks = [
        f"exten => _{prefix}X.,1,Set(CW_NUMBER=${{FILTER(0-9,${{EXTEN:1}})}})\n {out % (trunk, callee)}"
        for prefix, trunk in (("9", "trunk"), ("8", "trunk2"))
    ]
    blocks += [f"exten => {n},1,Set(CW_NUMBER=112)\n {out % ('trunk', callee)}" for n in ("112", "9112")]
    blocks += [
        f"exten => 20{n},1,Dial(PJSIP/{name},30,tTkK)\n same => n,Hangup()\n"
        for n, name in enumerate(("agent", "agent1", "agent2"))
    ]
    blocks.append("exten => 301,1,Dial(PJSIP/agent1,30)\n same => n,Hangup()\n")
    blocks.append("exten => 1030,1,ConfBridge(1030)\n same => n,Hangup()\n")
    blocks += [f"exten => {n},1,NoOp()\n{_queue(name)}" for n, name in (("1010", "support"), ("1040", "desks"))]
    blocks.append("exten => 700,1,Park()\n same => n,Hangup()\n")
    blocks.append("".join(f"exten => {space},1,ParkedCall(default,{space})\n" for space in PARKED))
    blocks.append("exten => *8,1,Pickup()\n same => n,Hangup()\n")
    blocks.append("exten => _X.,1,Dial(PJSIP/agent,30,tTkK)\n same => n,Hangup()\n")
    return f"[from-agents]\n{''.join(blocks)}{plan.agents_extra}\n"


def _asked(number: str, policy: str, *, first: str = "NoOp()", also: str = "") -> str:
    return f"exten => {number},1,{first}\n same => n,Gosub(callwarden,s,1({policy}{also}))\n"


def _dial(plan: DialplanSettings, agent: str = "agent") -> str:
    """Ring an agent, who may transfer and park; the header of the project's file where there is one."""
    header = "b(callwarden-header^s^1)" if plan.include is not None else ""
    return f" same => n,Dial(PJSIP/{agent},30,tk{header})\n same => n,Hangup()\n"


def _queue(name: str) -> str:
    return f" same => n,Answer()\n same => n,Queue({name},tk)\n same => n,Hangup()\n"
