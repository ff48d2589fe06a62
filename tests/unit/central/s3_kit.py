"""Buckets in the S3 service of conftest.py."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from central.media.settings import MediaConfig


def config_of(service: Any, folder: Path, **more: Any) -> MediaConfig:
    """Of a bucket made for it."""
    client, endpoint = service
    bucket = f"media-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)
    return keyed(folder, MediaConfig("s3", endpoint=endpoint, bucket=bucket, **more))


def keyed(folder: Path, config: MediaConfig) -> MediaConfig:
    for name, text in (("access", "AKIA\n"), ("secret", "secret\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return replace(config, access_key=folder / "access", secret_key=folder / "secret")
