"""What init will make and where, before anything is touched. Pure but for asking which folders exist."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import CallwardenError

ETC = Path("/etc/callwarden")


@dataclass(frozen=True)
class Plan:
    """Everything init was told, with every default worked out. Paths are absolute.

    group: Asterisk's, name or number. owner, central_owner: user the daemon (central) runs as, name or number, "" for
    whoever runs init. recipients: public age keys to encrypt to; empty: init makes an operator and a recovery identity.
    central_listen: "" when there is no central on this host. central_url: of the central this edge reports to, or "".
    """

    folder: Path
    edge_id: str
    var: Path
    run: Path
    spool: Path
    resume: Path
    vault: Path
    state: Path
    prompts: Path
    prompt_cache: Path
    socket: Path
    agi_socket: Path
    keys: Path
    ami: str
    ami_user: str
    agi_listen: str
    group: str
    owner: str
    central_owner: str
    recipients: tuple[str, ...]
    dids: tuple[str, ...]
    languages: tuple[str, ...]
    waive: tuple[str, ...]
    central_listen: str
    central_url: str
    central_plain_http: bool
    fleet: str
    enrol_token: str
    dpo_public: Path | None
    single_host: bool

    @property
    def journal(self) -> Path:
        """In the private folder: it holds callers' numbers."""
        return self.state / "journal.db"

    @property
    def central_folder(self) -> Path:
        """Where central's configuration goes."""
        return self.folder / "central"

    @property
    def central_data(self) -> Path:
        """Where central's database, keys and keeper go."""
        return self.var / "central"


def default_var(folder: Path) -> Path:
    """Where durable data goes: the system's place for a system installation, else below `folder`."""
    return Path("/var/lib/callwarden") if folder == ETC else folder / "var"


def default_run(folder: Path) -> Path:
    """Where sockets, spool and resume keys go; in memory, so outside `folder` unless it is a system installation."""
    if folder == ETC:
        return Path("/run/callwarden")
    mark = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    return Path("/dev/shm") / f"callwarden-{mark}"  # noqa: S108 - a tmpfs is what is wanted; made 0755 by us alone


def default_edge_id(hostname: str) -> str:
    """An edge id made of the host's name."""
    name = re.sub(r"[^a-z0-9-]+", "-", hostname.split(".")[0].lower()).strip("-")
    return name[:63].strip("-") or "edge"


def check_edge_id(text: str) -> str:
    """`text` if it can name an edge. Raises usage.edge_id."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", text):
        raise CallwardenError(
            "usage.edge_id", "not a name for an edge", hint="1 to 63 of a-z, 0-9 and -, like pbx-brno-1", where=text
        )
    return text
