"""What the edge's configuration can say: one frozen value per table, a docstring per field (unit, default, reason).

Files: /etc/callwarden/edge.toml and conf.d/*.toml beside it. Relative paths are relative to the file that names them.
Secrets are files of mode 0600 that are named here, never values.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from edge.consent.jurisdiction import STRICTEST, Table
from edge.consent.policy import Choices, Policy
from edge.consent.retention import House
from edge.consent.units import Day, Period, Seconds

#: Start-up checks that `waive` may name, each with what is given up.
WAIVABLE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unencrypted-swap": "memory with speech in it may be written to a disk in the clear",
        "cow-filesystem": "an overwritten key may survive in an old copy of its block",
        "no-recovery-recipient": "a lost operator key loses the recordings",
        "erasure-window": "an order to erase many calls can be cancelled for less than a day",
        "spool-not-mount": "other files share the spool's memory, and its size is not bounded",
    }
)


def is_loopback(host: str) -> bool:
    """True for "localhost" and loopback IP addresses; a name that only begins like one ("127.example") is not."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Address(str):
    """ "host:port" of a TCP service on this machine's loopback."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Address:
        """Read one; raises ValueError. Only loopback: AGI's port is a shell, and AMI speaks in the clear."""
        if not isinstance(text, str):
            raise ValueError(f'expected an address in quotes, like "127.0.0.1:5038", not {text!r}')  # noqa: TRY004
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
            raise ValueError(f'expected "host:port", not {text!r}')
        if not is_loopback(host.strip("[]")):
            raise ValueError(f"{text!r} is not on this machine's loopback (127.0.0.1, ::1, localhost)")
        return cls(text)

    @property
    def host(self) -> str:
        """The part before the port, without brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """TCP port."""
        return int(self.rpartition(":")[2])


class EdgeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[edge]`: who this edge is and where its things lie."""

    id: str
    """Name of this edge at central and in every manifest, 1 to 63 of a-z, 0-9, "-". No default: it must be unique."""
    spool: Path = Path("/run/callwarden/spool")
    """Folder Asterisk captures into. Must be a tmpfs mount of its own: speech in the clear never touches a disk."""
    resume: Path = Path("/run/callwarden/resume")
    """Second tmpfs folder, the daemon's alone (0700): keys of open segments, so that a restart goes on with them."""
    vault: Path = Path("/var/lib/callwarden/vault")
    """Folder of sealed recordings. On a disk; ciphertext only."""
    journal: Path = Path("/var/lib/callwarden/journal.db")
    """The SQLite file with every fact. On a local disk: SQLite's locks are not safe on network file systems."""
    state: Path = Path("/var/lib/callwarden/state")
    """Folder (0700) with `shred.keys`, the slots that are overwritten to erase. Not on a copy-on-write file system."""
    socket: Path = Path("/run/callwarden/edge.sock")
    """Unix socket of the local API, 0660; who may open it may ask everything, so it is guarded by its group."""
    prompts: Path = Path("/usr/share/callwarden/prompts")
    """Folder with one folder of prompts per language. Studio recordings go into a copy of your own, named here."""
    prompt_cache: Path = Path("/var/lib/callwarden-prompts")
    """Folder the daemon owns and Asterisk can read; prompts are copied there by hash, so the hash names what was heard.
    Beside, not below, the private state folder, because Asterisk must be able to enter it."""
    signing_key_file: Path = Path("/etc/callwarden/edge.key")
    """File (0600) with this edge's Ed25519 key as a private JWK, as `callwarden init` writes it: signs
    manifests, receipts and checkpoints."""
    trust_file: Path = Path("/etc/callwarden/trust.json")
    """Pinned public keys of people and of central (JSON): who may order what."""
    jurisdictions: Path | None = None
    """The table that says how weak a mode may be in which country. Default: the shipped one,
    edge/consent/jurisdictions.toml, which says how to make your own."""
    waive: tuple[str, ...] = ()
    """Names of start-up checks to do without: "unencrypted-swap", "cow-filesystem", "no-recovery-recipient",
    "spool-not-mount", "erasure-window". Default: none. Each waiver is said at every start."""


class AsteriskSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[asterisk]`: the way to and from the PBX on the same host."""

    ami: Address = Address("127.0.0.1:5038")
    """Asterisk's manager interface. Loopback only: it speaks in the clear."""
    ami_user: str = "callwarden"
    """The account in manager.conf (classes: dialplan/manager.callwarden.conf.sample). Default "callwarden"."""
    ami_secret_file: Path = Path("/etc/callwarden/ami.secret")
    """File (0600) with that account's secret on its first line."""
    agi_listen: Address = Address("127.0.0.1:4573")
    """Where the guard listens for FastAGI. Loopback only: who holds this port can run applications in Asterisk."""
    agi_socket: Path = Path("/run/callwarden/agi.sock")
    """The daemon's own Unix socket, to which the guard forwards what it accepted."""
    agi_token_file: Path = Path("/etc/callwarden/agi.token")
    """File (0600) with the token that the daemon puts into Asterisk's globals by AMI and asks each AGI peer for: nobody else
    is served."""
    group: str = "asterisk"
    """Group that Asterisk runs under, by name or number: spool files are 0660 for it. Default "asterisk"."""
    guard_deadline: Seconds = Seconds(2)
    """How long the daemon may owe the next command before the guard lets the call go on, 0.5 s to 10 s. Default "2s":
    the longest silence a caller takes for a connection being made."""
    dead_man: Seconds = Seconds(60)
    """Longest time a call may spend with Callwarden before the dialplan takes it back, 10 s to 10 m. Default "60s"."""


class CentralSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[central]`: the store this edge reports to. Without the table the edge works alone."""

    url: str = ""
    """Base address, "https://host[:port]"; "http://" only on loopback."""
    ca_file: Path | None = None
    """PEM of the one authority to trust for `url`. Default: the system's authorities."""
    enabled: bool = True
    """False keeps the outbox filling without sending. Default true."""
    media_rate: int = 512
    """Most KiB a second that sealed audio goes to central with, 0 for no bound. Default 512: a line that also carries calls."""


class TelephonySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[telephony]`: numbers and lines. Without the table the defaults hold."""

    country: str = "CZ"
    """Country whose national spellings of numbers are heard here and whose emergency numbers are dialled, two capital
    letters. Default "CZ": write your own."""
    emergency: tuple[str, ...] = ()
    """Further numbers that are never prompted, held or refused, as they are dialled: crisis lines, the house's own
    alarm. The country's own, 112 and 911 need not be listed."""
    prefixes: tuple[str, ...] = ("9", "0")
    """Digits that may be dialled before a number to get a line out. Default ["9", "0"]."""
    trunks: tuple[str, ...] = ()
    """Endpoints that lead outside, as channel names begin: "PJSIP/trunk". Who speaks through one is an outside party.
    Default: none."""
    never_numbers: tuple[str, ...] = ()
    """Numbers that are never recorded, whoever calls whom: works council, lawyers, doctors, helplines. In any spelling.
    Default: none."""
    shared_numbers: tuple[str, ...] = ()
    """Numbers that many people call from, such as a company's main line: answers from there are never remembered.
    Service numbers need not be listed. Default: none."""


class AgentSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[agents.NAME]`: why an agent's own voice may be recorded, answered for once instead of in every call."""

    device: str
    """The agent's endpoint as channel names begin: "PJSIP/agent1"."""
    basis: Literal["consent", "contract", "legitimate_interests", "public_task", "legal_obligation"]
    """Legal basis for this agent."""
    reference: str
    """Where it is written down: the contract, the works agreement, the consent form, with its date."""
    until: Day | None = None
    """Last day on which it holds, "2027-06-30". Default: until it is revoked."""
    revoked: bool = False
    """True once the agent has taken it back. Default false."""


class NoticesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[notices]`: the gateway for text messages that policies with `text_notice` send."""

    url: str = ""
    """The gateway's webhook, "https://…"; "http://" only on loopback. Required when a policy sends notices."""
    secret_file: Path | None = None
    """File (0600) with the key the webhook is signed with ("whsec_…", Standard Webhooks). Required with `url`."""
    countries: tuple[str, ...] = ()
    """Countries whose numbers may get a text, two capital letters each. Default: none, so nothing is sent."""
    per_hour: int = 60
    """Most texts in an hour, 1 to 10000. Default 60: a forged caller ID must not buy many."""
    link: str = ""
    """Address of the notice, put into the text. Default: none."""


class ErasureSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[erasure]`: orders to erase all calls of a person or under a policy. Without the table the defaults hold."""

    window: Seconds = Seconds(86400)
    """How long such an order can be cancelled before anything is destroyed, 1 s to 168 h. The calls are restricted
    meanwhile. Default "24h"; less only with `waive = ["erasure-window"]` in `[edge]`, to try things out."""
    late: Period = Period("P7D")
    """How long after that calls are still looked for that began before the order's `as_of`: those that go on, and those
    that are reported or adopted late. Default "P7D"."""
    daily_share: int = 10
    """Percent of this edge's recordings that such orders may take within 24 hours under one DPO's key, 0 to 100. Above
    it the edge demands a second. Default 10."""
    daily_free: int = 20
    """Recordings within 24 hours that need no second key whatever their share, 0 or more. Default 20: on a small edge a
    single caller has a tenth of everything."""


class KeysSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[keys]`: what is known about the public keys that recordings are sealed to. Without the table nothing is."""

    names: Choices = Choices()
    """Public key to whose it is, { "age1…" = "operator 2026" }, as `callwarden key list` shows it. Default: none."""
    recovery: tuple[str, ...] = ()
    """The recovery keys: each policy must name one of them, unless "no-recovery-recipient" is waived. Default: none named;
    then a policy needs two recipients, and the last is presumed to be the recovery key."""
    retired: tuple[str, ...] = ()
    """Public keys that no policy may name any more; `callwarden key retire` adds to them. Default: none."""
    local: str = ""
    """The public key whose identity lies on this host, for local playback. Default "": none, so this host cannot read what
    it has recorded. A policy that names it is shown by `status` and `key list`."""


class EdgeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration as the daemon holds it. A reload makes a new one; nothing changes in place."""

    path: Path
    """The main file, absolute."""
    edge: EdgeSection
    """`[edge]`."""
    asterisk: AsteriskSection
    """`[asterisk]`."""
    central: CentralSection
    """`[central]`; `enabled` is false when the table is absent."""
    policies: Mapping[str, Policy]
    """`[policy.NAME]` by name, read-only."""
    telephony: TelephonySection = TelephonySection()
    """`[telephony]`."""
    agents: Mapping[str, AgentSection] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    """`[agents.NAME]` by name, read-only."""
    notices: NoticesSection = NoticesSection()
    """`[notices]`."""
    adopt: Mapping[str, Any] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    """`[adopt.NAME]` by name (`edge.config.adopting.AdoptSection`), read-only."""
    retention: House = House()
    """`[retention]`."""
    erasure: ErasureSection = ErasureSection()
    """`[erasure]`."""
    keys: KeysSection = KeysSection()
    """`[keys]`."""
    jurisdictions: Table = STRICTEST
    """The table the policies were judged by."""
    places: Mapping[tuple[str | int, ...], str]
    """Key path to "file:line" of everything that was written, read-only."""

    def where(self, *key: str | int) -> str:
        """ "file:line" of a key, or of the nearest table around it, or the main file."""
        for length in range(len(key), 0, -1):
            if place := self.places.get(tuple(key[:length])):
                return place
        return str(self.path)
