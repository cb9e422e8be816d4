"""Find the true cause of a rejected chain, by names, key identifiers and dates.

Only the TLS library decides about a chain. This module explains its decision, because the libraries report little, and
each reports something else for the same fault.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from ..tls.default_roots import DefaultRoots
from ..x509.authority import issuer_of_issuer, names_issuer_location
from ..x509.certificate import parse_certificate
from ..x509.der import DerError
from .causes import Cause
from .chain import label, organisation, readable_name, validity_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import CertificateError
    from ..tls.root_files import Roots
    from ..x509.certificate import Certificate

_MAX_PATH = 20  # certificates between the server's and its root
_CLOCK = "If it should be valid, check this machine's clock."


class Link(NamedTuple):
    """A certificate of the path, and its file or store; `None` if the server sent it."""

    certificate: Certificate
    origin: str | None = None


class Diagnosed(NamedTuple):
    """The true cause of a rejected chain, with the certificate at fault, if there is one, and its fault."""

    cause: Cause
    text: str
    remedy: str
    at_fault: Certificate | None = None
    fault: str = ""


def find_path(chain: Sequence[bytes], roots: Roots | None) -> list[Link]:
    """Return the server's certificate and its issuers, by name and key identifier, as far as they are known.

    The signatures are not verified. A certificate that is valid now is preferred, then one that the server sent.
    """
    sent = [Link(certificate) for certificate in _parsed(chain)]
    trusted = [] if roots is None else _trusted(roots)
    path, now = sent[:1], time.time()
    while path and len(path) < _MAX_PATH and not path[-1].certificate.is_self_signed:
        last = path[-1].certificate
        issuers = [one for one in (*trusted, *sent[1:]) if last.may_be_issued_by(one.certificate) and one not in path]
        if not issuers:
            break
        path.append(max(issuers, key=lambda one: one.certificate.is_current(now)))
    return path


def _trusted(roots: Roots) -> list[Link]:
    return [Link(certificate, one.path) for one in roots.certificates for certificate in _parsed((one.der,))]


def _parsed(chain: Sequence[bytes]) -> list[Certificate]:
    found = []
    for der in chain:
        try:
            found.append(parse_certificate(der))
        except DerError:
            continue
    return found


def true_cause(error: CertificateError, path: list[Link], roots: Roots | None) -> Diagnosed | None:
    """Return the true cause of a rejected chain, `None` if the error names it already."""
    if "signature failure" in error.message:
        return None if roots is None else _same_name(path, roots)
    now = time.time()
    if error.reason == "invalid" and "damaged" in error.message:  # rustls cannot read dates before 1970
        ancient = next((one for one in reversed(path) if one.certificate.not_after < 0), None)
        return None if ancient is None else _not_valid_now(ancient, path, now)
    if error.reason not in ("expired", "not-yet-valid", "untrusted", "self-signed"):
        return None
    invalid = next((one for one in reversed(path) if validity_fault(one.certificate, now)), None)
    leads_to_root = path[-1].origin is not None
    if invalid is not None and (leads_to_root or error.reason in ("expired", "not-yet-valid")):
        return _not_valid_now(invalid, path, now)
    if error.reason in ("expired", "not-yet-valid") or roots is None:
        return None
    return _no_path(path, roots)


def _not_valid_now(link: Link, path: list[Link], now: float) -> Diagnosed:
    certificate = link.certificate
    fault = validity_fault(certificate, now) or ""
    name = f'"{label(certificate)}"'
    if certificate.not_before > now:
        text = f"the certificate {name} {fault}"
        remedy = "Check this machine's clock. If it is right, the certificate was issued for a later time."
        return Diagnosed(Cause.NOT_YET_VALID, text, remedy, certificate, fault)
    if link is path[0]:
        remedy = f"The server needs a new certificate: renew it, and reload the server. {_CLOCK}"
        return Diagnosed(Cause.LEAF_EXPIRED, f"the server's certificate {name} {fault}", remedy, certificate, fault)
    if link.origin is not None and (certificate.is_self_signed or link is path[-1]):
        remedy = f'Replace it in "{link.origin}" by the current certificate of this CA. {_CLOCK}'
        text = f'the trusted CA certificate {name} in "{link.origin}" {fault}'
        return Diagnosed(Cause.ROOT_EXPIRED, text, remedy, certificate, fault)
    if certificate.is_self_signed:
        remedy = f"The CA has expired. The server needs a certificate from its current CA. {_CLOCK}"
        return Diagnosed(Cause.ROOT_EXPIRED, f"the CA certificate {name} {fault}", remedy, certificate, fault)
    remedy = f"The server sends it: replace it in the file of the server's certificate (ssl_cert_file). {_CLOCK}"
    text = f"the intermediate certificate {name} {fault}"
    return Diagnosed(Cause.INTERMEDIATE_EXPIRED, text, remedy, certificate, fault)


def _no_path(path: list[Link], roots: Roots) -> Diagnosed | None:
    """Return the cause if the chain does not lead to a trusted certificate."""
    leaf, last = path[0].certificate, path[-1].certificate
    sources = ", ".join(roots.report.sources) if roots.report is not None else ""
    trusted = f"The trusted certificates are from {sources}." if sources else ""
    if roots.report is not None and roots.report.anchors == 0 and DefaultRoots.from_environment() is not None:
        remedy = "Correct or unset the environment variable."
        return Diagnosed(Cause.ROOT_ENVIRONMENT, "SSL_CERT_FILE or SSL_CERT_DIR names no certificates", remedy)
    if path[-1].origin is not None:
        return None  # a trusted certificate has the name of the issuer: the library's error is more exact
    if leaf.is_self_signed:
        remedy = f"If this is the right server, set sslrootcert to its certificate. {trusted}"
        return Diagnosed(Cause.SELF_SIGNED, "the server's certificate is self-signed", remedy, leaf, "not trusted")
    if last.is_self_signed:
        text = f'the CA "{readable_name(last.subject)}", which the server sent, is not trusted'
        remedy = f"If it is the right CA, set sslrootcert to its certificate. {trusted}"
        return Diagnosed(Cause.UNKNOWN_CA, text, remedy, last, "not trusted")
    issuer = readable_name(last.issuer)
    other = _same_name(path, roots)
    if other is not None:
        return other
    if _has_hint(last, roots, is_alone=last is leaf):
        text = f'the certificate of "{issuer}", which issued "{label(last)}", is missing'
        remedy = (
            "The server must also send its intermediate certificates: append them to the file of its certificate "
            f"(ssl_cert_file), and reload it. Otherwise the CA is not trusted: set sslrootcert. {trusted}"
        )
        return Diagnosed(Cause.INTERMEDIATE_MISSING, text, remedy, last, "its issuer was not sent")
    text = f'the CA "{issuer}", which issued "{label(last)}", is not trusted'
    remedy = (
        f"Set sslrootcert to the certificate of this CA. {trusted} If the CA is an intermediate, the server must also "
        "send its certificate (append it to ssl_cert_file)."
    )
    return Diagnosed(Cause.UNKNOWN_CA, text, remedy, last, "its issuer is not trusted")


def _same_name(path: list[Link], roots: Roots) -> Diagnosed | None:
    """Return the cause if a trusted certificate has the name of the issuer and another key, otherwise `None`.

    If the certificates contain the identifier of the key, it decides. A wrong signature has another cause then.
    """
    ends_in_root = path[-1].origin is not None and len(path) > 1
    certificate = path[-2 if ends_in_root else -1].certificate
    trusted = next((one for one in _trusted(roots) if one.certificate.subject == certificate.issuer), None)
    if trusted is None or trusted.certificate.key_id == certificate.authority_key_id is not None:
        return None
    name = readable_name(trusted.certificate.subject)
    text = f'"{label(certificate)}" was issued by another CA than "{name}" in "{trusted.origin}"'
    remedy = (
        "The two CAs have the same name and different keys: the CA was probably created again. Set sslrootcert to the "
        "present certificate of the CA."
    )
    return Diagnosed(Cause.UNKNOWN_CA, text, remedy, certificate, "issued by a CA with another key")


def _has_hint(last: Certificate, roots: Roots, *, is_alone: bool) -> bool:
    """Return True if the missing issuer is probably an intermediate of a trusted CA.

    The issuer itself would prove it, and is missing. The certificate may name the issuer of its issuer. If the server
    sent no intermediate (`is_alone`), it may name a place from which the issuer can be obtained, or a trusted CA may
    belong to the same organisation. Otherwise the issuer is more likely a root: intermediates of public CAs name the
    place of their root's certificate.
    """
    trusted = [one.certificate.subject for one in _trusted(roots)]
    if issuer_of_issuer(last.der) in trusted:
        return True
    if not is_alone:
        return False
    name = organisation(last.issuer)
    return names_issuer_location(last.der) or (name is not None and name in map(organisation, trusted))
