"""Decide which certificates of the caller's files become trust anchors, for TLS libraries whose anchors are bare keys.

webpki, the verifier of rustls, checks the name, the key and the name constraints of an anchor, and nothing else. An
anchor that has expired, that is a server's own certificate or that is for clients only would end a chain. OpenSSL
checks the certificate at the end of a chain like the others. The choice of the anchors gives the same verdicts here:

* A root is self-signed. An intermediate is an anchor if an anchor without name constraints has issued it, by name and
  key identifier: webpki would not apply the constraints of its issuer. Its signature is not verified.
* An anchor is valid now, and an extended key usage, if it has one, contains serverAuth.
* An intermediate that is an anchor may sign certificates. A self-signed certificate that may not (CA:FALSE, a key usage
  without keyCertSign) authenticates only itself; `misused_anchor` is the check for that.

The chain that a server sends is verified by the TLS library, and not walked here.
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
_MOST = 3  # certificates that an error names


class Anchors(NamedTuple):
    """The trust anchors at a moment.

    Attributes:
        certificates: The anchors, roots first.
        valid_until: The last moment, in seconds since 1970, for which these are the anchors for certain.
    """

    certificates: tuple[Certificate, ...]
    valid_until: float


class Trust:
    """The certificates that a context trusts, and which of them are anchors at a moment.

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
        """Return the anchors for connections that begin at this time (seconds since 1970)."""
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
        """Return the error if `anchors` is empty: the roots at fault, with file and date.

        Raise it where the TLS library finds no issuer. It is not a `ConfigError`, and not raised before the server has
        sent its certificate: with OpenSSL an expired root is found during the handshake too, `sslmode=prefer` then goes
        on as in libpq, and the root may be replaced while the program runs.

        Returns:
            `None` if there are anchors, or no root is at fault: then the server's certificate has no known issuer.
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
    """Return the error if an anchor that may not sign is named as the issuer of another certificate of the chain.

    To webpki every anchor is a CA. Call this with the chain that it has accepted before anything else is sent: without
    it, whoever has the key of a server whose self-signed certificate is trusted could issue certificates for any name.

    Args:
        anchors: What the TLS library was given, or those of them that may not sign.
        chain: What the server sent, in any order.
    """
    barred = [anchor for anchor in anchors if not anchor.may_sign]
    if not barred:
        return None
    known = {anchor.der for anchor in barred}
    try:
        issuers = {parse_certificate(der).issuer for der in chain if der not in known}
    except DerError:
        return CertificateError(
            f"{_FAILED}: the server's certificate, or one that it sent with it, cannot be read", reason="invalid"
        )
    if issuers.isdisjoint(anchor.subject for anchor in barred):
        return None
    return CertificateError(
        f"{_FAILED}: invalid CA certificate",
        reason="invalid",
        remedy="The trusted certificate that is named as the issuer may not sign others (CA:FALSE, or a key usage "
        "without keyCertSign). It authenticates only the server that presents it; trust the certificate of a CA.",
    )


def load_roots(roots: Roots, library: str) -> list[KnownCertificate]:
    """Parse the certificates that are to be trusted.

    One with a malformed extension or time is left out, because OpenSSL loads it with the others and accepts no chain
    that ends there. A bundle must not become unusable by it.

    Args:
        roots: What the files hold, and whether the system's store is used besides.
        library: The TLS library, for errors.

    Raises:
        ConfigError: A certificate is damaged, or there is none without a malformed extension or time, or one has trust
            settings, which the TLS library cannot apply.
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
