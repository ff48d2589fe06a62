"""This edge's TLS certificate: one file with key and certificate, written whole, so that the two never come apart."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.durable import write_file
from edge.errors import CallwardenError

#: In the edge's state folder, 0600: private key and certificate, PEM. An operator may put one of his own there.
NAME = "tls.pem"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is on file: from when to when it holds."""

    path: Path
    begins: datetime
    ends: datetime

    def renew_at(self) -> datetime:
        """When two thirds of its life are over."""
        return self.begins + (self.ends - self.begins) * 2 / 3

    def load(self, context: ssl.SSLContext) -> None:
        """Offer it on connections of this context. Raises OSError (ssl.SSLError is one)."""
        context.load_cert_chain(self.path)


def read_certificate(path: Path) -> Certificate | None:
    """The certificate of a file; None where there is no file. Raises CallwardenError sync.certificate_file."""
    try:
        if path.stat().st_mode & 0o077:
            raise CallwardenError(
                "sync.certificate_file", "others may read this key", where=str(path), hint=f"chmod 600 {path}"
            )
        raw = path.read_bytes()
        found = x509.load_pem_x509_certificate(raw)
        probe = Certificate(path, found.not_valid_before_utc, found.not_valid_after_utc)
        probe.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CallwardenError(
            "sync.certificate_file",
            "the TLS certificate of this edge cannot be used",
            where=str(path),
            hint="remove the file: the edge asks for a new one by itself",
        ) from error
    return probe


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh EC P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def request_of(key: ec.EllipticCurvePrivateKey, edge_id: str) -> str:
    """The PKCS #10 request, PEM, signed by the key itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, edge_id)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def tls_pem(key: ec.EllipticCurvePrivateKey, certificate: str) -> bytes:
    """The file's content. Raises CallwardenError sync.answer where the certificate is none, or another key's."""
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise CallwardenError(
            "sync.answer", "central's certificate for this edge is none", where="certificate"
        ) from error
    if found.public_key() != key.public_key():
        raise CallwardenError("sync.answer", "central certified another key", where="certificate")
    return plain + certificate.encode()


def put_certificate(path: Path, content: bytes | None) -> None:
    """What came with an enrolment (None: nothing did) takes the place of what was there, which is another central's or another
    name's, and is kept beside as `.before` (blocking). A kill in between leaves none, and the edge asks for one by itself.
    Raises CallwardenError environment.file."""
    try:
        path.replace(path.with_name(path.name + ".before"))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be moved: {error.strerror}", where=str(path)) from error
    if content is not None:
        write_certificate(path, content)


def write_certificate(path: Path, content: bytes) -> None:
    """Whole or as it was (blocking). Raises CallwardenError environment.file."""
    try:
        write_file(str(path), content, mode=0o600)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be written: {error.strerror}", where=str(path)) from error
