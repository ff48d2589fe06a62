"""The roles a signing key can have."""

from __future__ import annotations

from typing import Literal

#: `edge` signs manifests, receipts, batches and checkpoints; `store` orders and deliveries at central; `witness`
#: cosigns checkpoints; `dpo` and `auditor` are people.
Role = Literal["edge", "store", "witness", "dpo", "auditor"]
