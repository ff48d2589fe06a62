"""The call's tags: the same word in channel variables, CDR, CEL, an AMI event and the header for the agent's phone.

One file names them and two performers write them: over the AGI dialogue while the call is with us, over AMI later.
CALLWARDEN_OUTCOME is written last, so who reads it finds the others there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edge.consent.policy import Policy
from edge.failpoints import hit
from edge.ports import Asterisk, Dialogue

OUTCOME: Final = "CALLWARDEN_OUTCOME"
#: Read by the dialplan's `callwarden-header`, which Dial's b() runs on the channels it makes; they inherit it.
HEADER: Final = "__CALLWARDEN_HEADER"
#: The dialplan turns the call away once AGI has returned (`on_failure = "refuse_call"`).
REFUSE: Final = "CALLWARDEN_REFUSE"
#: Why the call is not recorded was said, or begun to be said: the dialplan need not say it again.
ANNOUNCED: Final = "CALLWARDEN_ANNOUNCED"
#: The language that was chosen by key, for what is said later in the call.
LANGUAGE: Final = "CALLWARDEN_LANGUAGE"
#: For a withdrawal that the daemon does not take (dead, frozen): what the dialplan does, what it plays, and its mark.
STAR: Final = "CALLWARDEN_STAR"
STAR_SOUND: Final = "CALLWARDEN_STAR_SOUND"
#: Tells the dialplan that a withdrawal is on file.
FEATURE_DONE: Final = "CALLWARDEN_FEATURE_DONE"
#: Feature codes of the shipped features.conf: our own errand, then withdraw, pause, resume, start.
FEATURES: Final = ("cwapi", "cwwithdraw", "cwpause", "cwresume", "cwstart")


def words(
    outcome: str, call_id: str, policy: str, recording_id: str | None = None, *, header: bool = False
) -> dict[str, str]:
    """Names and values in the order they are written. CDR and CEL carry `cw=OUTCOME;call=ID`, the header
    `OUTCOME;call=ID`. recording_id: None leaves CALLWARDEN_RECORDING as it is."""
    tag = f"cw={outcome};call={call_id}"
    found = {"CALLWARDEN_CALL": call_id, "CALLWARDEN_POLICY": policy}
    if recording_id is not None:
        found["CALLWARDEN_RECORDING"] = recording_id
    if header:
        found[HEADER] = f"{outcome};call={call_id}"
    return found | {"CDR(userfield)": tag, "CHANNEL(userfield)": tag, OUTCOME: outcome}


def event(outcome: str, call_id: str, policy: str) -> tuple[str, dict[str, str]]:
    """Name and fields of the AMI UserEvent."""
    return "CallwardenConsent", {"Outcome": outcome, "Call": call_id, "Policy": policy}


def withdrawn_mark(call_id: str) -> str:
    """The global in which the dialplan notes a withdrawal that no daemon took: epoch seconds."""
    return f"CALLWARDEN_WITHDRAWN_{call_id}"


async def by_dialogue(dialogue: Dialogue, outcome: str, call_id: str, policy: Policy, recording_id: str | None) -> None:
    """Tag the call we are talking with. Raises CallerGone, DialogueLost."""
    values = words(outcome, call_id, policy.name, recording_id, header=policy.header)
    last = values.pop(OUTCOME)
    await dialogue.set_variables(values)
    await dialogue.user_event(*event(outcome, call_id, policy.name))
    await dialogue.set_variable(OUTCOME, last)
    hit("call.tagged")


async def in_case_of_hang_up(dialogue: Dialogue, call_id: str) -> None:
    """Before a question in mid-call: a channel that hangs up under it takes no more tags, so CDR and CEL say `abandoned`
    until the answer has its own. Raises CallerGone, DialogueLost."""
    tag = f"cw=abandoned;call={call_id}"
    await dialogue.set_variables({"CDR(userfield)": tag, "CHANNEL(userfield)": tag})


async def by_link(asterisk: Asterisk, channel_name: str, values: Mapping[str, str]) -> None:
    """Tag a call by AMI: `words(...)`, one Setvar each, in order, then the event. Raises CallwardenError ami.*."""
    for name, value in values.items():
        await asterisk.set_variable(channel_name, name, value)
    await asterisk.user_event(*event(values[OUTCOME], values["CALLWARDEN_CALL"], values["CALLWARDEN_POLICY"]))


async def leave_star(dialogue: Dialogue, does: str, sound: str) -> None:
    """Tell the dialplan what to do with a withdrawal on this channel that the daemon does not take: `stop` or `note`; sound:
    path of what it plays, without extension, "" for nothing. Raises CallerGone, DialogueLost."""
    await dialogue.set_variable(STAR, does)
    await dialogue.set_variable(STAR_SOUND, sound)


async def offer_features(dialogue: Dialogue) -> None:
    """Let this channel and those it calls use the feature codes, beside those the admin gave it (at the entry the dialplan
    joins the two). Raises CallerGone, DialogueLost."""
    theirs = "" if dialogue.script == "entry" else await dialogue.get_variable("DYNAMIC_FEATURES")
    kept = [name for name in theirs.split("#") if name and name not in FEATURES]
    await dialogue.set_variable("__DYNAMIC_FEATURES", "#".join((*kept, *FEATURES)))
