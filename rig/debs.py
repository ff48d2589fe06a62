"""Unpacks Debian packages into the cache, without root and without touching the host.

A private apt state names the mirror that the host's own apt sources name, downloads the packages with everything
they depend on, and `dpkg -x` lays them into one folder, which carries its own loader and libraries. The folder is
renamed into place only when it is whole, so an interrupted run leaves nothing that a later one would trust.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import CallwardenError
from rig.places import cache_folder

SUITE = "forky"  # the Debian release that carries Asterisk 22 LTS; bookworm has no asterisk package
PACKAGES = ("asterisk", "asterisk-core-sounds-en-wav", "sip-tester", "age")
#: The release that carries Asterisk 16, for the tests of the oldest dialplan; fetched when one of them runs.
OLD_SUITE, OLD_PACKAGES = "bullseye", ("asterisk", "asterisk-core-sounds-en-wav")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    """The default reporter of progress."""
    print(f"rig: {line}", file=sys.stderr, flush=True)


def unpacked_old(*, say: Say = say_on_stderr) -> Path:
    """The same for the packages of OLD_SUITE, which keep a folder and a loader of their own."""
    return unpacked(suite=OLD_SUITE, packages=OLD_PACKAGES, say=say)


def unpacked(
    *,
    refresh: bool = False,
    suite: str = SUITE,
    packages: tuple[str, ...] = PACKAGES,
    say: Say = say_on_stderr,
) -> Path:
    """The folder the packages lie unpacked in (`usr/` below it); downloads and unpacks once.

    refresh: ask the mirror again and unpack newer versions beside the old ones. $CALLWARDEN_SNAPSHOT: a mirror's
    address to use in place of the host's own, e.g. one that keeps a day's packages for ever.
    Raises CallwardenError environment.* with what to do.
    """
    home = cache_folder() / "debs"
    home.mkdir(exist_ok=True)
    snapshot = os.environ.get("CALLWARDEN_SNAPSHOT", "")
    wanted = hashlib.sha256("\n".join((suite, snapshot, *packages)).encode()).hexdigest()[:12]
    with _lock(home / "lock"):
        pointer = home / f"current-{wanted}"
        if not refresh and (pointer / "manifest.json").is_file():
            return pointer.resolve() / "root"
        return _fetch(home, pointer, snapshot, suite, packages, say) / "root"


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time fills the cache; the kernel drops the lock if it dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def mirror() -> str:
    """The Debian mirror the host's apt sources name (never one of ours)."""
    shown = _run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(LABEL)", "Created-By: Packages"])
    lines = [line.split() for line in shown.splitlines() if line.strip()]
    main = [parts[0] for parts in lines if parts[-1] == "Debian" or re.search(r"/debian/?$", parts[0])]
    if not main:
        main = _mirrors_in_files()
    if not main:
        raise CallwardenError(
            "environment.no_mirror",
            "the host's apt sources name no Debian mirror",
            hint="run on Debian with its archive in /etc/apt, or set CALLWARDEN_SNAPSHOT to a mirror's address",
        )
    return main[0].rstrip("/")


def _mirrors_in_files() -> list[str]:
    """Mirrors named in source files, for a host whose apt lists were never fetched or were cleaned away."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(f.read_text(errors="replace") for f in files if f.is_file())
    live = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return re.findall(r"(\w+:/\S*/debian)/?(?=\s|$)", live)


def _fetch(home: Path, pointer: Path, snapshot: str, suite: str, packages: tuple[str, ...], say: Say) -> Path:
    for stale in home.glob("part-*"):
        shutil.rmtree(stale, ignore_errors=True)
    if not KEYRING.is_file():
        raise CallwardenError(
            "environment.no_keyring",
            f"{KEYRING} is missing, so no package could be verified",
            hint="install debian-archive-keyring, or install asterisk (22 or newer), sip-tester and age on this host",
        )
    source = snapshot.rstrip("/") or mirror()
    apt = home / "apt"
    options = _private_state(apt, source, suite, dated=bool(snapshot))
    say(f"asking the mirror for {suite}'s package lists")
    _apt([*options, "update"], source)
    _apt([*options, "autoclean"], source)  # leftovers of an interrupted run that the mirror has since replaced
    say(f"downloading {', '.join(packages)} and what they need (about 100 MB)")
    _apt([*options, "-y", "--download-only", "install", *packages], source)
    debs = sorted((apt / "cache" / "archives").glob("*.deb"))
    found = {_name(deb): {"version": _version(deb), "sha256": _sha256(deb)} for deb in debs}
    key = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
    final = home / key
    if not (final / "manifest.json").is_file():
        part = home / f"part-{key}"
        (part / "root").mkdir(parents=True)
        for number, deb in enumerate(debs, 1):
            if number % 40 == 0 or number == len(debs):
                say(f"unpacked {number} of {len(debs)} packages")
            _run(["dpkg", "-x", str(deb), str(part / "root")])
        _link_english(part / "root")
        manifest = {"suite": suite, "asked_for": list(packages), "packages": found}
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
    fresh = home / f"pointer-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(final.name)
    fresh.rename(pointer)
    shutil.rmtree(apt / "cache", ignore_errors=True)  # unpacked and hashed: the archives serve no more
    say("ready: " + ", ".join(f"{name} {found[name]['version']}" for name in packages if name in found))
    return final


def _private_state(apt: Path, source: str, suite: str, *, dated: bool) -> list[str]:
    """Options for an apt that knows nothing of what the host has installed."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").write_text("")
    marks = f"signed-by={KEYRING}" + (" check-valid-until=no" if dated else "")
    (apt / "sources.list").write_text(f"deb [{marks}] {source} {suite} main\n")
    settings = {
        "Dir::State": apt / "state",
        "Dir::State::Lists": apt / "state" / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # apt's own user could not write into our folder
        "Acquire::Retries": 2,
        "Acquire::Languages": "none",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _apt(arguments: list[str], source: str) -> None:
    done = subprocess.run(["apt-get", "-q", *arguments], capture_output=True, text=True, check=False)
    failed = done.returncode != 0 or "Failed to fetch" in done.stderr  # apt-get update only warns of a dead mirror
    if failed:
        why = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        raise CallwardenError(
            "environment.mirror_unreachable",
            f"the packages could not be fetched: {'; '.join(why[:3]) or done.stderr.strip()[-300:]}",
            hint="check the network and /etc/apt, or set CALLWARDEN_SNAPSHOT to a mirror that can be reached",
            retryable=True,
            where=source,
        )


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError as missing:
        raise CallwardenError(
            "environment.not_debian",
            f"{command[0]} is not on this host",
            hint="the rig needs Debian's apt-get and dpkg, or asterisk (22 or newer), sipp and age on the PATH",
        ) from missing
    except subprocess.CalledProcessError as failed:
        raise CallwardenError(
            "environment.unpack", f"{' '.join(command[:2])} failed: {failed.stderr.strip()[-300:]}"
        ) from failed
    return done.stdout


def _link_english(root: Path) -> None:
    """Debian files the English sounds under the speaker's name; channels ask for `en`."""
    sounds = root / "usr/share/asterisk/sounds"
    speaker = next(iter(sorted(sounds.glob("en_US_*"))), None)
    if speaker is not None and not (sounds / "en").exists():
        (sounds / "en").symlink_to(speaker.name)


def _name(deb: Path) -> str:
    return deb.name.split("_")[0]


def _version(deb: Path) -> str:
    return urllib.parse.unquote(deb.name.split("_")[1])


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


if __name__ == "__main__":
    print(unpacked(refresh="--refresh" in sys.argv))
