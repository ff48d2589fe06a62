"""What a queue, a number or a context may do: the policy, its version, and which one a call is under. Pure.

A policy is written by the operator as `[policy.NAME]` in TOML; `edge.config` reads it into these values and refuses
what does not fit together (`problems`). Every field has a default except `mode`; docs/configuration.md is made from the
docstrings and held to them by a test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal, get_args

import msgspec
import rfc8785

from edge.consent.units import Period, Seconds

Mode = Literal["opt_in", "opt_out", "notice", "prior", "obligation", "manual", "never"]
Basis = Literal["", "consent", "contract", "legitimate_interests", "public_task", "legal_obligation", "vital_interests"]

#: What this version can do of what the words allow. A policy that asks for more is refused at load, by name.
SUPPORTED: Final[Mapping[str, frozenset[str]]] = {
    "mode": frozenset({"opt_in", "never"}),
    "on_failure": frozenset({"unrecorded"}),
    "suite": frozenset({"age1"}),
    "capture.rate": frozenset({"8000"}),
    "central.media": frozenset({"never"}),
}

#: Which bases a mode can stand on (GDPR Art. 6(1); consent.md of the design). `prior` refers to a consent on file.
BASES_OF_MODE: Final[Mapping[str, frozenset[str]]] = {
    "opt_in": frozenset({"consent"}),
    "prior": frozenset({"consent"}),
    "manual": frozenset({"consent", "contract", "legitimate_interests", "public_task"}),
    "opt_out": frozenset({"contract", "legitimate_interests", "public_task"}),
    "notice": frozenset({"contract", "legitimate_interests", "public_task"}),
    "obligation": frozenset({"legal_obligation", "vital_interests"}),
    "never": frozenset({"", *get_args(Basis)}),
}

#: Plaintext of one sealed chunk (age v1's STREAM chunk), bytes.
CHUNK_BYTES: Final = 64 * 1024
#: What may gather in the spool between two seals, bytes; with one unfinished chunk and Asterisk's 32 KiB stdio buffer
#: less than 256 KiB is resident in every format.
TICK_BYTES: Final = 128 * 1024
#: No byte in the spool gets older than this, seconds (10 s promised, 1 s kept for the work itself).
OLDEST_SECONDS: Final = 9.0


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls a policy is for when the dialplan names none."""

    did: tuple[str, ...] = ()
    """Numbers that were dialled, compared by their digits ("+420…" and "00420…" are one). Default: none."""
    queue: tuple[str, ...] = ()
    """Names of queues, exactly. Default: none."""
    context: tuple[str, ...] = ()
    """Names of dialplan contexts, exactly. Default: none."""


class Capture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the audio is taken: signed 16-bit little-endian PCM without a header."""

    codec: Literal["sln"] = "sln"
    """Only "sln" in this version: headerless, so bytes in the spool are final when written."""
    rate: Literal[8000, 16000] = 8000
    """Samples per second. Only 8000 in this version (default): what the telephone network carries."""
    channels: Literal[1, 2] = 2
    """2 keeps each side in a channel of its own (default), 1 mixes them."""
    seal_every: Seconds = Seconds(4)
    """Longest time between two seals, 0.5 s to 8 s; see `seal_tick`. Default "4s": one fsync per call and 4 s."""

    @property
    def byte_rate(self) -> int:
        """Bytes per second of capture."""
        return self.rate * 2 * self.channels

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return 2 * self.channels


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long things are kept, counted from the end of the call. ISO 8601 periods."""

    recordings: Period = Period("P6M")
    """Audio. Default "P6M": long enough for a complaint about a call, short enough to explain."""
    minimum: Period = Period("P0D")
    """No command erases audio younger than this. Default "P0D": an order takes effect at once."""
    statistics: Period = Period("P24M")
    """The call's row without numbers. Default "P24M": two years of comparison."""
    evidence: Period = Period("P36M")
    """The minimal proof of the answer, after the audio is gone. Default "P36M": the usual limitation of claims."""
    refusals: Period = Period("P30D")
    """Evidence of a no. Default "P30D": a no needs no long memory."""


class CentralSharing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a call leaves for the central store."""

    number: Literal["clear", "hashed", "none"] = "hashed"
    """The caller's number: as heard, as keyed hash, or not at all. Default "hashed": searchable, not readable.
    This version sends none, whatever is written here: the safe side of the same promise."""
    media: Literal["never", "replicate"] = "never"
    """Whether sealed audio is copied to central. Only "never" in this version."""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[policy.NAME]`. Frozen: a call keeps the one it began under."""

    name: str
    """The NAME in `[policy.NAME]`; what the dialplan may pass. Letters, digits, "-" and "_"."""
    mode: Mode
    """How the caller is asked. This version does "opt_in" (recorded only after the yes key) and "never"."""
    match: Match = Match()
    """Which calls this is for when the dialplan names no policy. Default: none, so only by name."""
    basis: Basis = "consent"
    """The legal basis (GDPR Art. 6(1)); must fit the mode. Default "consent", the only one "opt_in" can stand on."""
    basis_reference: str = ""
    """Where the basis is written down: a notice, a dated assessment, a statute. Goes into every piece of evidence."""
    purposes: tuple[str, ...] = ()
    """What the recording is for; the prompt must say each. At least one unless the mode is "never"."""
    prompt: str = "ask"
    """Id of the prompt that asks. Default "ask"."""
    languages: tuple[str, ...] = ("en",)
    """Languages the prompt must exist in; the first is spoken when the channel's language is none of them."""
    yes_key: str = "1"
    """The one key that means yes: 0-9, * or #. Default "1", the key the shipped prompts name."""
    answer_window: Seconds = Seconds(5)
    """How long to wait for a key after the prompt, 1 s to 30 s. Default "5s"."""
    retries: int = 1
    """How often silence or a wrong key is asked again, 0 to 3. Default 1."""
    barge_in: bool = True
    """Whether a key ends the prompt once its `answerable_from_ms` is reached. Default true: frequent callers hurry."""
    on_silence: Literal["refuse"] = "refuse"
    """What silence means in the end. Only "refuse": silence is never a yes."""
    on_failure: Literal["unrecorded", "announce", "refuse_call"] = "unrecorded"
    """What happens when recording is not possible. Default "unrecorded": the call goes on, nothing is kept."""
    on_withdraw: Literal["stop", "stop_and_erase"] = "stop_and_erase"
    """What a withdrawn yes does to what was recorded before it. Default "stop_and_erase"."""
    remember: Period = Period("P0D")
    """How long an answer may shorten the next question, at most 30 days. Default "P0D". This version asks every time,
    whatever is written here: the safe side of the same promise."""
    capture: Capture = Capture()
    """Format of the audio and the seal's tick."""
    suite: Literal["age1", "aes256gcm"] = "age1"
    """Encryption: "age1" is age v1 (X25519, ChaCha20-Poly1305). Only "age1" in this version."""
    recipients: tuple[str, ...] = ()
    """Public keys ("age1…") that can open the recordings; one of them is the recovery key. At least two, unless the
    check "no-recovery-recipient" is waived."""
    retention: Retention = Retention()
    """How long audio, statistics and evidence are kept, each by itself."""
    central: CentralSharing = CentralSharing()
    """What leaves for the central store."""

    @property
    def document(self) -> str:
        """The canonical JSON (RFC 8785) of everything that decides, defaults written out, lengths of time in ms."""
        return _document(self)

    @property
    def version(self) -> str:
        """SHA-256 of `document`, hex: what evidence and manifests name."""
        return hashlib.sha256(self.document.encode()).hexdigest()


@lru_cache(maxsize=256)
def _document(policy: Policy) -> str:
    plain = msgspec.to_builtins(policy, enc_hook=_plain)
    return rfc8785.dumps(plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, Seconds):
        return {"ms": value.ms}
    if isinstance(value, Period):
        return str(value)
    raise TypeError(f"a policy has no field of type {type(value).__name__}")


def seal_tick(policy: Policy) -> float:
    """Seconds between two seals: the smallest of the policy's `seal_every`, the time of 128 KiB, and 9 s less the time
    of one chunk. Then under 256 KiB of a call are in the clear and no byte is older than 10 s, in every format."""
    rate = policy.capture.byte_rate
    return min(float(policy.capture.seal_every), TICK_BYTES / rate, OLDEST_SECONDS - CHUNK_BYTES / rate)


def select(
    policies: Mapping[str, Policy], name: str = "", did: str = "", queue: str = "", context: str = ""
) -> Policy | None:
    """The policy a call is under, or None.

    A name given by the dialplan decides alone: one that is not configured gives None, never another policy. Without a
    name the number that was dialled is looked up, then the queue, then the context; the first that any policy lists
    wins (a value listed twice is refused at load, so there is one answer).
    """
    if name:
        return policies.get(name)
    digits = did_digits(did)
    for wanted, field in ((digits, "did"), (queue, "queue"), (context, "context")):
        if not wanted:
            continue
        for policy in policies.values():
            listed: Iterable[str] = getattr(policy.match, field)
            if wanted in (map(did_digits, listed) if field == "did" else listed):
                return policy
    return None


def did_digits(number: str) -> str:
    """The digits that compare: "+420 555 100 200", "00420555100200" and "420555100200" are the same."""
    digits = "".join(c for c in number if c.isdigit() and c.isascii())
    return digits[2:] if digits.startswith("00") and not number.startswith("+") else digits


def choose_language(policy: Policy, channel_language: str) -> str:
    """The policy's language for a channel's ("cs", "cs_CZ", "en_US_f_Allison"); its first one when none fits."""
    wanted = channel_language.replace("-", "_").lower()
    by_name = {language.replace("-", "_").lower(): language for language in policy.languages}
    while wanted:
        if wanted in by_name:
            return by_name[wanted]
        wanted = wanted.rpartition("_")[0]
    return policy.languages[0]


def required_sayings(policy: Policy) -> tuple[str, ...]:
    """What the asking prompt must say for the answer to be worth anything: that it is recorded, each purpose, that one
    may withdraw, and which key is yes. Compared with the manifest's `says`."""
    if policy.mode == "never":
        return ()
    return ("recording", *(f"purpose:{p}" for p in policy.purposes), "withdrawal", f"key:{policy.yes_key}")
