"""TLS certificates of edges: issued for 90 days by central's own authority, or by the operator's, which we only believe.

A certificate is a second proof beside the signature on each request: it never suffices, and it is not revoked by a list.
The row of its edge says whether that edge may still speak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from central.errors import CentralError
from central.tls import key_usage

LIFE_DAYS: Final = 90
#: Edges with a slow clock must not refuse a fresh certificate.
_BACKDATE: Final = timedelta(days=1)
#: Who it is for, as a subject alternative name; an operator's certificate may say it as its common name instead.
URN: Final = "urn:callwarden:edge:"
MAX_CSR: Final = 8192


@dataclass(frozen=True, slots=True)
class Issued:
    """`pem`: the certificate; `ends`: its last moment; `serial`: hex."""

    pem: str
    ends: datetime
    serial: str


def issue(ca_pem: bytes, ca_key_pem: bytes, edge_id: str, csr_pem: str, now: datetime) -> Issued:
    """A certificate for the key of a request; everything else the request says is ignored. Raises CentralError auth.csr."""
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        good = csr.is_signature_valid and isinstance(csr.public_key(), ec.EllipticCurvePublicKey)
        good = good and isinstance(csr.public_key().curve, ec.SECP256R1)  # type: ignore[union-attr]
    except Exception as error:  # the parser raises many kinds, ValueError and UnsupportedAlgorithm among them
        raise CentralError("auth.csr", "this is no PKCS #10 request", where="csr") from error
    if not good:
        raise CentralError("auth.csr", "the request must be for an EC P-256 key and signed by it", where="csr")
    authority = x509.load_pem_x509_certificate(ca_pem)
    signer = serialization.load_pem_private_key(ca_key_pem, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    ends = (now + timedelta(days=LIFE_DAYS)).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, edge_id)]))
        .issuer_name(authority.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(URN + edge_id)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(key_usage(sign_certificates=False), critical=True)
        .sign(signer, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return Issued(pem, ends, f"{certificate.serial_number:x}")


@lru_cache(maxsize=20_000)
def holder(der: bytes) -> tuple[str | None, datetime]:
    """(the edge that a certificate is for, None where it names none or several; its last moment).

    The handshake has verified chain and purpose; a connection may outlive the certificate, so its end is looked at again.
    """
    certificate = x509.load_der_x509_certificate(der)
    ends = certificate.not_valid_after_utc
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        urns = names.get_values_for_type(x509.UniformResourceIdentifier)
        ours = [urn.removeprefix(URN) for urn in urns if urn.startswith(URN)]
    except x509.ExtensionNotFound:
        ours = []
    if not ours:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ours = [str(one.value) for one in common]
    return (ours[0] if len(ours) == 1 else None), ends


def check(der: bytes | None, edge_id: str, mode: str, wall: Callable[[], datetime]) -> None:
    """Whether a request for `edge_id` may come over a connection with this certificate (None: without one).

    mode: `[central] client_certificates`. Raises CentralError auth.certificate_missing, auth.certificate (403).
    """
    if mode == "off":
        return
    if der is None:
        if mode == "demanded":
            raise CentralError(
                "auth.certificate_missing",
                "this central demands a client certificate",
                status=403,
                where="TLS",
                hint="the edge asks for one by itself: POST certificate, which needs none",
            )
        return
    name, ends = holder(der)
    if name != edge_id:
        raise CentralError("auth.certificate", "the client certificate is another edge's", status=403, where="TLS")
    if ends < wall():
        raise CentralError("auth.certificate", f"the client certificate ended at {ends}", status=403, where="TLS")
