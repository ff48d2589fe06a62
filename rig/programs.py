"""Asterisk, SIPp and age: the host's own where they are new enough, else the unpacked ones with their own loader."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edge.errors import CallwardenError
from rig import debs

OLDEST_ASTERISK = (22, 0)
OLDEST_SIPP = (3, 7)  # older ones cannot stream speech and answer at once on both sides


@dataclass(frozen=True)
class Programs:
    """Command prefixes (to be followed by arguments) and where Asterisk's modules and data lie."""

    asterisk: tuple[str, ...]
    sipp: tuple[str, ...]
    age: tuple[str, ...]
    age_keygen: tuple[str, ...]
    modules: Path
    data: Path
    version: str


@functools.cache
def programs() -> Programs:
    """The programs of this host, fetched on first use. Raises CallwardenError environment.*"""
    return _of_host() or _unpacked(debs.unpacked())


@functools.cache
def old_programs() -> Programs:
    """The same with Asterisk 16, from its own folder; fetched on first use. Raises CallwardenError environment.*"""
    root = debs.unpacked_old()
    loader = next(iter(sorted(root.glob("lib/*/ld-*.so"))), None)
    modules = root / "usr/lib/asterisk/modules"
    if loader is None or not modules.is_dir():
        raise CallwardenError(
            "environment.cache_broken",
            f"{root} lacks Asterisk's modules or its loader",
            hint="delete that folder's parent; the next run fetches it again",
            where=str(root),
        )
    libraries = [loader.parent, root / "usr" / loader.parent.relative_to(root), root / "usr/lib"]
    prefix = (str(loader), "--library-path", ":".join(map(str, libraries)))
    asterisk = (*prefix, str(root / "usr/sbin/asterisk"))
    shown = subprocess.run([*asterisk, "-V"], capture_output=True, text=True, check=True).stdout
    new = programs()
    return Programs(
        asterisk=asterisk,
        sipp=new.sipp,
        age=new.age,
        age_keygen=new.age_keygen,
        modules=modules,
        data=root / "usr/share/asterisk",
        version=shown.split()[1],
    )


def _of_host() -> Programs | None:
    asterisk, sipp, age, keygen = (shutil.which(name) for name in ("asterisk", "sipp", "age", "age-keygen"))
    if not (asterisk and sipp and age and keygen):
        return None
    if _number(asterisk, "-V") < OLDEST_ASTERISK or _number(sipp, "-v") < OLDEST_SIPP:
        return None
    modules = [*Path("/usr/lib").glob("*/asterisk/modules"), Path("/usr/lib/asterisk/modules")]
    data = [Path("/usr/share/asterisk"), Path("/var/lib/asterisk")]
    module_folder = next((m for m in modules if (m / "app_mixmonitor.so").is_file()), None)
    data_folder = next((d for d in data if (d / "documentation").is_dir()), None)
    if module_folder is None or data_folder is None:
        return None
    version = subprocess.run([asterisk, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    return Programs((asterisk,), (sipp,), (age,), (keygen,), module_folder, data_folder, version)


def _number(program: str, flag: str) -> tuple[int, int]:
    shown = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)", shown.stdout + shown.stderr)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _unpacked(root: Path) -> Programs:
    loaders = sorted([*root.glob("usr/lib*/ld-linux*.so.*"), *root.glob("usr/lib/*/ld-linux*.so.*")])
    loader = next(iter(loaders), None)
    modules = next(iter(root.glob("usr/lib/*/asterisk/modules")), None)
    if loader is None or modules is None:
        raise CallwardenError(
            "environment.cache_broken",
            f"{root} lacks Asterisk's modules or its loader",
            hint="delete that folder's parent; the next run fetches it again",
            where=str(root),
        )
    libraries = str(modules.parent.parent)
    prefix = (str(loader), "--library-path", libraries)
    asterisk = (*prefix, str(root / "usr/sbin/asterisk"))
    shown = subprocess.run([*asterisk, "-V"], capture_output=True, text=True, check=True).stdout

    def own(name: str) -> tuple[str, ...]:
        host = shutil.which(name)
        return (host,) if host else (*prefix, str(root / "usr/bin" / name))

    return Programs(
        asterisk=asterisk,
        sipp=(*prefix, str(root / "usr/bin/sipp")),
        age=own("age"),
        age_keygen=own("age-keygen"),
        modules=modules,
        data=root / "usr/share/asterisk",
        version=shown.split()[1],
    )


def main() -> int:
    """Fetch what is missing, before something with a time limit needs it."""
    try:
        print(f"Asterisk {programs().version} is ready", file=sys.stderr)
    except CallwardenError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
