"""Incidents: what alarms and people say went wrong, its 72-hour clock, and what is told of it (docs/incidents.md)."""
