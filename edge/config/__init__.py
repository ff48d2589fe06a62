"""The edge's configuration: `load` reads it, `check` looks at what it names, `schema` says what it can hold."""

from edge.config.check import Finding, check
from edge.config.load import load, socket_of
from edge.config.schema import (
    WAIVABLE,
    Address,
    AgentSection,
    AsteriskSection,
    CentralSection,
    EdgeConfig,
    EdgeSection,
    KeysSection,
    NoticesSection,
    TelephonySection,
)

__all__ = [
    "WAIVABLE",
    "Address",
    "AgentSection",
    "AsteriskSection",
    "CentralSection",
    "EdgeConfig",
    "EdgeSection",
    "Finding",
    "KeysSection",
    "NoticesSection",
    "TelephonySection",
    "check",
    "load",
    "socket_of",
]
