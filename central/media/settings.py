"""`[central.media]`: where payloads are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from central.errors import CentralError
from central.written import defaults
from formats.credentials import credential

STORES: Final = ("none", "folder", "s3")
#: Bucket names as S3 has them (docs.aws.amazon.com, "Bucket naming rules"), without dots: they break TLS names.
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"([A-Za-z0-9_-]+/)*", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """`[central.media]`: where sealed audio is kept that edges copy here. Relative names are relative to `data`."""

    store: str = "none"
    """Where: "none" takes no payload, "folder" keeps them in a folder, "s3" in a bucket of an S3-compatible service."""

    folder: Path = Path("media")
    """Folder of the payloads, made with mode 0700; for "folder"."""

    incoming: Path = Path("media.incoming")
    """Folder (0700) of uploads that are not whole, on this host; several processes of one central share it."""

    half_days: int = 7
    """After how many days an upload that stood still is removed, and a payload that no row names, too; 1 to 365."""

    keep_free: int = 1024
    """MiB that stay free beside uploads and a folder; what would leave less is refused. Central's database may share the disk."""

    endpoint: str = ""
    """Address, "https://host[:port]" of the S3 service, addressed path-style; "http://" on loopback only. Needed for "s3"."""

    bucket: str = ""
    """Name of the bucket, without dots: they break TLS names. Needed for "s3"."""

    region: str = "us-east-1"
    """Region that requests to the S3 service are signed for; small letters, digits and "-"."""

    prefix: str = ""
    """What keys in the bucket begin with, "a/b/", so that several fleets can share a bucket."""

    access_key: Path = Path("s3.access")
    """File (0600) with the access key's id in one line. Or "credential:NAME"."""

    secret_key: Path = Path("s3.secret")
    """File (0600) with the secret access key in one line. Or "credential:NAME"."""

    ca: Path | None = None
    """PEM of the one authority to trust for `endpoint`. Default: the system's authorities."""

    versioned: bool = False
    """Declares that the bucket keeps versions or locks objects; undeclared, such a bucket is refused."""


NO_MEDIA: Final = MediaConfig()
_DEFAULTS: Final = defaults(MediaConfig)


def from_table(table: Mapping[str, Any], data: Path, where: str) -> MediaConfig:
    """The table into a value; relative paths are relative to `data`. Raises CentralError config.*."""
    for key, value in table.items():
        if key not in _DEFAULTS:
            hint = ", ".join(_DEFAULTS)
            raise CentralError("config.unknown_key", f"unknown key {key!r}", where=f"{where}.{key}", hint=hint)
        kind = type(_DEFAULTS[key])
        if type(value) is not kind:
            raise CentralError("config.type", f"media.{key} must be of type {kind.__name__}", where=f"{where}.{key}")
    full = {**_DEFAULTS, **table}
    if full["store"] not in STORES:
        raise CentralError("config.media", f"store must be one of {', '.join(STORES)}", where=f"{where}.store")
    if not 1 <= full["half_days"] <= 365:
        raise CentralError("config.media", "half_days must be 1 to 365", where=f"{where}.half_days")
    if not 0 <= full["keep_free"] <= 1 << 30:
        raise CentralError("config.media", "keep_free is a number of MiB, 0 or more", where=f"{where}.keep_free")
    if full["store"] == "s3":
        _check_s3(full, where)
    return MediaConfig(
        store=full["store"],
        folder=data / full["folder"],
        incoming=data / full["incoming"],
        half_days=full["half_days"],
        keep_free=full["keep_free"],
        endpoint=full["endpoint"].rstrip("/"),
        bucket=full["bucket"],
        region=full["region"],
        prefix=full["prefix"],
        access_key=_secret(data, full["access_key"], f"{where}.access_key"),
        secret_key=_secret(data, full["secret_key"], f"{where}.secret_key"),
        ca=data / full["ca"] if full["ca"] else None,
        versioned=full["versioned"],
    )


def _check_s3(full: Mapping[str, Any], where: str) -> None:
    for name, pattern in (("bucket", _BUCKET), ("prefix", _PREFIX), ("region", _REGION)):
        if not pattern.fullmatch(full[name]):
            raise CentralError(
                "config.media", f"{name} {full[name]!r} is none", where=f"{where}.{name}", hint="see docs/ops/media.md"
            )


def _secret(data: Path, text: str, where: str) -> Path:
    try:
        return credential(text, os.environ) or data / text
    except ValueError as error:
        raise CentralError("config.credential", str(error), where=where) from error
