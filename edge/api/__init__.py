"""The local door: HTTP on a Unix socket. `desk` answers, `server` carries."""
