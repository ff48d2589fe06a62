"""Every channel and global variable the product sets or reads, named once. The dialplan uses the same names."""

from __future__ import annotations

#: Outcome of the call for the rest of the dialplan: `unavailable` before AGI, set last by the daemon.
OUTCOME = "CALLWARDEN_OUTCOME"
#: Our id of the call.
CALL = "CALLWARDEN_CALL"
#: Our id of the recording, when there is one.
RECORDING = "CALLWARDEN_RECORDING"
#: The policy that was applied.
POLICY = "CALLWARDEN_POLICY"
#: MixMonitor writes its id here (option `i`); a heap address, so it is read at once and used only for this channel.
MONITOR = "CALLWARDEN_MONITOR"
#: Global: proves to the daemon that its peer is Asterisk. Set over AMI at every link-up, asked for in every session.
TOKEN = "CALLWARDEN_TOKEN"  # noqa: S105 - the variable's name
#: Global: epoch seconds of the last heartbeat over AMI, for lamps and monitoring.
ALIVE = "CALLWARDEN_ALIVE"
#: Global, the admin's: address of the guard.
AGI = "CALLWARDEN_AGI"
#: Global, the admin's: seconds until the dead man's switch frees a caller from a frozen guard.
DEADMAN = "CALLWARDEN_DEADMAN"
#: `yes`: the daemon wants the dialplan to end the call; `done`: it is about to.
REFUSE = "CALLWARDEN_REFUSE"
#: `yes`: the daemon has said itself what the dialplan would say about a call that cannot be recorded.
ANNOUNCED = "CALLWARDEN_ANNOUNCED"
#: The outcome for the agent's phone, empty unless the policy says so; inherited by the legs that are dialled.
HEADER = "CALLWARDEN_HEADER"
#: What the dialplan does itself on a withdrawal that the daemon does not take: `stop` the recording, or only `note` it;
#: and the prompt it plays then (path without extension, empty: silence).
STAR = "CALLWARDEN_STAR"
STAR_SOUND = "CALLWARDEN_STAR_SOUND"
#: Set by the daemon once a withdrawal by code is on file, cleared by the dialplan before it asks.
FEATURE_DONE = "CALLWARDEN_FEATURE_DONE"
#: Global, the dialplan's, with our id of the call behind it: epoch seconds of a withdrawal that the daemon did not take.
WITHDRAWN = "CALLWARDEN_WITHDRAWN_"
#: The admin's, optional: the number that was dialled, where the extension does not tell.
NUMBER = "CALLWARDEN_NUMBER"
#: The admin's, optional: the queue that the call goes to, for a call whose policy is matched.
QUEUE = "CALLWARDEN_QUEUE"
#: The dialplan's own on FreePBX: the policy a called party is asked by.
CALLEE = "CALLWARDEN_CALLEE"
#: Globals, the admin's: emergency numbers, joined by `-`; the sound of a refused call; the last-resort script and the
#: folder of its prompts; on FreePBX the policies of calls in and out.
EMERGENCY = "CALLWARDEN_EMERGENCY"
REFUSED_SOUND = "CALLWARDEN_REFUSED_SOUND"
LAST_RESORT = "CALLWARDEN_LAST_RESORT"
SOUNDS = "CALLWARDEN_SOUNDS"
INBOUND = "CALLWARDEN_INBOUND"
OUTBOUND = "CALLWARDEN_OUTBOUND"
#: The user field of the CDR, as AGI's SET VARIABLE names it.
CDR_USERFIELD = "CDR(userfield)"
#: Where the subroutine was called from: the admin's context. Not chosen by the caller.
CALLED_FROM = "STACK_PEEK(1,c)"


def cdr_tag(outcome: str, call_id: str = "") -> str:
    """The text of the CDR's user field: `cw=OUTCOME;call=ID`."""
    return f"cw={outcome};call={call_id}" if call_id else f"cw={outcome}"
