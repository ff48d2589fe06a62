"""The errors of the pure formats.

`formats` knows neither the edge's nor central's error type: callers translate a `FormatError` at their border. Codes
begin with the family that `callwarden` maps to an exit code (`vault`, `recipient`, `auth`, `audit`, `receipt`,
`command`), so a translation may keep the code as it is.
"""

from __future__ import annotations


class FormatError(Exception):
    """Bytes, a key or a proof is not what its format demands.

    code: dotted lower-case name, family first; message: one sentence, never a secret.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class JsonError(FormatError):
    """JSON that is not strict, or a value that has no canonical form."""


class KeyFormatError(FormatError):
    """A recipient, an identity, a signing key or a key set is malformed."""


class AgeError(FormatError):
    """Base of everything that can be wrong with an age file."""


class ArmorError(AgeError):
    """The ASCII armor is not strict."""


class HeaderError(AgeError):
    """The header, or a stanza meant for one of the identities, is malformed."""


class MacError(AgeError):
    """The header's MAC does not match: the header was altered."""


class NoMatchError(AgeError):
    """No identity opens any stanza of the header."""


class PayloadError(AgeError):
    """The payload was cut, altered, reordered or extended."""


class SuiteError(FormatError):
    """A suite that this version does not know."""


class SealError(FormatError):
    """A sealed header does not open, or the caller broke the rule of the chunk stream while sealing."""


class SignatureError(FormatError):
    """A signature is missing, doubled, of the wrong role, or wrong."""


class ProofError(FormatError):
    """A Merkle proof, a note or a checkpoint does not verify."""


class ManifestError(FormatError):
    """A manifest contradicts itself or its payload."""


class OrderError(FormatError):
    """An order, a delivery or a request is malformed, out of time or not authorised."""


class ReceiptError(FormatError):
    """A receipt does not prove what it says."""


class WireError(FormatError):
    """An event or a batch is malformed or too large."""


class WavError(FormatError):
    """A WAV header cannot be written or read."""
