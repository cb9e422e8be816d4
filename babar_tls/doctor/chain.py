"""Stage ``chain``: the certificates that the server sent."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..diagnostics.escaping import visible
from ..x509.algorithm_names import key_name, signature_name
from ..x509.certificate import parse_certificate
from ..x509.der import DerError
from ..x509.names import COMMON_NAME, name_attributes, subject_names
from .causes import Cause
from .diagnosis import CertificateSummary

if TYPE_CHECKING:
    from ..x509.certificate import Certificate
    from .case import Case, Notes

_DAY = 86400.0  # seconds
_SOON = 14  # days
_LONGEST = 253  # characters of a name (RFC 1035 §2.3.4)
_MOST_NAMES, _MOST_CERTIFICATES = 200, 50
_SHOWN = 4  # names in an observation
#: The types of the other attributes of a name, by the contents of their identifiers (RFC 4514 §3).
_ATTRIBUTES = {
    b"\x55\x04\x06": "C",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
}


def read_chain(case: Case, notes: Notes) -> None:
    """Describe each certificate that the server sent."""
    now, chain = time.time(), case.require_handshake().peer_chain
    for position, der in enumerate(chain[:_MOST_CERTIFICATES]):
        summary = summarize(der, position, now)
        if summary is None:
            notes.observe(f"Certificate {position + 1} cannot be read.")
            continue
        case.certificates.append(summary)
        names = f" for {_listed(summary.names)}" if summary.names else ""
        until = f"{_date(summary.not_before)} to {_date(summary.not_after)}, {summary.time_left}"
        notes.observe(
            f"{summary.role}: {summary.subject}{names}, issued by {summary.issuer}, {summary.key}, "
            f"{summary.signature}, {until}, SHA-256 {summary.sha256}"
        )
        if summary.fault is None and summary.days_left < _SOON:
            remedy = "Renew the certificate, and reload the server (pg_ctl reload)."
            name, day = label(parse_certificate(der)), _date(summary.not_after)
            text = f'the {summary.role} certificate "{name}" expires on {day}'
            notes.warn(Cause.EXPIRES_SOON, text, remedy)
    if len(chain) > _MOST_CERTIFICATES:
        notes.observe(f"The server sent {len(chain) - _MOST_CERTIFICATES} other certificates.")


def summarize(der: bytes, position: int, now: float, origin: str = "sent") -> CertificateSummary | None:
    """Return the description of a certificate, `None` if it cannot be read.

    Args:
        der: The certificate.
        position: Its position among the certificates that the server sent, from 0.
        now: The time, in seconds since 1970.
        origin: See `CertificateSummary`.
    """
    try:
        certificate = parse_certificate(der)
        names = [visible(name, limit=_LONGEST) for name in subject_names(der).readable_alternative_names]
    except DerError:
        return None
    role = "root" if certificate.is_self_signed else "intermediate"
    return CertificateSummary(
        role="server" if position == 0 and origin == "sent" else role,
        origin=origin,
        subject=readable_name(certificate.subject),
        names=tuple(names[:_MOST_NAMES]),
        issuer=readable_name(certificate.issuer),
        key=key_name(der),
        signature=signature_name(der),
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        days_left=int((certificate.not_after - now) // _DAY),
        sha256=hashlib.sha256(der).hexdigest(),
        fault=validity_fault(certificate, now),
    )


def validity_fault(certificate: Certificate, now: float) -> str | None:
    """Return the reason why a certificate is not valid at the time `now`; `None` if it is."""
    if certificate.not_after < now:
        return f"expired on {_date(certificate.not_after)}"
    if certificate.not_before > now:
        return f"is not valid before {_date(certificate.not_before)}"
    return None


def readable_name(name: bytes) -> str:
    """Return the common name of a distinguished name (DER), or all of the name if it has none, escaped and bounded."""
    attributes = name_attributes(name)
    common = next((value for kind, value in attributes if kind == COMMON_NAME), None)
    whole = ", ".join(f"{_ATTRIBUTES.get(kind, kind.hex())}={value}" for kind, value in attributes)
    return visible(common if common is not None else whole or "(no name)", limit=_LONGEST)


def label(certificate: Certificate) -> str:
    """Return the common name of a certificate, its first alternative name if it has none, or else its subject."""
    try:
        names = subject_names(certificate.der)
    except DerError:
        return readable_name(certificate.subject)
    if names.common_names or not names.alternative_names:
        return readable_name(certificate.subject)
    return visible(next(iter(names.readable_alternative_names), "(no name)"), limit=_LONGEST)


def organisation(name: bytes) -> str | None:
    """Return the organisation (O) in a distinguished name, `None` if there is none."""
    return next((value for kind, value in name_attributes(name) if _ATTRIBUTES.get(kind) == "O"), None)


def _listed(names: tuple[str, ...]) -> str:
    others = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {others} others" if others > 0 else "")


def _date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
