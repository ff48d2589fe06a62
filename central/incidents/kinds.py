"""Which alarm is which incident, how grave, and whether a clock runs. Pure tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

KINDS: Final = (
    "rogue_recording", "audit_fork", "failed_seal", "plaintext_found", "bulk_deletion", "lost_edge", "cloned_edge", "key_lost",
    "other",
)  # fmt: skip
SEVERITIES: Final = ("low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class Cause:
    """What an alarm code means. clock: personal data may have been disclosed, altered, lost or destroyed against the rules
    (GDPR Art. 4(12)), so the 72 hours count until somebody has assessed it."""

    kind: str
    severity: str
    clock: bool


#: By alarm code, with the cause behind a stroke where it has several; a code that is not here makes no incident. An edge that
#: cannot seal says so under the code of what stopped it (`edge.recorder.sealer.stuck`).
CAUSES: Final[Mapping[str, Cause]] = MappingProxyType(
    {
        "watchdog.rogue_monitor": Cause("rogue_recording", "high", clock=True),
        "audit.fork": Cause("audit_fork", "critical", clock=True),
        "audit.rollback": Cause("audit_fork", "critical", clock=True),
        "edge.diverging/audit": Cause("audit_fork", "critical", clock=True),
        "spool.orphan": Cause("plaintext_found", "medium", clock=True),
        "spool.foreign": Cause("plaintext_found", "medium", clock=True),
        "spool.unsealable": Cause("failed_seal", "high", clock=True),
        "spool.lost": Cause("failed_seal", "high", clock=True),
        "spool.punch": Cause("failed_seal", "medium", clock=False),
        "vault.io": Cause("failed_seal", "medium", clock=False),
        "vault.slots_full": Cause("failed_seal", "medium", clock=False),
        "journal.full": Cause("failed_seal", "medium", clock=False),
        "journal.io": Cause("failed_seal", "medium", clock=False),
        "vault.missing": Cause("failed_seal", "high", clock=True),
        "vault.short": Cause("failed_seal", "high", clock=True),
        "vault.differs": Cause("failed_seal", "high", clock=True),
        "vault.damaged": Cause("failed_seal", "high", clock=True),
        "vault.quarantined": Cause("failed_seal", "high", clock=True),
        "vault.planted": Cause("failed_seal", "critical", clock=True),
        "retention.bulk_holds": Cause("bulk_deletion", "medium", clock=False),
        "order.bulk": Cause("bulk_deletion", "high", clock=True),
        "order.many": Cause("bulk_deletion", "high", clock=True),
        "edge.unsealed": Cause("failed_seal", "medium", clock=False),
        "edge.silent": Cause("lost_edge", "medium", clock=False),
        "edge.cloned": Cause("cloned_edge", "critical", clock=True),
        "restore.key_gone": Cause("key_lost", "high", clock=True),
        "vault.missing_keys": Cause("key_lost", "high", clock=True),
    }
)

#: What an incident opened by hand is, until somebody says otherwise: (severity, clock).
BY_HAND: Final[Mapping[str, tuple[str, bool]]] = MappingProxyType(
    {
        "rogue_recording": ("high", True),
        "audit_fork": ("critical", True),
        "failed_seal": ("high", True),
        "plaintext_found": ("high", True),
        "bulk_deletion": ("high", True),
        "lost_edge": ("high", True),
        "cloned_edge": ("critical", True),
        "key_lost": ("high", True),
        "other": ("medium", True),
    }
)


def worse(one: str, other: str) -> str:
    """The graver of two severities."""
    return max(one, other, key=SEVERITIES.index)
