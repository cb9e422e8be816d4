"""Key-exchange groups (RFC 8446 §4.2.7) under the names that IANA's registry has for them.

Engines spell them differently (``prime256v1``, ``P-256``, ``secp256r1``); here and in reports they have one name each.
"""

from __future__ import annotations

__all__ = ["canonical_group", "group_name", "is_post_quantum", "is_tls12_only"]

_NAMES = {
    0x0015: "secp224r1",
    0x0016: "secp256k1",
    0x0017: "secp256r1",
    0x0018: "secp384r1",
    0x0019: "secp521r1",
    0x001A: "brainpoolP256r1",
    0x001B: "brainpoolP384r1",
    0x001C: "brainpoolP512r1",
    0x001D: "x25519",
    0x001E: "x448",
    0x001F: "brainpoolP256r1tls13",
    0x0020: "brainpoolP384r1tls13",
    0x0021: "brainpoolP512r1tls13",
    0x0029: "curveSM2",
    0x0100: "ffdhe2048",
    0x0101: "ffdhe3072",
    0x0102: "ffdhe4096",
    0x0103: "ffdhe6144",
    0x0104: "ffdhe8192",
    0x0200: "MLKEM512",
    0x0201: "MLKEM768",
    0x0202: "MLKEM1024",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
    0x11EE: "curveSM2MLKEM768",
}

#: RFC 8446 §4.2.7 and §B.3.1.4: not in TLS 1.3.
_TLS12_ONLY = ("secp224r1", "secp256k1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1")

_ALIASES = {
    "p-224": "secp224r1",
    "p-256": "secp256r1",
    "prime256v1": "secp256r1",
    "p-384": "secp384r1",
    "p-521": "secp521r1",
    **{name.lower(): name for name in _NAMES.values()},
}


def group_name(code: int) -> str:
    """The name of a code point; one without a name is shown as a number (``0x1a2b``)."""
    return _NAMES.get(code, f"{code:#06x}")


def canonical_group(name: str) -> str | None:
    """IANA's name for what may be spelled otherwise, `None` if it is no group that is known here."""
    return _ALIASES.get(name.lower())


def is_post_quantum(name: str) -> bool:
    """Does the group hold against a quantum computer? Those with ML-KEM (FIPS 203) do, alone or beside a curve."""
    return "MLKEM" in name


def is_tls12_only(name: str) -> bool:
    """Return True if TLS 1.3 cannot use the group."""
    return canonical_group(name) in _TLS12_ONLY
