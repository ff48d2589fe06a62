"""Roles of bearer tokens. What each may do is said by the doors (`central/doors.py`); here are only the words."""

from __future__ import annotations

from typing import Final

#: Everything; for those who own the installation.
ADMIN: Final = "admin"
#: Edges, enrolment and alarms; nothing about callers.
OPS: Final = "ops"
#: Data subjects' requests, orders (beside the signatures that those demand), incidents, everything about callers.
DPO: Final = "dpo"
#: Reads what was done: logs, orders, receipts, certificates, cases, incidents. Changes nothing.
AUDITOR: Final = "auditor"
#: Reads calls and recordings; may open a case.
SUPERVISOR: Final = "supervisor"

ROLES: Final = (ADMIN, OPS, DPO, AUDITOR, SUPERVISOR)

#: Not roles of tokens: a door without authority, and one for edges, which sign their requests.
ANYONE: Final = "anyone"
EDGE: Final = "edge"
