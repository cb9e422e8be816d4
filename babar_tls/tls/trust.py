"""Select the trust anchors from the trusted certificates, for TLS libraries that do not check anchors.

webpki, the verifier of rustls, uses only the name, the key and the name constraints of an anchor. It would accept an
anchor that has expired, that is a server's certificate, or that is only for clients. OpenSSL applies the same checks to
the certificate at the end of a chain as to the others. With these rules for anchors the results are the same:

* A root is self-signed. An intermediate is an anchor if an anchor without name constraints has issued it, by name and
  key identifier, because webpki would not apply the constraints of its issuer. Its signature is not verified.
* An anchor is valid now. If it has an extended key usage, that contains serverAuth.
* An intermediate that is an anchor may sign certificates. A self-signed certificate that may not (CA:FALSE, a key usage
  without keyCertSign) authenticates only itself. `misused_anchor` checks that.

Only the TLS library verifies the chain that a server sends.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import CertificateError
from ..x509.certificate import Certificate, parse_certificate, public_key_info
from ..x509.der import DerError
from .chain_advice import KnownCertificate, anchor_fault, remedy_for_root
from .root_files import unusable_root_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..errors import ConfigError
    from .root_files import Roots


_FAILED = "SSL error: certificate verify failed"
_MOST = 3  # certificates in an error


class Anchors(NamedTuple):
    """The trust anchors at one time.

    Attributes:
        certificates: The anchors, roots first.
        valid_until: The time in seconds since 1970 after which the selection may change.
    """

    certificates: tuple[Certificate, ...]
    valid_until: float


class Trust:
    """The trusted certificates of a context, from which the anchors are selected.

    Args:
        certificates: The certificates of the root files and of the system's store.
    """

    def __init__(self, certificates: Iterable[KnownCertificate]) -> None:
        first: dict[bytes, KnownCertificate] = {}
        for one in certificates:
            first.setdefault(one.certificate.der, one)
        self._roots = [one for one in first.values() if one.certificate.is_self_signed]
        self._others = [one.certificate for one in first.values() if not one.certificate.is_self_signed]

    def anchors(self, now: float) -> Anchors:
        """Return the anchors at the time `now` (seconds since 1970)."""
        anchors = [one.certificate for one in self._roots if anchor_fault(one.certificate, now) is None]
        issuers = [one for one in anchors if one.may_sign and not one.has_name_constraints]
        waiting = [one for one in self._others if one.may_sign and anchor_fault(one, now) is None]
        while found := [one for one in waiting if any(map(one.may_be_issued_by, issuers))]:
            anchors += found
            waiting = [one for one in waiting if one not in found]
            issuers = [one for one in found if not one.has_name_constraints]
        return Anchors(tuple(anchors), self._valid_until(now))

    def _valid_until(self, now: float) -> float:
        known = (*(one.certificate for one in self._roots), *self._others)
        before = (math.nextafter(one.not_before, -math.inf) for one in known)
        changes = (*before, *(one.not_after for one in known))
        return min((moment for moment in changes if moment >= now), default=math.inf)

    def fault(self, now: float) -> CertificateError | None:
        """Return the error for roots that cannot be anchors now, with their files and dates, if there are no anchors.

        Raise it if the TLS library finds no issuer. It is not a `ConfigError`, and it is raised during the handshake,
        because OpenSSL also reports an expired root then: `sslmode=prefer` continues as in libpq, and the root may be
        replaced while the program runs.

        Returns:
            `None` if there are anchors, or if no root is at fault. The server's certificate then has no known issuer.
        """
        if self.anchors(now).certificates:
            return None
        faults = [(one, fault) for one in self._roots if (fault := anchor_fault(one.certificate, now))]
        if not faults:
            return None
        root, first = faults[0]
        shown = "; ".join(f"{one.describe()} {fault.detail}" for one, fault in faults[:_MOST])
        return CertificateError(
            f"{_FAILED}: {first.text}: {shown}", reason=first.reason, remedy=remedy_for_root(root, first.reason)
        )


def misused_anchor(anchors: Iterable[Certificate], chain: Sequence[bytes]) -> CertificateError | None:
    """Return the error if an anchor that may not sign is the named issuer of another certificate of the chain.

    webpki treats every anchor as a CA. Call this function after webpki has accepted a chain, and before data is sent.
    Otherwise the owner of a server with a trusted self-signed certificate could issue certificates for any name.

    Args:
        anchors: The anchors of the TLS library, or only those that may not sign.
        chain: The certificates that the server sent, in any order.
    """
    barred = [anchor for anchor in anchors if not anchor.may_sign]
    if not barred:
        return None
    known = {anchor.der for anchor in barred}
    try:
        issuers = {parse_certificate(der).issuer for der in chain if der not in known}
    except DerError:
        return CertificateError(f"{_FAILED}: the server sent a malformed certificate", reason="invalid")
    if issuers.isdisjoint(anchor.subject for anchor in barred):
        return None
    return CertificateError(
        f"{_FAILED}: invalid CA certificate",
        reason="invalid",
        remedy="The trusted certificate that is named as the issuer may not sign others (CA:FALSE, or a key usage "
        "without keyCertSign). Set tls_root_cert_path (sslrootcert) to a CA certificate.",
    )


def load_roots(roots: Roots, library: str) -> list[KnownCertificate]:
    """Parse the trusted certificates.

    A certificate with a malformed extension or time is omitted, so that one such certificate does not make a bundle
    unusable. OpenSSL loads it, but accepts no chain that ends with it.

    Args:
        roots: The contents of the files.
        library: The name of the TLS library, for errors.

    Raises:
        ConfigError: A certificate is damaged, or all certificates have a malformed extension or time, or a certificate
            has trust settings, which the TLS library cannot apply.
    """
    found: list[KnownCertificate] = []
    unusable: ConfigError | None = None
    for one in roots.without_trust_settings(library):
        try:
            found.append(KnownCertificate(parse_certificate(one.der), one.path, one.line))
        except DerError as exc:
            error = unusable_root_file(one.path, f"damaged certificate, line {one.line}")
            try:
                public_key_info(one.der)
            except DerError:
                raise error from exc
            unusable = unusable or error
    if unusable is not None and not found and not roots.system_store:
        raise unusable
    if roots.system_store:
        import ssl  # noqa: PLC0415 - only for the store of Windows

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        for der in context.get_ca_certs(binary_form=True):
            with suppress(DerError):
                found.append(KnownCertificate(parse_certificate(der), "the system's certificate store"))
    return found
