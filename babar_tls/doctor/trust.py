"""Stage ``trust``: verify the chain with the selected backend."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from ..config.enums import TlsVerify
from ..diagnostics.counts import count
from ..errors import CertificateError, ClientCertificateError, ConfigError, Error
from ..net.deadline import Meter
from ..protocol.negotiation import Attempt, secure
from ..tls.root_files import read_roots
from .case import Skipped, run, unverified
from .causes import Cause
from .chain import summarize
from .chain_faults import find_path, true_cause
from .classify import describe
from .hostname import find_name_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Config
    from ..tls.root_files import Roots
    from ..x509.certificate import Certificate
    from .case import Case, Notes
    from .chain_faults import Link

_PIN_REMEDY = (
    "If the server's certificate was renewed, add its new fingerprint to tls_pins. Otherwise this is another server."
)


def verify_chain(case: Case, notes: Notes) -> None:
    """Verify the chain, without the host name, with the roots and revocation lists of the configuration."""
    chain = case.require_handshake().peer_chain
    if any(one.is_selected and one.problem is not None for one in case.handshakes):
        raise Skipped("the handshake with the selected backend has failed")
    verifies = case.config.tls_verify is not TlsVerify.NONE
    base = case.reached_config
    config = _verifying(base)
    parameters = config.tls_parameters
    roots = None
    if parameters.is_verified:
        try:
            roots = read_roots(parameters)
        except ConfigError as error:
            if verifies:
                notes.fail(error)
            else:
                notes.observe(f"The default roots cannot be read: {describe(error)}")
            return
        _observe_roots(roots, notes)
    path = find_path(chain, roots)
    try:
        facts = run(config, secure(config, Attempt.TLS), Meter(case.timeout))
    except ClientCertificateError:
        raise Skipped("the server requires the client certificate, which only the real connect presents") from None
    except CertificateError as error:
        if not verifies and not case.config.tls_pins:
            notes.observe(f"The chain would not be accepted by sslmode=verify-ca: {describe(error)}")
            return
        _add_root(case, path)
        if error.reason == "pin-mismatch" and _has_wrong_name(case, chain):
            # A connect verifies the name during the handshake, and the pins after it.
            notes.warn(Cause.CERTIFICATE_PINNED, describe(error), _PIN_REMEDY)
            return
        _explain(case, error, path, roots, notes)
        return
    except Error as error:
        notes.fail(error)
        return
    _add_root(case, path)
    case.facts = facts or case.facts
    if config.tls_pins:
        notes.observe("The certificate matches a pin.")
    if verifies:
        notes.observe(f"The {_backend_name(case)} backend accepts the chain.")
    elif not config.tls_pins:
        notes.observe("The chain would be accepted by sslmode=verify-ca; the configuration does not verify it.")


def _has_wrong_name(case: Case, chain: Sequence[bytes]) -> bool:
    """Return True if a connect fails because of the names in the server's certificate."""
    if case.config.tls_verify is not TlsVerify.FULL:
        return False
    try:
        return find_name_fault(case, chain[0]) is not None
    except ConfigError:
        return True


def _backend_name(case: Case) -> str:
    """Return the name of the selected backend."""
    return "selected" if case.backend is None else case.backend.name


def _verifying(config: Config) -> Config:
    """Return the configuration that verifies the chain only, and the pins.

    Without verification the default roots are tried, for information, unless there are pins: they need none.
    """
    base = unverified(config)
    if config.tls_verify is TlsVerify.NONE:
        return base.replace(tls_pins=config.tls_pins) if config.tls_pins else base.replace(tls_verify=TlsVerify.CA)
    return base.replace(
        tls_verify=TlsVerify.CA,
        tls_root_cert_path=config.tls_root_cert_path,
        tls_default_roots=config.tls_default_roots,
        tls_os_roots=config.tls_os_roots,
        tls_crl_path=config.tls_crl_path,
        tls_crl_dir=config.tls_crl_dir,
        tls_pins=config.tls_pins,
    )


def _observe_roots(roots: Roots, notes: Notes) -> None:
    if roots.report is not None:
        anchors = roots.report.anchors
        number = "" if anchors is None else f" ({count(anchors, 'certificate')})"
        notes.observe(f"Trusted certificates: {', '.join(roots.report.sources) or 'none'}{number}")


def _add_root(case: Case, path: list[Link]) -> None:
    """Add the trusted certificates of the path to those that the server sent."""
    known = {one.sha256 for one in case.certificates}
    for link in path:
        if link.origin is not None:
            summary = summarize(link.certificate.der, len(case.certificates), time.time(), link.origin)
            if summary is not None and summary.sha256 not in known:
                case.certificates.append(summary)


def _explain(case: Case, error: CertificateError, path: list[Link], roots: Roots | None, notes: Notes) -> None:
    found = true_cause(error, path, roots) if path else None
    if found is None:
        notes.fail(error, remedy=_PIN_REMEDY if error.reason == "pin-mismatch" else None)
        return
    notes.observe(f"The {_backend_name(case)} backend reports: {describe(error)}")
    notes.fault(found.cause, found.text, found.remedy)
    if found.at_fault is not None:
        _mark(case, found.at_fault, found.fault)


def _mark(case: Case, certificate: Certificate, fault: str) -> None:
    summary = summarize(certificate.der, 0, time.time())
    if summary is not None:
        case.certificates[:] = [
            dataclasses.replace(one, fault=one.fault or fault) if one.sha256 == summary.sha256 else one
            for one in case.certificates
        ]
