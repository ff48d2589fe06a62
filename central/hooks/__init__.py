"""Outgoing webhooks and mail: what happened is written beside what it tells, and sent by a duty (docs/webhooks.md)."""
