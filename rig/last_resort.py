"""Lays the product's last-resort script and its two prompts where Asterisk's own id can run and read them."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path

from rig.places import PROJECT, Identity

PROMPTS = ("refused_call", "unavailable_notice")


def lay(run: Path, identity: Identity) -> dict[str, str]:
    """The globals that name the script and the prompts' folder for an Asterisk in `run`."""
    sounds, scripts = run / "sounds", run / "agi-bin"
    for old in (sounds, scripts / "lib"):
        shutil.rmtree(old, ignore_errors=True)
    for file in PROJECT.glob("prompts/*/*.wav"):
        if file.stem in PROMPTS:
            target = sounds / file.parent.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    shutil.copyfile(PROJECT / "dialplan" / "last-resort.agi", scripts / "last-resort.py")
    for name in ("asterisk", "six"):  # pyst2 and what it needs: the project may lie where Asterisk's id cannot walk
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin)
        target = scripts / "lib"
        target.mkdir(exist_ok=True)
        if source.name == "__init__.py":
            shutil.copytree(source.parent, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target / source.name)
    script = scripts / "last-resort"
    python = shlex.quote(os.path.realpath(sys.executable))
    paths = f"PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={shlex.quote(str(scripts / 'lib'))}"
    script.write_text(f'#!/bin/sh\n{paths} exec {python} {shlex.quote(str(scripts / "last-resort.py"))} "$@"\n')
    for path in (script, scripts / "last-resort.py", *sounds.rglob("*"), *(scripts / "lib").rglob("*")):
        path.chmod(0o755 if path.is_dir() or path == script else 0o644)
        identity.own(path)
    return {"CALLWARDEN_LAST_RESORT": str(script), "CALLWARDEN_SOUNDS": str(sounds)}
