"""The fleet's edges: who they are (certificates, keys, standing) and how they fare (heartbeats, alarms)."""
