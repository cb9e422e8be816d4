"""Stage ``hostname``: compare the names in the server's certificate with the name that is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.enums import TlsVerify
from ..errors import ConfigError
from ..protocol.negotiation import server_name
from ..x509.der import DerError
from ..x509.hostname import as_address, name_fault
from ..x509.names import subject_names
from .causes import Cause
from .classify import describe, find_cause

if TYPE_CHECKING:
    from ..errors import CertificateError
    from .case import Case, Notes


def compare_names(case: Case, notes: Notes) -> None:
    """Compare the names, even if the chain is not trusted."""
    leaf = case.require_handshake().peer_certificate
    try:
        wanted = server_name(case.config)
        error = find_name_fault(case, leaf)
    except ConfigError as invalid:
        notes.fail(invalid)
        return
    if error is None:
        notes.observe(f"The certificate is for {wanted}.")
        return
    if case.config.tls_verify is not TlsVerify.FULL:
        notes.observe(f"The name is not verified by this configuration: {describe(error)}")
        return
    cause = find_cause(error)
    if cause is Cause.WRONG_NAME:
        notes.fail(error, cause, _remedy(leaf, wanted, case))
    elif cause is Cause.COMMON_NAME_ONLY and name_fault(leaf, wanted) is None:
        other = "Issue a certificate with a subjectAltName. Until then, tls_backend=stdlib compares the common name."
        notes.fail(error, cause, other)
    else:
        notes.fail(error, cause)


def find_name_fault(case: Case, leaf: bytes) -> CertificateError | None:
    """Return the error of the selected backend for the names in a certificate, `None` if one of them matches.

    Raises:
        ConfigError: The name to verify cannot be in a certificate.
    """
    common_name = case.config.tls_common_name and (case.backend is None or case.backend.capabilities.common_names)
    return name_fault(leaf, server_name(case.config), common_name=common_name)


def _remedy(leaf: bytes, wanted: str, case: Case) -> str:
    """Return the remedy, with a name of the certificate that can be verified instead of the host."""
    name = _usable_name(leaf)
    if name is None:
        return "The server needs a certificate with a subjectAltName for the name with which clients connect."
    is_tunnel = as_address(wanted) is not None or wanted == "localhost" or wanted.endswith(".localhost")
    setting = f"tls_server_name={name}"
    if case.config.tls_server_name is not None:
        host = case.config.host
        if host and name_fault(leaf, host) is None:
            return f"Remove tls_server_name (--server-name): the certificate is for {host}."
        return f"If the server is {name}, set {setting} (--server-name). Otherwise this is another server."
    if is_tunnel:
        return (
            f"If this is a tunnel to {name}, or its address, set {setting}: this name is then verified instead of the "
            "host. Otherwise this is another server."
        )
    return (
        f"Connect with host={name}. If {wanted} is another name of the same server, set {setting}, or issue a "
        f"certificate for {wanted}."
    )


def _usable_name(leaf: bytes) -> str | None:
    """Return the first name of a certificate that is a host name and not a pattern, else the first address."""
    try:
        names = subject_names(leaf)
    except DerError:
        return None
    readable = names.readable_alternative_names or list(filter(None, [names.readable_common_name]))
    printable = [name for name in readable if name.isascii() and name.isprintable() and " " not in name]
    hosts = [name for name in printable if as_address(name) is None]
    exact = [name for name in hosts if not name.startswith("*")]
    return next(iter([*exact, *(name.replace("*", "HOST", 1) for name in hosts), *printable]), None)
