"""Private keys and secrets that somebody wrote into central.toml, where only the name of their file belongs. Pure."""

from __future__ import annotations

from typing import Any

from central.errors import CentralError
from formats.credentials import is_secret


def refuse_secrets(value: Any, where: str) -> None:
    """Look through a value of the configuration and everything below it; `where`: its key, "" for the document. Raises CentralError
    config.secret_in_toml, in which nothing of the secret is."""
    if isinstance(value, str) and is_secret(value):
        raise _refused(where)
    if isinstance(value, list):
        for one in value:
            refuse_secrets(one, where)
    if isinstance(value, dict):
        if "kty" in value and not {"d", "k"}.isdisjoint(value):  # a JWK, spelt as a table
            raise _refused(where)
        for key, below in value.items():
            if is_secret(key):
                raise _refused(where)
            refuse_secrets(below, f"{where}.{key}" if where else key)


def _refused(where: str) -> CentralError:
    return CentralError(
        "config.secret_in_toml",
        f"{where or 'the file'} holds a private key or a secret",
        where=where,
        hint='name a file of mode 0600 that holds it, or "credential:NAME"; what stood here is burnt: make a new one',
    )
