"""Contexts of the standard library's `ssl`."""

from __future__ import annotations

import ssl
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..modes import TlsVerify, TlsVersion
from ..tls.client_identity import load_identity
from ..tls.crl import revocation_lists, unusable_list, wants_revocation_lists
from ..tls.key_log import open_key_log
from ..tls.memory_files import file_of
from ..tls.pem_files import load_with_openssl
from ..tls.root_files import read_roots, unusable_root_file
from ..tls.suites import check_group, choice, only_group, unknown_cipher, unknown_group

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..tls.contract import ClientCertificate, TlsParameters
    from ..tls.root_files import Roots

__all__ = ["VERSIONS", "WATCHES_REQUESTS", "build_context", "was_requested"]

VERSIONS = {TlsVersion.TLSV1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLSV1_3: ssl.TLSVersion.TLSv1_3}

#: Python's own tests, and nobody else, are meant to see TLS messages; where that has gone, nobody is told.
WATCHES_REQUESTS = hasattr(ssl.SSLContext, "_msg_callback")

_CERTIFICATE_REQUEST = 13  # RFC 8446 §4
_ENGINE = "the stdlib backend"
#: OpenSSL's names of groups where they are not IANA's.
_OPENSSL_GROUPS = {"secp256r1": "prime256v1", "x25519": "X25519", "x448": "X448"}
_REQUESTED = "babar_tls_certificate_requested"


def build_context(parameters: TlsParameters) -> tuple[ssl.SSLContext, Roots]:
    """Make a context that does what `parameters` ask for, and return the roots in it.

    Raises:
        ConfigError: A file is missing or unusable, or `ssl` cannot do it.
    """
    verified = parameters.verify is not TlsVerify.NONE
    context = _os_context(parameters) if _os_roots(parameters) else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _choose_algorithms(context, parameters)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if parameters.alpn:
        context.set_alpn_protocols(list(parameters.alpn))
    context.check_hostname = False  # names are compared by `names`, as for every backend
    # OpenSSL applies a CA's name constraints to the common name only where that may be a name at all.
    context.hostname_checks_common_name = parameters.common_name
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    load = partial(_load, context)
    roots = read_roots(parameters)
    if roots.system_store and not parameters.os_roots:
        context.load_default_certs()
    load_with_openssl((*roots.certificates, *roots.lists), load, unusable_root_file)
    if wants_revocation_lists(parameters):
        load_with_openssl(revocation_lists(parameters), load, unusable_list)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if parameters.client_certificate is not None:
        _load_identity(context, parameters.client_certificate)
    if parameters.key_log_path is not None:
        with open_key_log(parameters.key_log_path) as path:
            context.keylog_filename = path
    if parameters.watch_certificate_request and WATCHES_REQUESTS:
        # truststore's context is a shell around the one that makes the connections.
        inner: Any = getattr(context, "_ctx", context)
        inner._msg_callback = _note_request
    if parameters.groups:
        check_group(parameters, _first_flight(context), _ENGINE)
    return context, roots


def _first_flight(context: ssl.SSLContext) -> bytes | None:
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="offer.invalid").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    except ssl.SSLError:
        return None  # no group can be used with these versions
    return None


def _choose_algorithms(context: ssl.SSLContext, parameters: TlsParameters) -> None:
    """Versions, cipher suites and key-exchange group."""
    chosen = choice(parameters)
    context.minimum_version = VERSIONS[chosen.min_version]
    if chosen.max_version is not None:
        context.maximum_version = VERSIONS[chosen.max_version]
    if chosen.tls12:
        _set_tls12_suites(context, parameters, chosen.tls12)
    if chosen.tls13:
        _set_tls13_suites(context, parameters, chosen.tls13)
    group = only_group(parameters, _ENGINE)
    if group is not None:
        try:
            context.set_ecdh_curve(_OPENSSL_GROUPS.get(group, group))
        except (ValueError, ssl.SSLError) as exc:
            raise unknown_group(parameters.groups[0], _ENGINE) from exc


def _set_tls12_suites(context: ssl.SSLContext, parameters: TlsParameters, names: Sequence[str]) -> None:
    try:
        context.set_ciphers(":".join(names))
    except ssl.SSLError as exc:
        raise unknown_cipher(parameters, names, _ENGINE) from exc
    found = {suite["name"] for suite in context.get_ciphers()}
    missing = [name for name in names if name not in found]
    if missing:  # OpenSSL passes over a name that it does not know, and takes one for a class of suites
        raise unknown_cipher(parameters, missing, _ENGINE)


def _set_tls13_suites(context: ssl.SSLContext, parameters: TlsParameters, names: Sequence[str]) -> None:
    choose: Callable[[str], None] | None = getattr(context, "set_ciphersuites", None)
    if choose is not None:
        try:
            choose(":".join(names))
        except ssl.SSLError as exc:
            raise unknown_cipher(parameters, names, _ENGINE) from exc
        return
    offered = {suite["name"] for suite in context.get_ciphers() if suite["protocol"] == "TLSv1.3"}
    if set(names) != offered:
        raise ConfigError(
            "this Python's ssl cannot choose among the cipher suites of TLS 1.3",
            remedy=f"Name all that it offers ({', '.join(sorted(offered))}) or none (tls_max_version=TLSv1.2), or use "
            "tls_backend='openssl'.",
        )


def was_requested(connection: ssl.SSLObject) -> bool:
    """Has the server of this connection asked for a certificate?"""
    return getattr(connection, _REQUESTED, False)


def _note_request(
    connection: ssl.SSLObject, direction: str, _version: object, _content: object, message: int, _data: bytes
) -> None:
    if direction == "read" and message == _CERTIFICATE_REQUEST:
        setattr(connection, _REQUESTED, True)


def _os_roots(parameters: TlsParameters) -> bool:
    return parameters.os_roots and parameters.default_roots and parameters.verify is not TlsVerify.NONE


def _os_context(parameters: TlsParameters) -> ssl.SSLContext:
    try:
        import truststore  # noqa: PLC0415 - optional
    except ImportError as exc:
        raise ConfigError(
            "the operating system's verifier needs the package truststore", remedy="pip install 'babar-tls[truststore]'"
        ) from exc
    if wants_revocation_lists(parameters) and sys.platform in ("win32", "darwin"):
        raise ConfigError(
            "the operating system's verifier would not look at the revocation lists",
            remedy="Leave out tls_os_roots, or tls_crl_path and tls_crl_dir.",
        )
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _load(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as exc:
        raise ValueError(getattr(exc, "reason", None) or str(exc)) from exc


def _load_identity(context: ssl.SSLContext, source: ClientCertificate) -> None:
    identity = load_identity(source)
    with file_of(identity.chain) as chain, file_of(identity.key) as key:
        try:
            # An empty password where none is needed: without any, OpenSSL might ask the terminal for one.
            context.load_cert_chain(chain, key, identity.password or b"")
        except (ssl.SSLError, OSError, ValueError) as exc:
            raise identity.unusable(getattr(exc, "reason", None) or "") from exc
