"""Client certificates on real TLS sockets: issued, offered, another edge's, ended, demanded, the operator's own."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from central import servercert, setup, tls
from central.config import from_table
from central.errors import CentralError
from central.fleet.clientcert import holder, issue
from edge.sync.tlskey import request_of
from formats import canonical
from tests.unit.central.central_kit import TestCentral, TestEdge


@pytest.fixture
async def secure(tmp_path: Path, engine: str) -> AsyncIterator[TestCentral]:
    """A central with TLS that wants certificates."""
    central = TestCentral(tmp_path / "central", tls=True, postgres=engine)
    yield central
    await central.stop()


def a_tls_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


async def ask(
    edge: TestEdge, method: str, path: str, body: Any = None, *, pem: Path | None = None
) -> tuple[int, dict[str, Any]]:
    """A signed request over TLS 1.3, with the certificate and key of `pem`: status, JSON."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=edge.central.config.ca.read_text())
    if pem is not None:
        context.load_cert_chain(pem)
    raw = b"" if body is None else canonical.dumps(body)
    headers = {"Authorization": edge.authorization(edge.claims(method, path, raw))}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, edge.central.url + path, data=raw or None, headers=headers, ssl=context) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def certified(edge: TestEdge, folder: Path) -> Path:
    """A file with key and certificate, as the edge gets them."""
    key = a_tls_key()
    status, answer = await ask(edge, "POST", edge.path("certificate"), {"csr": request_of(key, edge.edge_id)})
    assert status == 201, answer
    return written(folder / f"{edge.edge_id}.pem", key, answer["certificate"])


def written(path: Path, key: ec.EllipticCurvePrivateKey, certificate: str) -> Path:
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(plain + certificate.encode())
    return path


async def test_a_certificate_is_issued_offered_and_bound_to_its_edge(secure: TestCentral, tmp_path: Path) -> None:
    await secure.start()
    one, two = TestEdge(secure, "pbx-1"), TestEdge(secure, "pbx-2")
    pem = await certified(one, tmp_path)
    poll = "deliveries?after=0&wait=0"
    assert (await ask(one, "GET", one.path(poll), pem=pem))[0] == 200
    assert (await ask(one, "GET", one.path(poll)))[0] == 200  # wanted, not demanded
    status, answer = await ask(two, "GET", two.path(poll), pem=pem)
    assert (status, answer["code"]) == (403, "auth.certificate")
    assert (await ask(two, "POST", two.path("certificate"), {"csr": request_of(a_tls_key(), "pbx-1")}, pem=pem))[
        0
    ] == 403
    _, shown = await secure.admin("GET", "/v1/edges/pbx-1")
    ends = datetime.fromisoformat(shown["certificate_ends"])
    assert timedelta(days=89) < ends - datetime.now(UTC) <= timedelta(days=90)
    leaf = x509.load_pem_x509_certificate(pem.read_bytes())
    assert holder(leaf.public_bytes(serialization.Encoding.DER))[0] == "pbx-1"


async def test_what_a_request_says_of_itself_is_ignored(secure: TestCentral, tmp_path: Path) -> None:
    await secure.start()
    two = TestEdge(secure, "pbx-2")
    key = a_tls_key()
    status, answer = await ask(two, "POST", two.path("certificate"), {"csr": request_of(key, "pbx-1")})
    assert status == 201
    leaf = x509.load_pem_x509_certificate(answer["certificate"].encode())
    assert holder(leaf.public_bytes(serialization.Encoding.DER))[0] == "pbx-2"
    for bad in ("", "-----BEGIN", request_of(key, "pbx-2").replace("M", "N", 9)):
        status, answer = await ask(two, "POST", two.path("certificate"), {"csr": bad})
        assert (status, answer["code"]) == (400, "auth.csr")


async def test_demanded_certificates_and_the_way_back_after_a_long_absence(secure: TestCentral, tmp_path: Path) -> None:
    secure.config = replace(secure.config, client_certificates="demanded")
    await secure.start()
    edge, poll = TestEdge(secure, "pbx-1"), "deliveries?after=0&wait=0"
    status, answer = await ask(edge, "GET", edge.path(poll))
    assert (status, answer["code"]) == (403, "auth.certificate_missing")
    pem = await certified(edge, tmp_path)
    assert (await ask(edge, "GET", edge.path(poll), pem=pem))[0] == 200
    assert (await secure.admin("GET", "/v1/edges"))[0] == 200  # people show a token
    old = issue(
        secure.config.ca.read_bytes(),
        secure.config.ca.with_suffix(".key").read_bytes(),
        "pbx-1",
        request_of(key := a_tls_key(), "pbx-1"),
        datetime.now(UTC) - timedelta(days=120),
    )
    ended = written(tmp_path / "old.pem", key, old.pem)
    with pytest.raises((aiohttp.ClientError, OSError)):  # the handshake refuses it
        await ask(edge, "GET", edge.path(poll), pem=ended)
    assert (await ask(edge, "GET", edge.path(poll), pem=await certified(edge, tmp_path)))[0] == 200


async def test_a_connection_outlives_its_certificate_only_until_the_next_request(
    secure: TestCentral, tmp_path: Path
) -> None:
    await secure.start()
    edge = TestEdge(secure, "pbx-1")
    pem = await certified(edge, tmp_path)
    secure.offset = timedelta(days=91)  # central's clock, not that of the TLS library: as on a connection that stands
    status, answer = await ask(edge, "GET", edge.path("deliveries?after=0&wait=0"), pem=pem)
    assert (status, answer["code"]) == (403, "auth.certificate")


async def test_the_operators_own_authority(secure: TestCentral, tmp_path: Path) -> None:
    ca, ca_key = tls.make_ca("house", datetime.now(UTC))
    (tmp_path / "house.pem").write_bytes(ca)
    secure.config = replace(secure.config, client_ca=tmp_path / "house.pem", client_certificates="demanded")
    await secure.start()
    edge, key = TestEdge(secure, "pbx-1"), a_tls_key()
    status, answer = await ask(edge, "POST", edge.path("certificate"), {"csr": request_of(key, "pbx-1")})
    assert (status, answer["code"]) == (404, "not_found.authority")
    house = x509.load_pem_x509_certificate(ca)
    signer = serialization.load_pem_private_key(ca_key, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)

    def leaf(name: str) -> str:
        """As many houses make them: the name in the subject only."""
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(house.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(datetime.now(UTC) + timedelta(days=1))
            .sign(signer, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode()

    poll = edge.path("deliveries?after=0&wait=0")
    assert (await ask(edge, "GET", poll, pem=written(tmp_path / "good.pem", key, leaf("pbx-1"))))[0] == 200
    assert (await ask(edge, "GET", poll, pem=written(tmp_path / "bad.pem", key, leaf("pbx-2"))))[0] == 403
    own = issue(
        secure.config.ca.read_bytes(),
        secure.config.ca.with_suffix(".key").read_bytes(),
        "pbx-1",
        request_of(key, "pbx-1"),
        datetime.now(UTC),
    )
    with pytest.raises((aiohttp.ClientError, OSError)):  # of an authority that is not asked for
        await ask(edge, "GET", poll, pem=written(tmp_path / "own.pem", key, own.pem))


async def test_a_servers_certificate_is_none_of_an_edge(secure: TestCentral, tmp_path: Path) -> None:
    await secure.start()
    edge = TestEdge(secure, "localhost")
    both = tmp_path / "server.pem"
    both.write_bytes(secure.config.certificate_key.read_bytes() + secure.config.certificate.read_bytes())
    with pytest.raises((aiohttp.ClientError, OSError)):
        await ask(edge, "GET", edge.path("deliveries?after=0&wait=0"), pem=both)


async def test_the_end_of_centrals_own_certificate_is_told_once(secure: TestCentral) -> None:
    await secure.start()
    assert secure.running is not None
    one = secure.running.central

    async def told(days: float) -> list[str]:
        secure.offset = timedelta(days=days)
        await servercert.look(one)
        return [code for (code,) in await secure.rows("SELECT code FROM alarm WHERE edge_id=''")]

    before = await told(tls.SERVER_DAYS - 31)
    assert servercert.ENDS not in before
    for days in (tls.SERVER_DAYS - 29, tls.SERVER_DAYS - 28):
        assert (await told(days)).count(servercert.ENDS) == 1
    for path in (secure.config.certificate, secure.config.certificate_key):
        path.unlink()
    setup.init(secure.folder, "127.0.0.1:0", postgres=secure.postgres)  # as docs/ops/edges.md says
    await secure.stop()
    await secure.start()
    edge = TestEdge(secure, "pbx-1")
    secure.offset = timedelta(0)
    assert (await ask(edge, "GET", edge.path("audit")))[0] == 200  # by the authority that edges have
    one = secure.running.central
    assert (await told(0)).count(servercert.ENDS) == 1


async def test_off_asks_for_nothing_and_issues_nothing(secure: TestCentral) -> None:
    secure.config = replace(secure.config, client_certificates="off")
    await secure.start()
    edge = TestEdge(secure, "pbx-1")
    status, answer = await ask(edge, "POST", edge.path("certificate"), {"csr": request_of(a_tls_key(), "pbx-1")})
    assert (status, answer["code"]) == (404, "not_found.authority")
    assert (await ask(edge, "GET", edge.path("deliveries?after=0&wait=0")))[0] == 200


@pytest.mark.parametrize(
    "table",
    [
        {"client_certificates": "always"},
        {"client_certificates": "demanded", "tls": False},
        {"edges": {"silent_s": 1}},
        {"edges": {"silence": 100}},
        {"edges": {"policy": 7}},
        {"edges": {"policy": "abc"}},
        {"edges": {"lag_s": True}},
        {"edges": {"lag_s": "900"}},
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, table: dict[str, Any]) -> None:
    with pytest.raises(CentralError, match="config\\."):
        from_table(table, base=tmp_path)
    assert from_table({"edges": {"silent_s": 60, "policy": "any"}}, base=tmp_path).edges.silent_s == 60.0
