"""What a queue, a number or a context may do: the policy and its version. Pure.

A policy is written by the operator as `[policy.NAME]` in TOML; `edge.config` reads it into these values and refuses
what does not fit together (`edge.consent.policy_rules`). Every field has a default except `mode`;
docs/configuration.md is made from the docstrings and held to them by a test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import msgspec
import rfc8785

from edge.consent.policy_choice import choose_language, did_digits, select
from edge.consent.policy_tables import Capture, CentralSharing, Choices, Match, Override, Question
from edge.consent.retention import Bounds, Retention
from edge.consent.units import Day, Period, Seconds

Mode = Literal["opt_in", "opt_out", "notice", "prior", "obligation", "manual", "never"]
Basis = Literal["", "consent", "contract", "legitimate_interests", "public_task", "legal_obligation", "vital_interests"]

#: Which bases a mode can stand on (GDPR Art. 6(1)). `prior` refers to a consent on file.
BASES_OF_MODE: Final[Mapping[str, frozenset[str]]] = {
    "opt_in": frozenset({"consent"}),
    "prior": frozenset({"consent"}),
    "manual": frozenset({"consent", "contract", "legitimate_interests", "public_task"}),
    "opt_out": frozenset({"contract", "legitimate_interests", "public_task"}),
    "notice": frozenset({"contract", "legitimate_interests", "public_task"}),
    "obligation": frozenset({"legal_obligation", "vital_interests"}),
    "never": frozenset({"", *get_args(Basis)}),
}

#: The prompt a mode begins with, where the policy names none. `prior` begins with its reminder.
PROMPT_OF_MODE: Final[Mapping[str, str]] = {
    "opt_in": "ask",
    "opt_out": "object",
    "notice": "notice",
    "prior": "reminder",
    "obligation": "legal",
    "manual": "ask",
    "never": "",
}

#: Plaintext of the longest sealed chunk of any suite (age v1's STREAM chunk), bytes.
CHUNK_BYTES: Final = 64 * 1024
#: What may gather in the spool between two seals, bytes; with one unfinished chunk and Asterisk's 32 KiB stdio buffer
#: less than 256 KiB is resident in every format.
TICK_BYTES: Final = 128 * 1024
#: Less by this for every further file of a capture: each has a buffer of its own in Asterisk.
BUFFER_BYTES: Final = 32 * 1024
#: No byte in the spool gets older than this, seconds (10 s promised, 1 s kept for the work itself).
OLDEST_SECONDS: Final = 9.0


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[policy.NAME]`. Frozen: a call keeps the one it began under."""

    name: str
    """The NAME in `[policy.NAME]`; what the dialplan may pass. Letters, digits, "-" and "_"."""
    mode: Mode
    """How the caller is asked; docs/policies.md says what each mode does."""
    match: Match = Match()
    """Which calls it is for when the dialplan names no policy."""
    jurisdiction: str = ""
    """Country whose law decides, two capital letters ("CZ"). Default "": not known, so nothing weaker than "opt_in"."""
    override: Override | None = None
    """Who answers for a mode that is weaker than the jurisdiction's minimum, why, and until when. Default: nobody."""
    basis: Basis = "consent"
    """Legal basis (GDPR Art. 6(1)). Must fit the mode, see below."""
    basis_reference: str = ""
    """Where the basis is written down: the notice, the assessment with its date, the statute. Required for every basis
    but consent; goes into evidence."""
    purposes: tuple[str, ...] = ()
    """What the recording is for; the prompt must say each. At least one unless the mode is "never"."""
    further: tuple[Question, ...] = ()
    """Further purposes, each group asked by a question of its own once the first has passed. Default: none."""
    prompt: str = ""
    """Id of the prompt that asks or tells. Default "": by mode "ask" (opt_in, manual), "object", "notice", "reminder",
    "legal". Mode "obligation" may say "none": nothing is played."""
    ask: Literal["opt_in", "opt_out", "notice"] = "opt_in"
    """Mode "prior" only: how a caller is asked who has no consent on file. Default and, since "prior" stands on
    consent, only "opt_in"."""
    languages: tuple[str, ...] = ("en",)
    """Languages the prompts must exist in; the first is spoken when neither number nor channel says another."""
    language_did: Choices = Choices()
    """Dialled number to language, { "+420555100200" = "cs" }: comes before the channel's language. Default: none."""
    language_choice: Choices = Choices()
    """Key to language, { "1" = "en", "2" = "cs" }: the prompt "language" asks for one of them before anything else.
    Default: none, nothing is asked."""
    yes_key: str = "1"
    """The one key that means yes: 0-9, * or #. Default "1", the key the shipped prompts name."""
    objection_key: str = "2"
    """The one key that objects, in "opt_out", "notice" and "prior". Default "2", the key the shipped prompts name."""
    answer_window: Seconds = Seconds(5)
    """How long to wait for a key after the prompt, 1 s to 30 s. Default "5s"."""
    retries: int = 1
    """How often silence or a wrong key is asked again, 0 to 3. Default 1."""
    barge_in: bool = True
    """Whether a key ends the prompt once its `answerable_from_ms` is reached. Default true: frequent callers hurry."""
    on_silence: Literal["refuse"] = "refuse"
    """What silence means in the end. Only "refuse": silence is never a yes."""
    on_failure: Literal["unrecorded", "announce", "refuse_call"] = "unrecorded"
    """What happens when recording is not possible. Default "unrecorded": the call goes on, nothing is kept. "announce"
    says so to the caller, "refuse_call" ends the call after saying so; the dialplan's second argument must say the same."""
    on_failure_midcall: Literal["alarm", "announce", "hang_up"] = "alarm"
    """What happens when a recording breaks in the middle of a call. Default "alarm": only the operator is told."""
    on_withdraw: Literal["stop", "stop_and_erase"] = "stop_and_erase"
    """What a withdrawn yes does to what was recorded before it. Default "stop_and_erase"."""
    erase_after: Seconds = Seconds(3600)
    """How long after the end of the call "stop_and_erase" waits, 0 s to 30 d. Default "1h": time to notice a mistake."""
    contract_withdraw: Literal["note", "stop"] = "note"
    """Basis "contract" only: whether a caller's objection is noted, the recording going on, or stops it. Default "note"."""
    remember: Period = Period("P0D")
    """How long an answer is remembered, at most two years; of a number nobody verified at most 30 days. Default "P0D":
    asked every time. Mode "prior" needs it."""
    pause_limit: Seconds = Seconds(600)
    """How long a pause that was asked for may last before the recording goes on by itself, with an alarm; 0 for ever,
    else 1 s to 24 h. Default "10m"."""
    hold: Literal["pause", "record"] = "pause"
    """Time on hold. Default "pause": not kept. "record" needs a prompt that says "hold"."""
    wait: Literal["skip", "record"] = "skip"
    """Time before somebody answers. Default "skip": not kept. "record" needs a prompt that says "wait"."""
    beep: Seconds = Seconds(0)
    """A tone for everybody on the call, this often: 5 s to 60 s. Default "0s": none."""
    text_notice: Literal["", "start", "end"] = ""
    """A text message with the notice, sent at the start or end of an answered call by `[notices]`. Default "": none."""
    lamp: str = ""
    """Name of the device state Custom:NAME that is INUSE while a call under this policy is recorded. Default "": none."""
    header: bool = False
    """Whether the agent's phone is told by the SIP header X-Callwarden (Dial's option b). Default false."""
    rogue: Literal["alarm", "stop"] = "alarm"
    """What is done with a MixMonitor that nobody permitted. Default "alarm": it may be the operator's own."""
    standing_agents: bool = False
    """True: an agent without a standing basis in `[agents]` pauses the recording. Default false: agents are the
    employer's to answer for."""
    capture: Capture = Capture()
    """Format of the audio and the seal's tick."""
    compact: Literal["none", "flac", "opus"] = "none"
    """What becomes of a segment once it is sealed: "none" (default) keeps it as it was captured, "flac" makes it about
    half as large without losing a sample, "opus" a tenth of it, and is lossy: what was said stays, an expert's ear for
    the original does not. Codecs "sln" and "sln16" only; needs the extra `studio`."""
    suite: Literal["age1", "aes256gcm"] = "age1"
    """Encryption: "age1" (default) is age v1, ChaCha20-Poly1305, and opens with the age tool. "aes256gcm" is AES-256-GCM
    in C2SP chunked-encryption under HPKE keys, for who must have AES; a daemon that restarts begins a new segment."""
    recipients: tuple[str, ...] = ()
    """Public keys ("age1…") that can open the recordings; one of them is the recovery key. At least two, unless the
    check "no-recovery-recipient" is waived."""
    epochs: Literal["", "monthly"] = ""
    """Default "": the same recipients all the time. "monthly": a recording is sealed to the keys of the month it begins in,
    and to `recipients`, which may then be empty. Destroying a month's identities ends that month for good, unless one of
    `recipients` opens it too."""
    epoch_keys: Choices = Choices()
    """Month to its public keys, { "2026-11" = "age1… age1…" }, parted by spaces. A present month without one is an error, a
    coming one an alarm 14 days before it begins. Default: none."""
    retention: Retention = Retention()
    """How long audio, statistics and evidence are kept, each by itself."""
    central: CentralSharing = CentralSharing()
    """What leaves for the central store."""

    @property
    def prompt_id(self) -> str:
        """The prompt this policy begins with; "none" where it plays none, "" in mode "never"."""
        return (self.prompt or PROMPT_OF_MODE[self.mode]) if self.mode != "never" else ""

    @property
    def speaks(self) -> bool:
        """Whether anything is played to the caller at the beginning."""
        return self.prompt_id not in ("", "none")

    @property
    def every_purpose(self) -> tuple[str, ...]:
        """All purposes a call under this policy can be granted, each once, in order."""
        return tuple(dict.fromkeys((*self.purposes, *(p for q in self.further for p in q.purposes))))

    @property
    def document(self) -> str:
        """The canonical JSON (RFC 8785) of everything that decides, defaults written out, lengths of time in ms."""
        return _document(self)

    @property
    def version(self) -> str:
        """SHA-256 of `document`, hex: what evidence and manifests name."""
        return hashlib.sha256(self.document.encode()).hexdigest()


def from_document(document: str) -> Policy:
    """The policy whose `document` this is, as the journal keeps it. Keys it does not have take their defaults.

    Raises ValueError for a text that is no policy of this version.
    """
    try:
        return msgspec.convert(msgspec.json.decode(document), Policy, dec_hook=_value)
    except (msgspec.MsgspecError, KeyError, TypeError) as e:
        raise ValueError(f"not a policy's document: {e}") from e


@lru_cache(maxsize=256)
def _document(policy: Policy) -> str:
    plain = msgspec.to_builtins(policy, enc_hook=_plain)
    return rfc8785.dumps(plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, Seconds):
        return {"ms": value.ms}
    if isinstance(value, Period | Day):
        return str(value)
    if isinstance(value, Choices):
        return dict(value)
    if isinstance(value, Bounds):
        return value.plain
    raise TypeError(f"a policy has no field of type {type(value).__name__}")


def _value(wanted: type, value: Any) -> object:
    if wanted is Seconds:
        return Seconds(value["ms"] / 1000)
    if wanted in (Period, Day, Choices, Bounds):
        return wanted.parse(value)
    raise TypeError(f"a policy has no field of type {wanted.__name__}")


def seal_tick(policy: Policy) -> float:
    """Seconds between two seals under this policy; see `tick_seconds`."""
    capture = policy.capture
    return tick_seconds(float(capture.seal_every), capture.byte_rate, 2 if capture.two_files else 1)


def tick_seconds(seal_every: float, byte_rate: int, files: int) -> float:
    """Seconds between two seals: the smallest of the policy's `seal_every` (0: not known), the time of 128 KiB, less by
    32 KiB for a second file, and 9 s less the time of one chunk. Then under 256 KiB of a call are in the clear and no byte
    is older than 10 s, in every format."""
    room = (TICK_BYTES - (files - 1) * BUFFER_BYTES) / byte_rate
    return min(seal_every or room, room, OLDEST_SECONDS - CHUNK_BYTES / byte_rate)


def required_sayings(policy: Policy, mode: str = "") -> tuple[str, ...]:
    """What the policy's prompt must say for the answer to be worth anything, compared with the manifest's `says`: that
    it is recorded, each purpose, then by mode the key that means yes or the key that objects, and that one may withdraw,
    or that the law asks for it. `mode` takes the place of the policy's own (the `ask` of "prior")."""
    mode = mode or policy.mode
    if mode == "never" or (mode == "obligation" and not policy.speaks):
        return ()
    said = ["recording", *(f"purpose:{p}" for p in policy.purposes)]
    if mode == "obligation":
        said.append("legal")
    elif mode in ("opt_in", "manual"):
        said += ["withdrawal", f"key:{policy.yes_key}"]
    else:
        said += [f"objection:{policy.objection_key}", "withdrawal"]
    said += ["hold"] * (policy.hold == "record") + ["wait"] * (policy.wait == "record")
    return tuple(said)


__all__ = [
    "BASES_OF_MODE", "CHUNK_BYTES", "OLDEST_SECONDS", "PROMPT_OF_MODE", "TICK_BYTES", "Basis", "Bounds", "Capture",
    "CentralSharing", "Choices", "Match", "Mode", "Override", "Policy", "Question", "Retention", "choose_language",
    "did_digits", "from_document", "required_sayings", "seal_tick", "select", "tick_seconds",
]  # fmt: skip
