"""Add the certificate at fault in a rejected chain, its file and the trusted certificates to an error.

TLS libraries report little about this. `ssl` and pyOpenSSL expose the certificates that the server sent. Among these
and the trusted certificates, this module finds those that are not valid now. rustls does not expose a chain
that webpki has rejected. This module makes no decision about trust: the TLS library has already rejected the chain.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from ..conninfo.paths import default_file
from ..diagnostics.escaping import visible
from ..errors import CertificateError
from ..x509.certificate import parse_certificate
from ..x509.der import DerError, first_element
from ..x509.names import subject_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..x509.certificate import Certificate
    from .root_files import Roots


_MAX_NAME = 80  # characters of a name in a message
_MOST = 3  # certificates in a message
_MAX_PATH = 20  # certificates between the server's and its root


class KnownCertificate(NamedTuple):
    """A certificate and its origin.

    Attributes:
        certificate: The certificate.
        path: Its file, or the description of a store; `None` if the server sent the certificate.
        line: The line in the file; 0 if `path` is not a file.
    """

    certificate: Certificate
    path: str | None = None
    line: int = 0

    def describe(self) -> str:
        """Return a description of a trusted certificate for a message."""
        place = f'"{self.path}" (line {self.line})' if self.line else self.path
        kind = "CA certificate" if self.certificate.may_sign else "certificate"
        return f'the {kind} "{_name(self.certificate.der)}" in {place}'


class AnchorFault(NamedTuple):
    """The reason why a certificate cannot be a trust anchor: `CertificateError.reason`, OpenSSL's text, details."""

    reason: str
    text: str
    detail: str


def anchor_fault(certificate: Certificate, now: float) -> AnchorFault | None:
    """Return the reason why a certificate cannot be a trust anchor at the time `now`, or None if it can."""
    if not certificate.serves:
        detail = "is not for TLS servers (its extendedKeyUsage does not contain serverAuth)"
        return AnchorFault("purpose", "unsuitable certificate purpose", detail)
    if certificate.not_after < now:
        return AnchorFault("expired", "certificate has expired", _validity(certificate, "expired"))
    if certificate.not_before > now:
        return AnchorFault("not-yet-valid", "certificate is not yet valid", _validity(certificate, "not-yet-valid"))
    return None


def with_advice(error: CertificateError, roots: Roots, chain: Sequence[bytes] = ()) -> CertificateError:
    """Return the error with the certificate at fault, or with the trusted certificates, in its text or remedy.

    Args:
        error: The error with the reason that the TLS library reported.
        roots: The trusted certificates.
        chain: The certificates that the server sent, its own first; empty if the TLS library does not expose them.
    """
    if error.reason in ("untrusted", "self-signed"):
        return _with_sources(error, roots, chain)
    if error.reason not in ("expired", "not-yet-valid"):
        return error
    now = time.time()
    found = _not_valid_now(list(map(KnownCertificate, _parsed(chain))), list(_trusted(roots)), now)
    if not found:
        return _changed(error, remedy=_unknown(error.reason))
    first = found[0]
    when = _validity(first.certificate, error.reason)
    if chain and first.certificate.der == chain[0]:
        also = f' Replace it in "{first.path}" too.' if first.path is not None else ""
        return _changed(error, remedy=f"The server's certificate {when}. {error.remedy}{also}")
    if first.path is not None:
        return _changed(error, text=f"{first.describe()} {when}", remedy=remedy_for_root(first, error.reason))
    return _changed(
        error,
        remedy=f'The intermediate certificate "{_name(first.certificate.der)}" {when}. The server sends it: replace it '
        "in the file of the server's certificate (ssl_cert_file). If it should be valid, check this machine's clock.",
    )


def _with_sources(error: CertificateError, roots: Roots, chain: Sequence[bytes]) -> CertificateError:
    advice = [error.remedy or ""]
    if roots.report is not None and roots.report.sources:
        advice.insert(0, f"The trusted certificates are from {', '.join(map(_source, roots.report.sources))}.")
    now = time.time()
    issuers = {one.issuer for one in _parsed(chain)}
    unusable = [
        (one, fault)
        for one in _trusted(roots)
        if (not chain or one.certificate.subject in issuers) and (fault := anchor_fault(one.certificate, now))
    ]
    if unusable and len(unusable) <= _MOST:
        listed = "; ".join(f"{one.describe()} {fault.detail}" for one, fault in unusable)
        advice.insert(1, f"These are not usable and therefore not trusted: {listed}.")
    return _changed(error, remedy=" ".join(filter(None, advice)))


def _source(source: str) -> str:
    default = default_file(".postgresql/root.crt", "root.crt", os.environ)
    return f"{source} (the default file of sslrootcert)" if source == str(default) else source


def _not_valid_now(
    sent: Sequence[KnownCertificate], trusted: Sequence[KnownCertificate], now: float
) -> list[KnownCertificate]:
    """Return the certificates that may be in the path and are not valid now, nearest to the root first.

    A certificate is not at fault if another certificate with the same name is valid, because that one was used.
    """
    found: list[KnownCertificate] = []
    step = list(sent[:1])
    for _ in range(_MAX_PATH):
        if not step:
            break
        if not any(one.certificate.is_current(now) for one in step):
            found += sorted(step, key=lambda one: one.path is not None)
        names = {one.certificate.issuer for one in step if not one.certificate.is_self_signed}
        step = [one for one in (*sent[1:], *trusted) if one.certificate.subject in names]
    return found[::-1]


def _trusted(roots: Roots) -> Iterator[KnownCertificate]:
    for one in roots.certificates:
        try:
            yield KnownCertificate(parse_certificate(first_element(one.der).encoded), one.path, one.line)
        except DerError:
            continue


def _parsed(chain: Iterable[bytes]) -> list[Certificate]:
    try:
        return [parse_certificate(der) for der in chain]
    except DerError:
        return []


def remedy_for_root(root: KnownCertificate, reason: str) -> str:
    """Return the remedy for a trusted certificate that cannot be used for this reason."""
    if reason == "purpose":
        return "Set tls_root_cert_path (sslrootcert) to the certificate of the CA that issues server certificates."
    if reason == "not-yet-valid":
        return f'Check this machine\'s clock, and whether "{root.path}" is the right file.'
    if not root.certificate.may_sign:
        return (
            f'The server needs a new certificate. Also store it in "{root.path}". If the present one should be '
            "valid, check this machine's clock."
        )
    return (
        f'Replace it in "{root.path}" by the current certificate of this CA. The server\'s certificate is not '
        "at fault. If the CA certificate should be valid, check this machine's clock."
    )


def _unknown(reason: str) -> str:
    """Return the remedy if the TLS library does not expose the chain that it rejected."""
    if reason == "not-yet-valid":
        return "Check this machine's clock, the server's certificate, and any intermediate certificate that it sends."
    return (
        "The server's certificate or an intermediate certificate that it sends is at fault. This TLS library does not "
        "report which. Replace it on the server. If it should be valid, check this machine's clock."
    )


def _validity(certificate: Certificate, reason: str) -> str:
    if reason == "not-yet-valid":
        return f"is valid from {_day(certificate.not_before)} on"
    return f"expired on {_day(certificate.not_after)}"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _name(der: bytes) -> str:
    try:
        name = subject_names(der).readable_common_name or "(no common name)"
    except DerError:
        name = "(unreadable)"
    return visible(name, limit=_MAX_NAME)


def _changed(error: CertificateError, *, text: str = "", remedy: str) -> CertificateError:
    message = f"{error.message}: {text}" if text else error.message
    return CertificateError(message, reason=error.reason, remedy=remedy)
