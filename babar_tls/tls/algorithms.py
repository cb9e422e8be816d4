"""Key-exchange groups and cipher suites: their names, and their selection by a configuration.

Groups have IANA's names (RFC 8446 §4.2.7). TLS libraries have other spellings (``prime256v1``, ``P-256``,
``secp256r1``). TLS 1.3 has its own cipher suites (RFC 8446 §B.4). If a configuration names suites, but none for a
TLS version, this version is not offered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..config.enums import TlsVersion
from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from .parameters import TlsParameters


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

#: Groups that TLS 1.3 does not allow (RFC 8446 §4.2.7, §B.3.1.4).
_TLS12_ONLY = ("secp224r1", "secp256k1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1")

_ALIASES = {
    "p-224": "secp224r1",
    "p-256": "secp256r1",
    "prime256v1": "secp256r1",
    "p-384": "secp384r1",
    "p-521": "secp521r1",
    **{name.lower(): name for name in _NAMES.values()},
}


TLS13_SUITES = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)

_IANA = re.compile(r"TLS_(?P<exchange>[A-Z_]+)_WITH_(?P<cipher>[A-Z0-9_]+)", re.IGNORECASE)

_OPENSSL = re.compile(
    r"(?:(?P<exchange>(?:ECDHE|DHE)-(?:RSA|ECDSA|DSS))-)?"
    r"(?P<cipher>(?:AES|CAMELLIA)(?:128|256)(?:-(?:GCM|CCM8?))?|ARIA(?:128|256)-(?:GCM|CCM8?)|CHACHA20-POLY1305)"
    r"(?:-(?P<digest>SHA(?:256|384)?))?"
)


class Selection(NamedTuple):
    """The versions, suites and groups to offer.

    Attributes:
        min_version: The oldest version of TLS.
        max_version: The newest version, `None` for the newest that the TLS library has.
        tls12: Suites of TLS 1.2 by OpenSSL's names, empty for the default of the TLS library.
        tls13: Suites of TLS 1.3, empty for the default of the TLS library.
        groups: Key-exchange groups, by IANA's names if they have one; empty for the default of the TLS library.
    """

    min_version: TlsVersion
    max_version: TlsVersion | None
    tls12: tuple[str, ...]
    tls13: tuple[str, ...]
    groups: tuple[str, ...]


def select(parameters: TlsParameters) -> Selection:
    """Return the versions, suites and groups that the parameters select.

    Raises:
        ConfigError: No version of TLS remains.
    """
    tls13 = tuple(name.upper() for name in parameters.ciphers if name.upper() in TLS13_SUITES)
    tls12 = tuple(openssl_name(name) for name in parameters.ciphers if name.upper() not in TLS13_SUITES)
    groups = tuple(canonical_group(name) or name for name in parameters.groups)
    oldest, newest = parameters.min_version, parameters.max_version
    if parameters.ciphers and not tls13:
        newest = TlsVersion.TLSV1_2
    if parameters.ciphers and not tls12:
        oldest = TlsVersion.TLSV1_3
    if groups and oldest is TlsVersion.TLSV1_2 and all(name in _TLS12_ONLY for name in groups):
        newest = TlsVersion.TLSV1_2
    if oldest is TlsVersion.TLSV1_3 and newest is TlsVersion.TLSV1_2:
        raise ConfigError(
            "tls_ciphers contains no cipher suite for an allowed TLS version",
            remedy="TLS 1.3 has separate suites (TLS_AES_256_GCM_SHA384, …). Add some to tls_ciphers, or change "
            "tls_min_version or tls_max_version.",
        )
    return Selection(oldest, newest, tls12, tls13, groups)


def openssl_name(name: str) -> str:
    """Return OpenSSL's name for IANA's name of a TLS 1.2 suite. Return any other name unchanged.

    ``TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`` is ``ECDHE-RSA-AES128-GCM-SHA256``.
    """
    found = _IANA.fullmatch(name)
    if found is None:
        return name
    exchange, cipher = found["exchange"].upper().replace("_", "-"), found["cipher"].upper()
    cipher = cipher.replace("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305").replace("CCM_8", "CCM8")
    cipher = re.sub(r"^(AES|ARIA|CAMELLIA)_(\d+)_(?:CBC_)?", r"\1\2-", cipher).replace("_", "-")
    return cipher if exchange == "RSA" else f"{exchange}-{cipher}"


def iana_suite(name: str) -> str:
    """Return IANA's name for OpenSSL's name of a TLS 1.2 suite, the opposite of `openssl_name`.

    Return any other name unchanged.
    """
    found = _OPENSSL.fullmatch(name)
    if found is None:
        return name
    exchange, cipher, digest = found["exchange"] or "RSA", found["cipher"], found["digest"]
    cipher = re.sub(r"^(AES|ARIA|CAMELLIA)(\d+)", r"\1-\2", cipher)
    if cipher.startswith("CHACHA20"):
        digest = "SHA256"
    elif "CCM" in cipher:
        cipher = cipher.replace("CCM8", "CCM-8")
    elif "GCM" not in cipher:
        cipher += "-CBC"
    parts = (exchange, "WITH", cipher, *([digest] if digest else []))
    return "TLS_" + "_".join(parts).replace("-", "_")


def group_name(code: int) -> str:
    """Return the name of a code point, or its number (``0x1a2b``) if it has no name."""
    return _NAMES.get(code, f"{code:#06x}")


def canonical_group(name: str) -> str | None:
    """Return IANA's name for any spelling of a group, or None if the group is unknown."""
    return _ALIASES.get(name.lower())


def is_post_quantum(name: str) -> bool:
    """Return True if the group resists a quantum computer, that is, if it contains ML-KEM (FIPS 203)."""
    return "MLKEM" in name


def unknown_group(name: str, backend: str) -> ConfigError:
    """Return the error for a group to which a TLS library cannot be restricted."""
    return ConfigError(
        f"the {backend} backend cannot be restricted to the key-exchange group {name!r}",
        remedy="`babar-tls backends` shows the groups that each backend offers. Some groups cannot be selected. Others "
        "can be selected only for TLS 1.2 or only for TLS 1.3.",
    )


def check_tls12_suites(parameters: TlsParameters, names: Iterable[str], enabled: Container[str], backend: str) -> None:
    """Check that a TLS library has enabled every suite that the configuration selects.

    OpenSSL ignores unknown names, and some names stand for a class of suites.

    Raises:
        ConfigError: A suite is missing.
    """
    missing = [name for name in names if name not in enabled]
    if missing:
        raise unknown_cipher(parameters, missing, backend)


def check_tls13_suites(names: Iterable[str], offered: Iterable[str], library: str) -> None:
    """Check that all TLS 1.3 suites are selected for a TLS library that cannot choose among them.

    Raises:
        ConfigError: Some suites that the library offers are not selected.
    """
    if set(names) != set(offered):
        raise ConfigError(
            f"{library} cannot choose among the cipher suites of TLS 1.3",
            remedy=f"Name all ({', '.join(sorted(offered))}), or set tls_max_version=TLSv1.2 and name none, or use "
            "tls_backend='openssl' with pyOpenSSL 25.2 or later.",
        )


def unknown_cipher(parameters: TlsParameters, missing: Iterable[str], backend: str) -> ConfigError:
    """Return the error for suites that a TLS library does not have.

    Args:
        parameters: The parameters that name the suites.
        missing: The missing suites by OpenSSL's names.
        backend: The name of the backend.
    """
    absent = set(missing)
    given = [name for name in parameters.ciphers if openssl_name(name) in absent or name.upper() in absent]
    return ConfigError(
        f"the {backend} backend does not have the cipher suite {', '.join(given)}",
        remedy="tls_ciphers must contain names of single suites: TLS_AES_256_GCM_SHA384, "
        "ECDHE-ECDSA-AES256-GCM-SHA384, …",
    )
