"""Read what a certificate contains about its issuer, besides the issuer's name.

These are hints for diagnoses. They are not used for verification.
"""

from __future__ import annotations

from .certificate import read_fields
from .der import CONSTRUCTED, DerError, elements

_AUTHORITY_KEY = b"\x55\x1d\x23"
_AUTHORITY_INFORMATION = bytes.fromhex("2b06010505070101")  # RFC 5280 §4.2.2.1
_CA_ISSUERS = bytes.fromhex("2b06010505073002")
_CERT_ISSUER = 0xA1  # authorityCertIssuer of an AuthorityKeyIdentifier
_DIRECTORY_NAME = 4 | 0x80 | CONSTRUCTED


def names_issuer_location(der: bytes) -> bool:
    """Return True if a certificate names a place where its issuer's certificate is published (id-ad-caIssuers).

    The result for a damaged certificate is False.
    """
    try:
        value = read_fields(der).find_extensions(_AUTHORITY_INFORMATION).get(_AUTHORITY_INFORMATION)
        descriptions = [tuple(elements(one.content)) for one in elements(value.content)] if value is not None else []
    except DerError:
        return False
    return any(parts and parts[0].content == _CA_ISSUERS for parts in descriptions)


def issuer_of_issuer(der: bytes) -> bytes | None:
    """Return the name (DER) of the CA that issued the issuer's certificate (authorityCertIssuer, RFC 5280 §4.2.1.1).

    Returns:
        `None` if the certificate does not contain it, or is damaged.
    """
    try:
        value = read_fields(der).find_extensions(_AUTHORITY_KEY).get(_AUTHORITY_KEY)
        parts = elements(value.content) if value is not None else ()
        names = [name for part in parts if part.tag == _CERT_ISSUER for name in elements(part.content)]
        return next((name.content for name in names if name.tag == _DIRECTORY_NAME), None)
    except DerError:
        return None
