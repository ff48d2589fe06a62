"""Subcommands, one file each. Nothing here is imported before its command is called (`callwarden.lazy`)."""
