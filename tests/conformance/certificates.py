"""Server certificates of every shape, and the files that go with them."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from babar_tls.testing import CertificateAuthority

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ServerCertificate

_DAY = timedelta(days=1)
NAME = "db.example.com"


def _soon() -> datetime:
    return datetime.now(UTC) + _DAY


def _past() -> datetime:
    return datetime.now(UTC) - _DAY


def _alone(certificate: ServerCertificate) -> ServerCertificate:
    """Return the leaf without its intermediates."""
    end = b"-----END CERTIFICATE-----\n"
    return dataclasses.replace(certificate, certificate_pem=certificate.certificate_pem.partition(end)[0] + end)


class Authorities:
    """The root, what is below it, and roots of other kinds."""

    def __init__(self, root: CertificateAuthority) -> None:
        self.root = root
        self.intermediate = root.intermediate(common_name="conformance intermediate")
        self.expired_intermediate = root.intermediate(not_before=_past() - 2 * _DAY, not_after=_past())
        self.rsa = CertificateAuthority("rsa2048", common_name="conformance RSA root")
        self.ed25519 = CertificateAuthority("ed25519", common_name="conformance Ed25519 root")
        self.expired = CertificateAuthority(
            common_name="conformance expired root", not_before=_past() - 2 * _DAY, not_after=_past()
        )


#: What is looked at is the name.
NAMES: dict[str, Callable[[Authorities], ServerCertificate]] = {
    "CN alone": lambda made: made.root.issue(NAME, san=False),
    "other CN alone": lambda made: made.root.issue("other.example.com", san=False),
    "SAN": lambda made: made.root.issue(NAME),
    "several SANs": lambda made: made.root.issue("a.example.com", NAME, "127.0.0.2", "b.example.com"),
    "SAN and other CN": lambda made: made.root.issue("other.example.com", common_name=NAME),
    "wildcard": lambda made: made.root.issue("*.example.com"),
    "wildcard CN": lambda made: made.root.issue(common_name="*.example.com", san=False),
    "wildcard of two labels": lambda made: made.root.issue("*.com"),
    "wildcard inside": lambda made: made.root.issue("db.*.com"),
    "wildcard in a label": lambda made: made.root.issue("d*.example.com"),
    "wildcard alone": lambda made: made.root.issue("*"),
    "IP SAN": lambda made: made.root.issue("127.0.0.1"),
    "IPv6 SAN": lambda made: made.root.issue("::1"),
    "IP CN": lambda made: made.root.issue(common_name="127.0.0.1", san=False),
    "IP SAN and CN": lambda made: made.root.issue("127.0.0.1", common_name=NAME),
    "SAN and IP CN": lambda made: made.root.issue(NAME, common_name="127.0.0.1"),
    "upper case": lambda made: made.root.issue("DB.EXAMPLE.COM"),
    "no name": lambda made: made.root.issue(),
}
#: What is looked at is the chain.
CHAINS: dict[str, Callable[[Authorities], ServerCertificate]] = {
    "good": lambda made: made.root.issue(NAME),
    "intermediate": lambda made: made.intermediate.issue(NAME),
    "intermediate not sent": lambda made: _alone(made.intermediate.issue(NAME)),
    "expired intermediate": lambda made: made.expired_intermediate.issue(NAME),
    "expired": lambda made: made.root.issue(NAME, not_after=_past()),
    "not yet valid": lambda made: made.root.issue(NAME, not_before=_soon(), not_after=_soon() + _DAY),
    "client's usage": lambda made: made.root.issue(NAME, usage="client"),
    "self-signed": lambda made: made.root.issue(NAME, self_signed=True),
    "expired root": lambda made: made.expired.issue(NAME),
}
#: What is looked at is the signature, for channel binding.
SIGNATURES: dict[str, Callable[[Authorities], ServerCertificate]] = {
    "ECDSA-SHA512": lambda made: made.root.issue(NAME, key="p384", hash="sha512"),
    "RSA-SHA256": lambda made: made.rsa.issue(NAME, key="rsa2048"),
    "RSA-SHA384": lambda made: made.rsa.issue(NAME, hash="sha384"),
    "RSA-PSS": lambda made: made.rsa.issue(NAME, padding="pss"),
    "Ed25519": lambda made: made.ed25519.issue(NAME, key="ed25519"),
    "P-256 signed by Ed25519": lambda made: made.ed25519.issue(NAME),
}
SHAPES = {**NAMES, **CHAINS, **SIGNATURES}


def subject_hash(certificate_pem: bytes) -> str:
    """The name under which OpenSSL looks for what is about this subject, in a directory (``openssl rehash``).

    It is the hash of the subject's RDNs, in UTF-8 and lower case, without the sequence around them.
    """
    subject = x509.load_pem_x509_certificate(certificate_pem).subject
    canonical = x509.Name([x509.NameAttribute(part.oid, str(part.value).lower()) for part in subject]).public_bytes()
    content = canonical[2 if canonical[1] < 0x80 else 2 + canonical[1] - 0x80 :]
    digest = hashlib.sha1(content, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"
