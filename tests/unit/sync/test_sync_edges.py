"""The edge's side of certificates and heartbeats, against a real central over TLS."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from central import setup, tls
from central.fleet.clientcert import issue
from edge.errors import CallwardenError
from edge.store.journal import Journal
from edge.sync.certificates import Certificates
from edge.sync.heart import Heart, Lag, Vitals, policy_hash
from edge.sync.tlskey import (
    NAME,
    Certificate,
    new_key,
    put_certificate,
    read_certificate,
    request_of,
    tls_pem,
    write_certificate,
)
from edge.sync.uplink import Uplink
from formats.heartbeat import read_heartbeat
from formats.keys import SigningKey
from tests.unit.central.central_kit import TestCentral, a_key
from tests.unit.store import store_makers as make
from tests.unit.sync.sync_kit import SyncEdge, until

VITALS = Vitals("ab" * 32, 1.5, "callwarden/test", 10**9, 10**8, 2, False, "no\nAMI link")


@dataclass
class Clock(make.SystemClock):
    """The edge's clock, as far ahead as a test wants."""

    ahead: timedelta = timedelta(0)

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def mono_ns(self) -> int:
        return super().mono_ns() + round(self.ahead.total_seconds() * 1e9)


@dataclass
class Bare:
    """An enrolled edge with a journal, an uplink and the keeper of its certificate."""

    central: TestCentral
    folder: Path
    key: SigningKey
    journal: Journal
    clock: Clock
    uplink: Uplink
    certificates: Certificates

    @property
    def file(self) -> Path:
        return self.folder / NAME

    async def speak(self) -> Any:
        return await self.uplink.get(self.uplink.edge_path("deliveries?after=0&wait=0"))

    async def noted(self) -> int:
        size = await self.journal.audit_size()
        return sum("certificate.renewed" in one.entry for one in await self.journal.audit_entries(0, size))


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[TestCentral]:
    """A central with TLS that demands certificates."""
    central = TestCentral(tmp_path / "central", tls=True)
    central.config = replace(central.config, client_certificates="demanded")
    await central.start()
    yield central
    await central.stop()


@pytest.fixture
async def bare(secure: TestCentral, tmp_path: Path) -> AsyncIterator[Bare]:
    key, clock = a_key(), Clock()
    setup.register_edge(secure.config, "edge-1", key.verify_key)
    journal = await make.open_journal(tmp_path / "journal.db")
    uplink = Uplink(
        secure.url,
        "edge-1",
        key,
        ca_pem=secure.config.ca.read_bytes(),
        clock=clock,
        random_bytes=os.urandom,
    )
    yield Bare(secure, tmp_path, key, journal, clock, uplink, Certificates(uplink, journal, clock, tmp_path))
    await uplink.close()
    await journal.close()


async def test_an_edge_gets_its_certificate_and_offers_it(bare: Bare) -> None:
    with pytest.raises(CallwardenError, match="certificate_missing"):
        await bare.speak()
    await bare.certificates.look()
    assert stat.S_IMODE(bare.file.stat().st_mode) == 0o600
    await bare.speak()
    before = bare.file.read_bytes()
    await bare.certificates.look()
    assert bare.file.read_bytes() == before
    assert await bare.noted() == 1


def put_old(bare: Bare, days: int) -> Certificate:
    """A certificate that central issued so many days ago (TLS libraries look at the real clock)."""
    config, key = bare.central.config, new_key()
    ca, ca_key = config.ca.read_bytes(), config.ca.with_suffix(".key").read_bytes()
    made = issue(ca, ca_key, "edge-1", request_of(key, "edge-1"), datetime.now(UTC) - timedelta(days=days))
    write_certificate(bare.file, tls_pem(key, made.pem))
    found = read_certificate(bare.file)
    assert found is not None
    return found


async def test_it_is_renewed_at_two_thirds_of_its_life(bare: Bare) -> None:
    for days, renewed in ((58, False), (62, True)):
        before = put_old(bare, days)
        await bare.certificates.look()
        assert (read_certificate(bare.file) != before) is renewed
        await bare.speak()


async def test_an_edge_comes_back_after_its_certificate_ended(bare: Bare) -> None:
    bare.uplink.offer(put_old(bare, 120))
    with pytest.raises(CallwardenError, match="certificate_missing"):  # it does not offer what has ended
        await bare.speak()
    await bare.certificates.look()
    await bare.speak()


async def test_a_certificate_that_central_believes_no_more_is_replaced(bare: Bare, tmp_path: Path) -> None:
    ca, ca_key = tls.make_ca("other", datetime.now(UTC))
    key = new_key()
    other = issue(ca, ca_key, "edge-1", request_of(key, "edge-1"), datetime.now(UTC))
    write_certificate(bare.file, tls_pem(key, other.pem))
    await bare.certificates.look()
    for _ in range(3):
        with pytest.raises(CallwardenError) as caught:
            await bare.speak()
        assert caught.value.retryable
    await bare.certificates.look()
    await bare.speak()


async def test_a_certificate_of_another_name_is_replaced(bare: Bare) -> None:
    """Of central's own authority, so that TLS takes it: left over from an edge that had the host before."""
    config, key = bare.central.config, new_key()
    ca, ca_key = config.ca.read_bytes(), config.ca.with_suffix(".key").read_bytes()
    write_certificate(
        bare.file, tls_pem(key, issue(ca, ca_key, "edge-0", request_of(key, "edge-0"), datetime.now(UTC)).pem)
    )
    await bare.certificates.look()
    for _ in range(3):
        with pytest.raises(CallwardenError, match=r"auth\.certificate"):
            await bare.speak()
    await bare.certificates.look()
    await bare.speak()
    assert bare.uplink.refused == 0


def test_a_certificate_that_came_with_an_enrolment_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / NAME
    put_certificate(place, b"one")
    put_certificate(place, b"two")
    assert (place.read_bytes(), place.with_name("tls.pem.before").read_bytes()) == (b"two", b"one")
    put_certificate(place, None)
    assert (place.exists(), place.with_name("tls.pem.before").read_bytes()) == (False, b"two")
    put_certificate(place, None)
    assert stat.S_IMODE(place.with_name("tls.pem.before").stat().st_mode) == 0o600


async def test_a_damaged_file_is_replaced_and_another_keys_certificate_refused(bare: Bare) -> None:
    bare.file.write_bytes(b"nothing")
    await bare.certificates.look()
    await bare.speak()
    bare.file.chmod(0o640)
    with pytest.raises(CallwardenError, match="others may read"):
        read_certificate(bare.file)
    certificate = bare.file.read_text()
    with pytest.raises(CallwardenError, match="another key"):
        tls_pem(new_key(), certificate[certificate.index("-----BEGIN CERT") :])


async def test_where_central_issues_none_it_is_asked_seldom_and_the_operators_file_is_used(
    secure: TestCentral, bare: Bare, tmp_path: Path
) -> None:
    ca, ca_key = tls.make_ca("house", datetime.now(UTC))
    (tmp_path / "house.pem").write_bytes(ca)
    await secure.stop()
    secure.config = replace(secure.config, client_ca=tmp_path / "house.pem")
    await secure.start()
    await bare.certificates.look()
    assert not bare.file.exists()
    await secure.stop()
    await bare.certificates.look()  # would fail if it asked again
    await secure.start()
    key = new_key()
    theirs = issue(ca, ca_key, "edge-1", request_of(key, "edge-1"), datetime.now(UTC))
    write_certificate(bare.file, tls_pem(key, theirs.pem))
    await bare.certificates.look()
    await bare.speak()
    bare.clock.ahead = secure.offset = timedelta(days=85)
    await bare.certificates.look()
    await bare.certificates.look()
    told = await bare.journal.views.status()
    assert (told["alarms"]["count"], told["alarms"]["last"]["code"]) == (1, "sync.certificate_ends")


async def test_a_heartbeat_says_what_the_daemon_and_the_journal_know(bare: Bare) -> None:
    heart = Heart(bare.uplink, bare.journal, bare.clock, lambda: VITALS)
    first = await heart.made()
    assert (first.n, first.size, first.outbox, first.oldest, first.why) == (1, 0, 0, 0.0, "no AMI link")
    await bare.journal.open_call(make.call())
    assert (await heart.made()).outbox > 0
    bare.clock.ahead = timedelta(seconds=40)
    third = await heart.made()
    assert (third.n, third.session) == (3, first.session)
    assert third.oldest >= 40
    assert read_heartbeat(msgspec.json.encode(third)) == third


def test_the_age_of_the_oldest_event_is_short_by_one_look_at_most() -> None:
    lag, second = Lag(), 10**9
    assert lag.seconds(None, 0) == 0.0
    assert lag.seconds((1, 5), 10 * second) == 0.0
    assert lag.seconds((1, 9), 40 * second) == 30.0
    assert lag.seconds((5, 9), 70 * second) == 60.0  # 5 was there at the first look
    assert lag.seconds((6, 9), 100 * second) == 60.0  # 6 came after it
    assert lag.seconds(None, 130 * second) == 0.0
    assert lag.seconds((10, 10), 160 * second) == 0.0
    assert policy_hash({"a": "1", "b": "2"}) == policy_hash({"b": "2", "a": "1"}) != policy_hash({"a": "2", "b": "1"})


async def test_the_running_stage_sends_both_by_itself(secure: TestCentral, tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    edge = await SyncEdge.open(secure, tmp_path / "edge", state=tmp_path / "edge", vitals=lambda: VITALS)
    edge.run()
    try:
        await edge.record()

        async def arrived() -> bool:
            _, found = await secure.admin("GET", "/v1/edges/edge-1")
            return bool(found["heartbeat"] and found["certificate_ends"] and found["events"])

        await until(arrived)
        assert edge.sync.status()["central_up"]
    finally:
        await edge.close()
