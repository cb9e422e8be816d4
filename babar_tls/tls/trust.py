"""What is trusted, and what webpki, rustls's verifier, does not ask of a chain.

To webpki every certificate that it is given as a root ends a chain: an intermediate, a server's, one that has expired.
It looks at a root's name, key and name constraints and at nothing else, and at nobody's key usage. The rules here are
those of the other engines, OpenSSL's: a chain ends at a self-signed certificate; whoever signs may do so, roots
included; a self-signed server certificate is trusted where it is itself a root, and signs for nobody.

Signatures are webpki's part, and which of several paths it took it does not say. Who *could* be in the path is told by
names, and whoever could be must be without fault, so that no certificate that merely borrows a name hides another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..x509.certificate import Certificate, parse_certificate
from ..x509.der import DerError
from ..x509.names import subject_names
from .root_files import unusable_root_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from ..errors import CertificateError
    from .root_files import Roots

__all__ = ["Trust", "fault", "load_roots"]

# Codes of OpenSSL (x509_vfy.h).
NOT_YET_VALID, EXPIRED, PATH_LENGTH, PURPOSE, PERMITTED, EXCLUDED, INVALID_CA = 9, 10, 25, 26, 47, 48, 79
_INVALID = 1  # no code of OpenSSL's: the text is the caller's


class Trust:
    """The roots of a context.

    Args:
        certificates: What the files of roots hold.
    """

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        different = list({one.der: one for one in certificates}.values())
        self._roots = [one for one in different if one.is_self_signed]
        self._others = [one for one in different if not one.is_self_signed]

    def anchors(self, now: float) -> list[Certificate]:
        """What to give webpki as roots.

        Roots that have expired are not among them, except where there is no other: then whoever is verified with them
        is told that they have expired, by `fault`. An intermediate is one where a root of the same files has issued it:
        a server need not send what its clients have.
        """
        current = [root for root in self._roots if root.is_current(now)]
        if not current:
            return self._roots
        issuers, waiting = [root for root in current if root.may_sign], self._others
        while True:
            found = [other for other in waiting if other.is_current(now) and _follows(other, issuers)]
            if not found:
                return current
            current, issuers = current + found, found
            waiting = [other for other in waiting if other not in found]

    def until(self, now: float) -> float:
        """When `anchors` gives another answer at the earliest; seconds since 1970."""
        times = (time for root in (*self._roots, *self._others) for time in (root.not_before, root.not_after))
        return min((time for time in times if time >= now), default=float("inf"))


def fault(anchors: Sequence[Certificate], chain: Sequence[bytes], now: float, *, common_name: bool) -> int | None:
    """What OpenSSL has against a chain that webpki has accepted: its code, `None` for nothing.

    Args:
        anchors: What webpki was given.
        chain: What the server sent, its own certificate first.
        now: Seconds since 1970.
        common_name: The name may be found in the subject's common name, to which name constraints then apply.
    """
    try:
        leaf, *sent = map(parse_certificate, chain)
    except DerError:
        return _INVALID
    if not leaf.may_speak_tls:
        return PURPOSE
    if any(leaf.der == anchor.der for anchor in anchors):
        return None
    between = _above([leaf], [*sent, *(anchor for anchor in anchors if not anchor.is_self_signed)])
    path = [leaf, *between]
    issuers = {one.issuer for one in path}
    ends = [anchor for anchor in anchors if anchor.is_self_signed and anchor.subject in issuers]
    authorities = [*between, *ends]
    if not all(one.may_sign for one in authorities):
        return INVALID_CA
    if not all(one.serves for one in authorities):
        return PURPOSE
    if not all(_is_short_enough(one, path) for one in authorities):
        return PATH_LENGTH
    if common_name and not leaf.has_dns_names:
        found = _name_fault(leaf.der, authorities)
        if found is not None:
            return found
    return next((_time_fault(one, now) for one in ends if not one.is_current(now)), None)


def misused_anchor(anchors: Sequence[Certificate], chain: Sequence[bytes]) -> CertificateError | None:
    """Return None."""
    return None


def load_roots(roots: Roots) -> list[Certificate]:
    """Parse the certificates that are to be trusted.

    Raises:
        ConfigError: A certificate is damaged, or has trust settings, which rustls does not have.
    """
    found: list[Certificate] = []
    for one in roots.without_trust_settings("rustls"):
        try:
            found.append(parse_certificate(one.der))
        except ValueError as exc:
            raise unusable_root_file(one.path, f"damaged certificate, line {one.line}") from exc
    if roots.system_store:
        import ssl  # noqa: PLC0415 - only for the store of Windows

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        found += _readable(context.get_ca_certs(binary_form=True))
    return found


def _readable(certificates: Iterable[bytes]) -> Iterator[Certificate]:
    for der in certificates:
        try:
            yield parse_certificate(der)
        except DerError:
            continue


def _follows(other: Certificate, issuers: Iterable[Certificate]) -> bool:
    """May it stand for one of its issuers? Not where that is limited to some names: webpki would not know them."""
    return other.may_sign and any(
        other.may_be_issued_by(issuer) and not issuer.has_name_constraints for issuer in issuers
    )


def _above(start: Sequence[Certificate], others: Sequence[Certificate]) -> list[Certificate]:
    """Those of the others that may be above these in a path, by names."""
    found: list[Certificate] = []
    waiting, names = list(dict.fromkeys(others)), {one.issuer for one in start}
    while names:
        step = [one for one in waiting if one.subject in names and one not in start]
        waiting = [one for one in waiting if one not in step]
        found += step
        names = {one.issuer for one in step}
    return found


def _is_short_enough(authority: Certificate, path: Collection[Certificate]) -> bool:
    """RFC 5280 §4.2.1.9: how many authorities are below it, without those that certify themselves."""
    if authority.path_length is None:
        return True
    below: set[tuple[bytes, bytes]] = set()
    names = {authority.subject}
    while names:
        step = {
            (one.subject, one.key) for one in path if one.issuer in names and one.subject != one.issuer and one.may_sign
        } - below
        below |= step
        names = {subject for subject, _ in step}
    return len(below - {(authority.subject, authority.key)}) <= authority.path_length


def _name_fault(der: bytes, authorities: Iterable[Certificate]) -> int | None:
    """Whether there is an authority that may not sign for the common names; webpki looks at alternative names alone."""
    names = [name.lower().removeprefix(b"*.") for name in subject_names(der).common_names]
    for authority in authorities:
        for name in names:
            if b"." not in name or b" " in name:
                continue  # no host's
            if authority.permitted is not None and not _is_within(name, authority.permitted):
                return PERMITTED
            if _is_within(name, authority.excluded):
                return EXCLUDED
    return None


def _is_within(name: bytes, domains: Iterable[bytes]) -> bool:
    """RFC 5280 §4.2.1.10."""
    return any(not base or name == base or name.endswith(b"." + base.removeprefix(b".")) for base in domains)


def _time_fault(certificate: Certificate, now: float) -> int:
    return EXPIRED if certificate.not_after < now else NOT_YET_VALID
