"""`[central.media]`: where payloads are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from central.errors import CentralError
from formats.credentials import credential

STORES: Final = ("none", "folder", "s3")
#: Bucket names as S3 has them (docs.aws.amazon.com, "Bucket naming rules"), without dots: they break TLS names.
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"([A-Za-z0-9_-]+/)*", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """store: "none" takes no payload, "folder", "s3". folder: where payloads lie, 0700. incoming: where uploads that are not
    whole lie, 0700, on this host; several processes of one central share it. half_days: an upload that stood still for so
    many days is removed, and a payload that no row names, too. keep_free: MiB that stay free beside uploads and a folder; what
    would leave less is refused. Default 1 GiB: central's database may share the disk.

    endpoint: "https://host[:port]" of the S3 service, addressed path-style; bucket, region, prefix ("a/b/" or ""). access_key,
    secret_key: files with one line each. ca: PEM of the one authority to trust for it, None for the system's.
    versioned: the operator declares that the bucket keeps versions or locks objects; undeclared, such a bucket is refused.
    """

    store: str = "none"
    folder: Path = Path("media")
    incoming: Path = Path("media.incoming")
    half_days: int = 7
    keep_free: int = 1024
    endpoint: str = ""
    bucket: str = ""
    region: str = "us-east-1"
    prefix: str = ""
    access_key: Path = Path("s3.access")
    secret_key: Path = Path("s3.secret")
    ca: Path | None = None
    versioned: bool = False


NO_MEDIA: Final = MediaConfig()
_DEFAULTS: Final[Mapping[str, Any]] = {
    "store": "none",
    "folder": "media",
    "incoming": "media.incoming",
    "half_days": 7,
    "keep_free": 1024,
    "endpoint": "",
    "bucket": "",
    "region": "us-east-1",
    "prefix": "",
    "access_key": "s3.access",
    "secret_key": "s3.secret",
    "ca": "",
    "versioned": False,
}


def from_table(table: Mapping[str, Any], data: Path, where: str) -> MediaConfig:
    """The table into a value; relative paths are relative to `data`. Raises CentralError config.*."""
    for key, value in table.items():
        if key not in _DEFAULTS:
            hint = ", ".join(_DEFAULTS)
            raise CentralError("config.unknown_key", f"unknown key {key!r} in [central.media]", where=where, hint=hint)
        kind = type(_DEFAULTS[key])
        if type(value) is not kind:
            raise CentralError("config.type", f"media.{key} must be of type {kind.__name__}", where=where)
    full = {**_DEFAULTS, **table}
    if full["store"] not in STORES:
        raise CentralError("config.media", f"store must be one of {', '.join(STORES)}", where=where)
    if not 1 <= full["half_days"] <= 365:
        raise CentralError("config.media", "half_days must be 1 to 365", where=where)
    if not 0 <= full["keep_free"] <= 1 << 30:
        raise CentralError("config.media", "keep_free is a number of MiB, 0 or more", where=where)
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
        access_key=_secret(data, full["access_key"], where),
        secret_key=_secret(data, full["secret_key"], where),
        ca=data / full["ca"] if full["ca"] else None,
        versioned=full["versioned"],
    )


def _check_s3(full: Mapping[str, Any], where: str) -> None:
    for name, pattern in (("bucket", _BUCKET), ("prefix", _PREFIX), ("region", _REGION)):
        if not pattern.fullmatch(full[name]):
            raise CentralError(
                "config.media", f"{name} {full[name]!r} is none", where=where, hint="see docs/ops/media.md"
            )


def _secret(data: Path, text: str, where: str) -> Path:
    try:
        return credential(text, os.environ) or data / text
    except ValueError as error:
        raise CentralError("config.credential", f"media: {error}", where=where) from error
