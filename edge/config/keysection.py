"""What does not fit among recipients: in `[keys]`, between it and the policies, and in the months of a policy. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from edge.config.recipients import check_recipients
from edge.config.schema import KeysSection
from edge.config.sections import Wrong
from edge.consent.epochs import keys_of, recipients_on
from edge.consent.policy import Policy

_NO_RECOVERY = "no-recovery-recipient"


def of_keys(keys: KeysSection) -> Iterator[Wrong]:
    """`[keys]` by itself: everything that should be a public key."""
    lists: Mapping[str, Sequence[str]] = {
        "names": tuple(keys.names),
        "recovery": keys.recovery,
        "retired": keys.retired,
        "local": (keys.local,) if keys.local else (),
    }
    for name, texts in lists.items():
        for number, text in enumerate(texts):
            spot = {"names": ("keys", name, text), "local": ("keys", name)}.get(name, ("keys", name, number))
            if wrong := check_recipients((text,)):
                yield Wrong(spot, wrong.code, wrong.message, wrong.hint)
            elif name == "recovery" and text in keys.retired:
                yield Wrong(spot, "recipient.retired", "the recovery key is retired", "name the one in its place")
            elif name == "local" and text in keys.recovery:
                hint = "a recovery key is kept elsewhere: that is what it is for"
                yield Wrong(spot, "recipient.local", "the recovery key lies on this host", hint)


def of_policy(policy: Policy, keys: KeysSection, waive: Sequence[str], today: date) -> Iterator[Wrong]:
    """One policy's recipients, those of each month included."""
    if policy.mode == "never":
        return
    key = ("policy", policy.name)
    if wrong := check_recipients(policy.recipients):
        yield Wrong((*key, "recipients", wrong.number), wrong.code, wrong.message, wrong.hint)
        return
    for month in policy.epoch_keys:
        if wrong := check_recipients((*policy.recipients, *keys_of(policy, month))):
            yield Wrong((*key, "epoch_keys", month), wrong.code, wrong.message, wrong.hint)
            return
    yield from _retired(policy, keys)
    recipients = recipients_on(policy, today)
    if not recipients:
        hint = 'recipients = ["age1…operator", "age1…recovery"]'
        yield Wrong((*key, "recipients"), "recipient.none", f'policy "{policy.name}" has no recipients', hint)
    elif _NO_RECOVERY in waive:
        return
    elif len(recipients) < 2:
        hint = 'add a recovery key that is kept elsewhere, or waive = ["no-recovery-recipient"] in [edge]'
        message = f'policy "{policy.name}" has one recipient and no recovery key'
        yield Wrong((*key, "recipients"), "recipient.no_recovery", message, hint)
    elif keys.recovery and not set(keys.recovery) & set(recipients):
        hint = "add one of [keys] recovery to its recipients"
        message = f'policy "{policy.name}" names no recovery key'
        yield Wrong((*key, "recipients"), "recipient.no_recovery", message, hint)


def _retired(policy: Policy, keys: KeysSection) -> Iterator[Wrong]:
    hint = "remove it here, or from [keys] retired"
    for number, text in enumerate(policy.recipients):
        if text in keys.retired:
            message = f"this recipient is retired ({keys.names.get(text, 'no name')})"
            yield Wrong(("policy", policy.name, "recipients", number), "recipient.retired", message, hint)
    for month in policy.epoch_keys:
        if set(keys_of(policy, month)) & set(keys.retired):
            message = f"a key of {month} is retired"
            yield Wrong(("policy", policy.name, "epoch_keys", month), "recipient.retired", message, hint)
