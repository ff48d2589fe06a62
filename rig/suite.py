"""`make test`: files side by side, then the tests that must be alone, then a second look at what may be the machine's fault.

Most tests with telephones measure seconds, and a phone of the rig that gets no processor for one is silent, late or cut
off. A test on real processes, or of a capture that goes on in real time, that failed beside others is therefore run once more
by itself, and its first failure stays in the report. Other tests get no second look, and neither does anything when more than
MOST fail: that is no accident.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from rig.places import PROJECT

#: Where a second look is given: the tests that wait for telephones, for killed processes, for a line that goes on talking, and
#: for servers and databases of their own.
REAL = (
    "tests/asterisk/", "tests/crash/", "tests/contract/", "tests/unit/recorder/", "tests/unit/central/", "tests/unit/sync/",
    "tests/unit/agi/", "tests/unit/ami/", "tests/unit/adopt/",
)  # fmt: skip
#: So many failures are looked at again; more are a fault of the program.
MOST = 8
#: pytest's exit codes: some failed; none was found (a narrowed run has no test of one of the two kinds).
FAILED, NONE = 1, 5


def pytest(*words: str) -> int:
    """Run pytest in a process of its own; its exit code."""
    return subprocess.run([sys.executable, "-m", "pytest", *words], cwd=PROJECT, check=False).returncode


def failed() -> list[str]:
    """Node ids that failed, as pytest itself notes them."""
    path = PROJECT / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return sorted(json.loads(path.read_text())) if path.exists() else []


def deserves_second_look(nodes: list[str]) -> bool:
    """Whether all of these may have failed because of the machine."""
    return 0 < len(nodes) <= MOST and all(node.startswith(REAL) and "::" in node for node in nodes)


def main(words: list[str]) -> int:
    """Exit code: 0 when every test passed, at the second look at the latest."""
    parser = argparse.ArgumentParser(prog="rig.suite")
    parser.add_argument("-n", dest="workers", default="2")
    options, rest = parser.parse_known_args(words)
    codes = {pytest("--cache-clear", "-n", options.workers, "--dist", "loadfile", "-m", "not alone", *rest)}
    codes.add(pytest("-m", "alone", *rest))
    if codes <= {0, NONE}:
        return 0 if 0 in codes else NONE
    nodes = failed()
    if codes - {0, NONE, FAILED} or not deserves_second_look(nodes):
        return FAILED
    print("\nfailed beside others, looked at once more by themselves:", *nodes, sep="\n  ", flush=True)
    if pytest(*nodes):
        return FAILED
    print("\npassed by themselves (look into these when they come again):", *nodes, sep="\n  ", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
