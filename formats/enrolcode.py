"""The short code of an enrolment: both sides print it, and a person compares.

Whoever sits in between has shown the edge other keys of central's, or central another key of the edge's; then the codes
differ. 60 bits behind scrypt: who wants two sides with one code has to try some 2**30 keys at 30 ms and 16 MiB each,
while the edge waits for its answer.
"""

from __future__ import annotations

import hashlib

from formats import canonical

#: Crockford's base 32 without I, L, O, U: read aloud without mistakes.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SALT = b"callwarden/enrolment-code/v1"


def enrolment_code(edge_id: str, edge_kid: str, store_kid: str, witness_kid: str) -> str:
    """`XXXX-XXXX-XXXX` of the names (RFC 7638 thumbprints) of the three keys. Takes about 30 ms."""
    said = canonical.dumps({"edge": edge_kid, "edge_id": edge_id, "store": store_kid, "witness": witness_kid})
    digest = hashlib.scrypt(said, salt=_SALT, n=2**14, r=8, p=1, dklen=8)
    number = int.from_bytes(digest, "big") >> 4
    digits = "".join(_ALPHABET[number >> shift & 31] for shift in range(55, -1, -5))
    return f"{digits[:4]}-{digits[4:8]}-{digits[8:]}"


def same_code(typed: str, code: str) -> bool:
    """Whether a person meant `code`: case, spaces and dashes do not matter, O is 0, I and L are 1."""
    plain = typed.upper().translate(str.maketrans("OIL", "011", " -"))
    return plain == code.replace("-", "")
