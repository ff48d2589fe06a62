"""The words of `callwarden why`: what each outcome, reason, cause, pause, mark and standing means. Pure data.

A word that is not here is shown as it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: (outcome, reason) -> clause. `{who}` is who decided, `{key}` the key that did, `{policy}` the policy, `{basis}` its
#: legal basis with reference, `{reference}` the event that a remembered answer was given in. The reason "" is what is said
#: for a reason that is not here.
CLAUSES: Final[Mapping[tuple[str, str], str]] = {
    ("given", "key"): "{who} pressed {key} after the question of {policy}",
    ("given", "on_file"): "{who} had agreed before ({reference}) and that still stands under {policy}",
    ("given", ""): "{who} agreed under {policy}",
    ("notified", "no_objection"): "{who} was told, as {policy} demands, and did not object",
    ("notified", "played"): "the notice of {policy} was played to its end and {who} did not object",
    ("notified", "on_file"): "{who} was told before ({reference}) and that still stands under {policy}",
    ("notified", ""): "{who} was told, as {policy} demands",
    ("not_required", "obligation"): "{policy} records because it must ({basis}); nobody is asked",
    ("not_required", ""): "{policy} needs no question ({basis})",
    ("refused", "key"): "{who} pressed {key}, which is not the yes key of {policy}",
    ("refused", "silence"): "no key was pressed after the question of {policy}",
    (
        "refused",
        "key_then_silence",
    ): "{who} pressed {keys}, which is not the yes key of {policy}, and nothing when asked again",
    ("refused", "unclear"): "{who} gave no clear answer to the question of {policy}, and unclear is no yes",
    ("refused", "on_file"): "{who} had said no before ({reference}) and was not asked again under {policy}",
    ("refused", ""): "{who} did not agree to the question of {policy}",
    ("objected", "key"): "{who} pressed {key} to object under {policy}",
    ("objected", "unclear"): "{who} pressed keys that are no answer, and unclear counts as an objection under {policy}",
    ("objected", "silence"): "{who} stayed silent, which {policy} does not count as agreement",
    ("objected", "on_file"): "{who} had objected before ({reference}) and that still stands under {policy}",
    ("objected", "withdraw"): "{who} objected during the call, under {policy}",
    ("objected", ""): "{who} objected under {policy}",
    ("withdrawn", "key"): "{who} had agreed before, was reminded, and pressed {key} to take it back",
    ("withdrawn", "withdraw"): "{who} withdrew the yes",
    ("withdrawn", ""): "{who} withdrew the yes",
    ("abandoned", ""): "the call ended before {who} answered the question of {policy}",
    ("not_recorded", "manual"): "{policy} records only when the agent starts it, and nobody did",
    ("not_recorded", "emergency"): "an emergency number was dialled, and such a call is never asked, held or recorded",
    ("not_recorded", "never_number"): "one side's number is on the list of those that are never recorded",
    ("not_recorded", "policy"): "{policy} never records",
    ("not_recorded", "never"): "{policy} never records",
    ("not_recorded", ""): "{policy} is of mode {mode}",
    ("unavailable", ""): "recording was not possible",
    ("adopted", ""): "it was taken over from an older archive",
}

#: Error code, or its family, of an `unavailable` -> (what was in the way, what to do).
CAUSES: Final[Mapping[str, tuple[str, str]]] = {
    "agi.lost": ("the dialogue with Asterisk was lost", "see Asterisk's log and the guard's at that time"),
    "agi.monitor": ("Asterisk did not start the recording", "check that app_mixmonitor is loaded"),
    "agi": ("the dialogue with Asterisk went wrong", "see the daemon's log at that time"),
    "ami.auth": ("Asterisk refused the manager's password", "compare `callwarden dialplan manager` with manager.conf"),
    "ami.down": ("the link to Asterisk's manager was down", "see `callwarden status`; is manager.conf enabled?"),
    "ami": ("Asterisk's manager did not do what was asked", "see `callwarden status` and the daemon's log"),
    "consent.not_on_file": ("the answer that was on file is no longer there", "nothing: the next call is asked"),
    "journal.io": ("the journal could not be written", "look at the disk: full, or failing"),
    "journal": ("the journal could not be written", "look at the disk and the daemon's log"),
    "policy.mode_unsupported": ("the policy's mode is not one this version can hold", "callwarden config check"),
    "policy.unknown": ("the dialplan named a policy that is not configured", "compare the dialplan with conf.d"),
    "policy": ("the policy could not be applied", "callwarden config check"),
    "prompt.missing": ("a prompt that must be played is missing", "callwarden prompts check"),
    "prompt.changed": ("a prompt's file is not the one that was checked", "load the prompts anew: callwarden reload"),
    "prompt.not_played": ("Asterisk did not play the prompt to its end", "look at Asterisk's log: format, file rights"),
    "prompt": ("a prompt could not be played", "callwarden prompts check"),
    "recipient": ("a key that must be able to open the recording is wrong", "callwarden config check"),
    "recorder": ("the recorder could not be brought into the wanted state", "see the daemon's log at that time"),
    "spool.full": ("the spool is full", "is the daemon sealing? see `callwarden status`"),
    "spool": ("the spool cannot be written", "look at its mount, mode and group: callwarden config check"),
    "vault.slots_full": ("no slot for another key is free", "look at the disk of [edge] state"),
    "vault": ("the vault cannot be written", "look at the disk and its rights"),
    "environment": ("the host lacks something", "see `callwarden status`"),
    "daemon.restarted": ("the daemon ended while the call was being asked", "see its log at that time"),
    "daemon.absent": ("the daemon was away when the call began", "see its log at that time"),
    "daemon": ("the daemon was not ready", "see its log at that time"),
    "CallerGone": ("the caller was gone before the recording began", "nothing"),
    "DialogueLost": ("the dialogue with Asterisk was lost", "see Asterisk's log and the guard's at that time"),
}

#: How the notice of a mandated recording ended.
NOTICES: Final[Mapping[str, str]] = {
    "played": "played to its end",
    "hangup": "cut off: the caller hung up",
}
ROLES: Final[Mapping[str, str]] = {
    "caller": "the caller",
    "callee": "the called party",
    "third": "a further party",
    "agent": "an agent",
    "supervisor": "a supervisor",
    "dpo": "the data protection officer",
    "central": "central's order",
    "system": "the edge's own rules",
}
PAUSES: Final[Mapping[str, str]] = {
    "asked": "asked for",
    "hold": "somebody was on hold",
    "party": "somebody on the call had not agreed",
}
#: Why the edge's own rules paused a call (`edge.consent.standing`).
PAUSE_WHYS: Final[Mapping[str, str]] = {
    "never_number": "a number that is never recorded",
    "party_unasked": "a further party has not answered",
    "agent_unasked": "an agent has no stored basis",
    "agent_revoked": "an agent's stored basis was revoked",
}
STANDINGS: Final[Mapping[str, str]] = {
    "given": "agreed",
    "notified": "was told",
    "not_required": "need not be asked",
    "standing": "has a stored basis",
    "none": "was not asked",
    "refused": "did not agree",
    "objected": "objected",
    "withdrawn": "took the answer back",
}
FLAGS: Final[Mapping[str, str]] = {
    "one_sided": "one side is silent to the bit",
    "repaired": "a new capture was started because one side had gone silent",
    "gap": "permitted time is missing",
    "rogue_monitor": "another recorder was seen on this call",
    "agent_stopped": "an agent stopped it; nothing was erased for that",
    "incident": "something was removed after an incident",
    "mute_failed": "a pause was made by stopping",
    "adopted": "it was a file before, outside and in the clear",
    "duration": "it is not as long as the caller talked with somebody",
}
#: What says when an adopted recording began.
STARTED: Final[Mapping[str, str]] = {"cdr": "call record", "name": "name", "file": "time stamp"}
STATES: Final[Mapping[str, str]] = {
    "offered": "has just entered",
    "asking": "is being asked",
    "permitted": "may be recorded",
    "declined": "is not recorded",
}
NUMBERS: Final[Mapping[str, str]] = {"plain": "(removed)", "withheld": "(withheld)", "invalid": "(not a number)"}


def cause(code: str) -> tuple[str, str]:
    """What was in the way and what to do, by the code, else by its family; ("", "") for one that is not known."""
    return CAUSES.get(code) or CAUSES.get(code.partition(".")[0]) or ("", "")


#: How much of the evidence is left, where it is not all of it.
EVIDENCE: Final[Mapping[str, str]] = {
    "minimal": "the minimal record: prompt, key, policy, times to the minute; the number only as HMAC",
    "expired": "expired and removed: only the call's row is left",
}
