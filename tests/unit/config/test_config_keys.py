"""Who may open what: `[keys]`, recovery, retired recipients, mixed kinds, and a key for each month."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from edge.config import load
from edge.consent import epochs
from edge.errors import CallwardenError, Exit
from formats.age import HybridIdentity, X25519Identity

A, B, C = (str(X25519Identity.generate(bytes([n]) * 32).recipient()) for n in (1, 2, 3))
PQ = str(HybridIdentity.generate(bytes([4]) * 32).recipient())
TODAY = date(2026, 11, 26)


def config(folder: Path, recipients: list[str], *more: str, main: str = "", keys: str = "") -> Path:
    listed = ", ".join(f'"{one}"' for one in recipients)
    path = folder / "edge.toml"
    path.write_text(
        "\n".join(
            [
                '[edge]\nid = "e"',
                main,
                '[policy.support]\nmode = "opt_in"\npurposes = ["quality"]',
                *more,
                f"recipients = [{listed}]",
                keys,
            ]
        )
    )
    return path


def refused(path: Path) -> tuple[str, str]:
    """Code, and the line it points at."""
    with pytest.raises(CallwardenError) as caught:
        load(path, TODAY)
    error = caught.value
    assert error.exit_code == Exit.CONFIG
    assert error.hint
    line = path.read_text().splitlines()[int(error.where.rpartition(":")[2]) - 1]
    return error.code, line.partition(" = ")[0]


@pytest.mark.parametrize(
    ("recipients", "keys", "code", "line"),
    [
        ([A, PQ], "", "recipient.mixed", "recipients"),
        ([PQ, A], "", "recipient.mixed", "recipients"),
        ([A], "", "recipient.no_recovery", "recipients"),
        ([A, B], f'[keys]\nrecovery = ["{C}"]', "recipient.no_recovery", "recipients"),
        ([A, B], f'[keys]\nretired = ["{B}"]', "recipient.retired", "recipients"),
        ([A, B], f'[keys]\nrecovery = ["{B}"]\nretired = ["{C}", "{B}"]', "recipient.retired", "recovery"),
        ([A, B], f'[keys]\nrecovery = ["{B}"]\nlocal = "{B}"', "recipient.local", "local"),
        ([A, B], '[keys]\nrecovery = ["age1nothing"]', "recipient.bech32", "recovery"),
        ([A, B], '[keys]\nlocal = "mine"', "recipient.unknown_kind", "local"),
        ([A, B], '[keys]\nnames = { "age1x" = "me" }', "recipient.bech32", "names"),
        ([A, B], "[keys]\nrecovered = []", "config.unknown_key", "recovered"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, recipients: list[str], keys: str, code: str, line: str) -> None:
    assert refused(config(tmp_path, recipients, keys=keys)) == (code, line)


def test_what_fits_is_taken(tmp_path: Path) -> None:
    keys = f'[keys]\nrecovery = ["{B}"]\nretired = ["{C}"]\nlocal = "{A}"\nnames = {{ "{A}" = "this host" }}'
    found = load(config(tmp_path, [A, B], keys=keys), TODAY)
    assert (found.keys.local, found.keys.names[A]) == (A, "this host")
    waived = config(tmp_path, [A], main='waive = ["no-recovery-recipient"]', keys=f'[keys]\nrecovery = ["{B}"]')
    assert load(waived, TODAY).policies["support"].recipients == (A,)


def months(**keys: str) -> str:
    return (
        "epoch_keys = { "
        + ", ".join(f'"{name[1:].replace("_", "-")}" = "{text}"' for name, text in keys.items())
        + " }"
    )


@pytest.mark.parametrize(
    ("recipients", "more", "code"),
    [
        ([B], ('epochs = "monthly"', months(m2026_12=A)), "recipient.epoch_missing"),
        ([B], ('epochs = "monthly"',), "recipient.epoch_missing"),
        ([B, C], (months(m2026_11=A),), "policy.epochs"),
        ([B], ('epochs = "monthly"', months(m2026_11=A, m2026_13=C)), "policy.bad_month"),
        ([B], ('epochs = "monthly"', months(m2026_11="age1x")), "recipient.bech32"),
        ([B], ('epochs = "monthly"', months(m2026_11=PQ)), "recipient.mixed"),
        ([B], ('epochs = "monthly"', months(m2026_11=B)), "recipient.twice"),
        ([], ('epochs = "monthly"', months(m2026_11=A)), "recipient.no_recovery"),
    ],
)
def test_a_month_that_does_not_fit_is_refused(
    tmp_path: Path, recipients: list[str], more: tuple[str, ...], code: str
) -> None:
    assert refused(config(tmp_path, recipients, *more))[0] == code


def test_the_month_decides_who_can_open(tmp_path: Path) -> None:
    path = config(tmp_path, [B], 'epochs = "monthly"', months(m2026_11=A, m2026_12=C))
    policy = load(path, TODAY).policies["support"]
    assert epochs.recipients_on(policy, TODAY) == (A, B)
    assert epochs.recipients_on(policy, date(2026, 12, 1)) == (C, B)
    assert epochs.lacks_key(policy, date(2027, 1, 1))
    # With two keys a month nobody else is needed, and a month can end for good.
    alone = load(config(tmp_path, [], 'epochs = "monthly"', months(m2026_11=f"{A} {B}")), TODAY).policies["support"]
    assert epochs.recipients_on(alone, TODAY) == (A, B)


def test_a_coming_month_without_a_key_is_alarmed_two_weeks_ahead(tmp_path: Path) -> None:
    policies = load(config(tmp_path, [B], 'epochs = "monthly"', months(m2026_11=A)), TODAY).policies
    codes = {
        day: [one.code for one in epochs.alarms(policies, day)]
        for day in (date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 30), date(2026, 12, 1))
    }
    assert list(codes.values()) == [[], ["recipient.epoch_ends"], ["recipient.epoch_ends"], ["recipient.epoch_missing"]]
