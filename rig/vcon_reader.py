"""An independent reader of vCons: the `vcon` package, which shares no code with ours.

Its releases that know vCon 0.4.0 need a newer Python than the project runs on. So a Python of Debian's next release is
unpacked beside the host's (never installed), started through its own loader, and given the package and what it imports
from `locks/vcon-reader.txt`, without dependencies, in a folder of their own. Both are fetched once.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import CallwardenError
from rig import debs
from rig.places import PROJECT, cache_folder

PYTHON = "python3.14"
PACKAGES = (f"{PYTHON}-minimal", f"lib{PYTHON}-stdlib")
LOCK = PROJECT / "locks" / "vcon-reader.txt"
#: What the other Python runs: vCons as a JSON list on stdin, what it thinks of each as a JSON list on stdout.
_SCRIPT = """
import json, logging, sys, warnings
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
from vcon import Vcon
answers = []
for document in json.load(sys.stdin):
    read = Vcon.build_from_json(json.dumps(document))
    valid, errors = read.is_valid()
    purposes = sorted({g["purpose"] for a in read.attachments if a["purpose"] == "lawful_basis"
                       for g in a["body"]["purpose_grants"]})
    answers.append({
        "valid": valid, "errors": errors, "extensions": read.validate_extensions(), "uuid": read.uuid,
        "parties": len(read.parties), "dialogs": [d["type"] for d in read.dialog],
        "granted": {str(n): [p for p in purposes if read.check_lawful_basis_permission(p, n)]
                    for n in range(len(read.parties))},
    })
json.dump(answers, sys.stdout)
"""


@dataclass(frozen=True)
class VconReader:
    """command: the other Python with its loader; environment: where it finds its library and the package."""

    command: tuple[str, ...]
    environment: Mapping[str, str]

    def read(self, documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """For each vCon: valid errors extensions uuid parties(number) dialogs(types) granted(party -> purposes)."""
        done = subprocess.run(
            [*self.command, "-S", "-s", "-c", _SCRIPT],
            input=json.dumps(list(documents)),
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise CallwardenError("environment.vcon_reader", f"the vcon package failed: {done.stderr.strip()[-500:]}")
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers


@functools.cache
def vcon_reader() -> VconReader:
    """Fetched on first use. Raises CallwardenError environment.* where it cannot be had."""
    root = debs.unpacked(packages=PACKAGES)
    loader = next(
        iter(sorted(root.glob("usr/lib/*/ld-linux*.so.*")) + sorted(root.glob("usr/lib*/ld-linux*.so.*"))), None
    )
    if loader is None:
        raise CallwardenError("environment.cache_broken", f"{root} lacks its loader", where=str(root))
    libraries = ":".join(str(p) for p in sorted(root.glob("usr/lib/*-linux-gnu*")))
    command = (str(loader), "--library-path", libraries, str(root / "usr/bin" / PYTHON))
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONPATH": str(_wheels()), "PATH": os.environ.get("PATH", "")}
    return VconReader(command, environment)


def _wheels() -> Path:
    """The locked wheels unpacked for that Python; renamed into place only when whole."""
    home = cache_folder() / "vcon-reader"
    home.mkdir(exist_ok=True)
    final = home / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    if final.is_dir():
        return final
    part = home / f"part-{os.getpid()}"
    version = PYTHON.removeprefix("python")
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "-q", "--target", str(part), "--no-deps", "--require-hashes",
            "--python-version", version, "--only-binary=:all:", "--ignore-requires-python", "-r", str(LOCK),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(part, ignore_errors=True)
        why = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()[-200:]]
        raise CallwardenError(
            "environment.vcon_reader",
            f"the vcon package cannot be fetched: {why[0]}",
            hint="the package index must be reachable, for this one test",
            retryable=True,
            where=str(LOCK),
        )
    # The package imports a module `logger` that it needs only where it works on video; it has no wheel.
    (part / "logger.py").write_text("")
    try:
        part.rename(final)
    except OSError:  # another process was quicker
        shutil.rmtree(part, ignore_errors=True)
    return final
