"""Backups: a folder of files and a signed list of them (docs/spec/backup.md)."""
