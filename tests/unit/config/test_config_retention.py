"""`[retention]` and a policy's retention: defaults, floors and ceilings, purposes and outcomes, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import load
from edge.config.reload import reload
from edge.consent.policy import from_document
from edge.consent.retention import Bound, Limits
from edge.consent.units import Period
from edge.errors import CallwardenError

EDGE = '[edge]\nid = "pbx-1"\nwaive = ["no-recovery-recipient"]\n'
POLICY = """[policy.support]
mode = "opt_in"
purposes = ["quality", "training"]
recipients = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
"""


def write(folder: Path, text: str, policy: str = "") -> Path:
    path = folder / "edge.toml"
    path.write_text(EDGE + text + POLICY + policy)
    return path


def test_a_policy_takes_the_houses_defaults_where_it_says_nothing(tmp_path: Path) -> None:
    house = '[retention]\norders = "P5Y"\n[retention.defaults]\nrecordings = "P3M"\nrefusals = "P7D"\n'
    house += '[retention.ceiling]\nrecordings = "P1Y"\n[retention.floor]\nevidence = "P1Y"\n'
    config = load(write(tmp_path, house, 'retention = { recordings = "P1M" }\n'))
    terms = config.policies["support"].retention
    assert (terms.recordings, terms.refusals, terms.evidence) == ("P1M", "P7D", "P36M")
    assert (config.retention.orders, config.retention.approve) == ("P5Y", "ask")
    assert config.retention.ceiling == Limits(recordings=Period("P1Y"))
    assert config.retention.floor.evidence == "P1Y"


def test_purposes_and_outcomes_are_in_the_document_and_come_back(tmp_path: Path) -> None:
    more = '[policy.support.retention]\npurposes = { training = { maximum = "P30D" }, quality = { minimum = "P1M" } }\n'
    more += 'outcomes = { withdrawn = { minimum = "P1D", maximum = "P7D" } }\n'
    policy = load(write(tmp_path, "", more)).policies["support"]
    assert policy.retention.purposes["training"] == Bound(maximum=Period("P30D"))
    assert policy.retention.outcomes["withdrawn"] == Bound(minimum=Period("P1D"), maximum=Period("P7D"))
    again = from_document(policy.document)
    assert (again, again.version, hash(again)) == (policy, policy.version, hash(policy))


@pytest.mark.parametrize(
    ("house", "policy", "code", "words"),
    [
        ('[retention.floor]\nrecordings = "P2Y"\n[retention.ceiling]\nrecordings = "P1Y"\n', "", "config.value", "above its ceiling"),
        ('[retention.ceiling]\nevidence = "P0D"\n', "", "config.value", "no time at all"),
        ('[retention]\nalarms = "P0D"\n', "", "config.value", "no time at all"),
        ('[retention]\napprove = "never"\n', "", "config.value", "approve"),
        ('[retention]\nfor_ever = true\n', "", "config.unknown_key", "for_ever"),
        ('[retention.floor]\nwaveforms = "P1D"\n', "", "config.unknown_key", "waveforms"),
        ("", 'retention.purposes = { sales = { maximum = "P1D" } }\n', "policy.purpose", "sales"),
        ("", 'retention.outcomes = { gone = { maximum = "P1D" } }\n', "policy.outcome", "gone"),
        ("", 'retention.purposes = { quality = { maximum = "P1D", minimum = "P2D" } }\n', "policy.out_of_range", "longer"),
        ("", 'retention.purposes = { quality = { least = "P1D" } }\n', "config.value", "minimum, maximum or both"),
        ("", 'retention.purposes = "P1D"\n', "config.value", "expected a table"),
        ("", 'retention = { recordings = "6 months" }\n', "config.value", "P6M"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_where_it_stands(
    tmp_path: Path, house: str, policy: str, code: str, words: str
) -> None:
    path = write(tmp_path, house, policy)
    with pytest.raises(CallwardenError) as wrong:
        load(path)
    assert wrong.value.code == code
    assert words in wrong.value.message + wrong.value.hint
    assert wrong.value.where.startswith(f"{path}:")


def test_a_reload_puts_it_into_effect(tmp_path: Path) -> None:
    old = load(write(tmp_path, ""))
    write(tmp_path, '[retention]\napprove = "at_once"\n')
    done = reload(old)
    assert (done.config.retention.approve, done.sections, done.restart) == ("at_once", ("retention",), ())
