"""Find the cause of an error: one table for all stages.

The table uses what does not depend on a language: the class of the error, its SQLSTATE, its reason, the TLS alert and
the number of the operating system. Texts are compared only where nothing else distinguishes two causes. The texts of a
server are in English only if its `lc_messages` is. Otherwise SQLSTATE 28000 results in the more general cause.
"""

from __future__ import annotations

import errno
import re
from typing import NamedTuple

from ..diagnostics.escaping import visible
from ..errors import (
    AuthError,
    BackendUnavailable,
    CertificateError,
    ChannelBindingError,
    ChannelBindingRefused,
    ChannelBindingUnsupported,
    ClientCertificateError,
    Closed,
    ConfigError,
    Error,
    InvalidPassword,
    IoError,
    PasswordMissing,
    PasswordUnavailable,
    ProtocolError,
    ServerError,
    ServerSignatureError,
    TargetSessionError,
    TimeoutError,
    TlsError,
    TlsRefused,
    Unreachable,
    UnsupportedAuth,
)
from .causes import Cause
from .diagnosis import Finding

_SHOWN = 2000  # characters of a text from a server

_OTHER_SERVICE = "this is the port of|does not speak TLS|invalid response to SSL negotiation"
_NO_CLIENT_CERTIFICATE = "certificate_required|no_certificate|handshake_failure"
_NO_COMMON_ALGORITHM = "handshake_failure|insufficient_security|missing_extension|unsupported_extension"
_NO_ALGORITHM = "no TLS parameters in common|no shared|no suitable|no cipher|wrong signature type|bad ecpoint"


class Rule(NamedTuple):
    """One line of the table.

    Attributes:
        kind: The class of the error.
        cause: The cause.
        detail: A pattern for all of the error's SQLSTATE, reason, alert or symbolic error number (``ECONNREFUSED``).
        text: A pattern for a part of its message.
        remedy: A pattern for a part of its remedy.
    """

    kind: type[Error]
    cause: Cause
    detail: str = ""
    text: str = ""
    remedy: str = ""


#: The first rule that matches is used.
RULES = (
    Rule(BackendUnavailable, Cause.BACKEND_MISSING),
    # Authentication. These precede ServerError, because some are subclasses of both.
    Rule(ChannelBindingRefused, Cause.BINDING_MISMATCH),
    Rule(ChannelBindingUnsupported, Cause.BINDING_IMPOSSIBLE),
    Rule(ChannelBindingError, Cause.BINDING_IMPOSSIBLE, text="SSL not in use"),
    Rule(ChannelBindingError, Cause.BINDING_NOT_OFFERED),
    Rule(PasswordMissing, Cause.PASSWORD_UNAVAILABLE),
    Rule(PasswordUnavailable, Cause.PASSWORD_UNAVAILABLE),
    Rule(InvalidPassword, Cause.CLIENT_CERTIFICATE_REJECTED, remedy="^The password is correct"),
    Rule(InvalidPassword, Cause.WRONG_PASSWORD),
    Rule(ServerError, Cause.CLIENT_CERTIFICATE_REQUIRED, "28.*", "valid client certificate"),
    Rule(ServerError, Cause.CLIENT_CERTIFICATE_REJECTED, "28.*", "[Cc]ertificate authentication failed"),
    Rule(ServerError, Cause.NO_HBA_ENTRY, "28.*", "pg_hba|host rejected"),
    Rule(ServerError, Cause.MISSING_ROLE, "28.*", "does not exist|not permitted to log in"),
    Rule(ServerError, Cause.WRONG_PASSWORD, "28.*", "(?:PAM|BSD|LDAP|RADIUS) authentication failed"),
    Rule(ServerError, Cause.SERVER_REFUSED, "28.*", "authentication failed"),  # peer, ident, GSSAPI, SSPI, OAuth
    Rule(ServerError, Cause.NO_HBA_ENTRY, "28000"),
    Rule(ServerError, Cause.WRONG_PASSWORD, "28P01"),
    Rule(ServerError, Cause.MISSING_DATABASE, "3D000"),
    Rule(ServerError, Cause.MISSING_DATABASE, "08P01", 'no such database|^database ".*" does not exist'),
    Rule(ServerError, Cause.TOO_MANY_CONNECTIONS, "53300"),
    Rule(ServerError, Cause.TOO_MANY_CONNECTIONS, "08P01", "no more connections"),
    Rule(ServerError, Cause.BINDING_IMPOSSIBLE, "08P01", "unsupported SCRAM channel-binding type"),
    Rule(ServerError, Cause.SERVER_STARTING, "57P0[123]"),
    Rule(ServerError, Cause.SERVER_REFUSED),
    Rule(ServerSignatureError, Cause.SERVER_NOT_PROVEN),
    Rule(UnsupportedAuth, Cause.MD5_FIPS, text="no MD5"),
    Rule(UnsupportedAuth, Cause.METHOD_REFUSED),
    Rule(AuthError, Cause.SERVER_NOT_PROVEN, text="before its SCRAM signature"),
    Rule(AuthError, Cause.METHOD_REFUSED, text="PBKDF2 iterations"),
    Rule(AuthError, Cause.OTHER),
    Rule(TargetSessionError, Cause.WRONG_SESSION),
    # TLS.
    Rule(TlsRefused, Cause.TLS_NOT_OFFERED),
    Rule(CertificateError, Cause.LEAF_EXPIRED, "expired"),  # `trust` finds the certificate that has expired
    Rule(CertificateError, Cause.NOT_YET_VALID, "not-yet-valid"),
    Rule(CertificateError, Cause.UNKNOWN_CA, "untrusted"),
    Rule(CertificateError, Cause.SELF_SIGNED, "self-signed"),
    Rule(CertificateError, Cause.WRONG_NAME, "hostname-mismatch"),
    Rule(CertificateError, Cause.COMMON_NAME_ONLY, "common-name-only"),
    Rule(CertificateError, Cause.CERTIFICATE_REVOKED, "revoked"),
    Rule(CertificateError, Cause.CRL_EXPIRED, "crl", "CRL has expired"),
    Rule(CertificateError, Cause.CRL_MISSING, "crl"),
    Rule(CertificateError, Cause.CERTIFICATE_PINNED, "pin-mismatch"),
    Rule(CertificateError, Cause.CERTIFICATE_INVALID),
    Rule(ClientCertificateError, Cause.INVALID_CONFIGURATION, text="did not request|without a valid SSL"),
    Rule(ClientCertificateError, Cause.CLIENT_CERTIFICATE_REQUIRED, _NO_CLIENT_CERTIFICATE),
    Rule(ClientCertificateError, Cause.CLIENT_CERTIFICATE_REVOKED, "certificate_revoked"),
    Rule(ClientCertificateError, Cause.CLIENT_CERTIFICATE_REJECTED),
    Rule(TlsError, Cause.OTHER_SERVICE, text=_OTHER_SERVICE),
    Rule(TlsError, Cause.TLS_VERSION, text="no TLS version in common"),
    Rule(TlsError, Cause.ALPN, text="ALPN"),
    Rule(TlsError, Cause.TLS_ALGORITHMS, _NO_COMMON_ALGORITHM),
    Rule(TlsError, Cause.TLS_ALGORITHMS, text=_NO_ALGORITHM),
    Rule(TlsError, Cause.TLS_FAILED),
    # Network.
    Rule(TimeoutError, Cause.PASSWORD_UNAVAILABLE, text="callable in password"),
    Rule(TimeoutError, Cause.NAME_SERVICE, text="looking up"),
    Rule(TimeoutError, Cause.SILENT_SERVICE, text="answer to SSLRequest"),
    Rule(TimeoutError, Cause.NO_RESPONSE),
    Rule(
        Unreachable, Cause.UNKNOWN_HOST, text="could not translate host name"
    ),  # `names` finds failures of the service
    Rule(Unreachable, Cause.CONNECTION_REFUSED, "ECONNREFUSED"),
    Rule(Unreachable, Cause.NO_RESPONSE, "ETIMEDOUT"),
    Rule(Unreachable, Cause.UNREACHABLE),
    Rule(Closed, Cause.OTHER),
    Rule(IoError, Cause.OTHER),
    Rule(ProtocolError, Cause.OTHER_SERVICE, text=_OTHER_SERVICE),
    Rule(ProtocolError, Cause.OTHER_SERVICE, remedy="^This is the port of"),
    Rule(ProtocolError, Cause.PLAIN_TEXT_INJECTED, text="unencrypted data after SSL response"),
    Rule(ProtocolError, Cause.PROTOCOL),
    # Files.
    Rule(ConfigError, Cause.ROOT_ENVIRONMENT, remedy="^The environment variable SSL_CERT"),
    Rule(ConfigError, Cause.NO_DEFAULT_ROOTS, text="no default trusted root"),
    Rule(ConfigError, Cause.ROOT_FILE, text="root certificate (?:file|directory)"),
    Rule(ConfigError, Cause.CRL_MISSING, text="certificate revocation list"),
    Rule(ConfigError, Cause.INVALID_CONFIGURATION),
)

#: The remedies for errors that have none.
_REMEDIES = {
    Cause.BINDING_IMPOSSIBLE: "Remove channel_binding_type: PostgreSQL supports only tls-server-end-point.",
    Cause.MISSING_DATABASE: "Check the database's name, or create it.",
    Cause.TOO_MANY_CONNECTIONS: "Close some connections, or raise max_connections (PgBouncer: max_client_conn).",
    Cause.SERVER_REFUSED: "See the server's log for the reason.",
    Cause.TLS_FAILED: "See the server's log for the reason.",
    Cause.TLS_ALGORITHMS: "Client and server need a cipher suite, a key-exchange group and a signature algorithm in "
    "common: ssl_ciphers and ssl_groups (ssl_ecdh_curve) on the server, tls_ciphers and tls_groups here. The key of "
    "the server's certificate must suit the cipher suite. See the server's log for the reason.",
    Cause.PROTOCOL: "Check that host and port are those of a PostgreSQL server, and whether a proxy changes messages.",
    Cause.OTHER: "See the server's log for the reason.",
}


def find_cause(error: Error) -> Cause:
    """Return the cause of an error."""
    detail = _detail(error)
    for rule in RULES:
        if (
            isinstance(error, rule.kind)
            and (not rule.detail or re.fullmatch(rule.detail, detail, re.DOTALL))
            and re.search(rule.text, error.message[:_SHOWN])
            and re.search(rule.remedy, error.remedy or "")
        ):
            return rule.cause
    return Cause.OTHER


def finding(error: Error, *, is_fault: bool = True, cause: Cause | None = None, remedy: str | None = None) -> Finding:
    """Return the finding for an error.

    Args:
        error: The error. Its remedy is used unless `remedy` is given.
        is_fault: See `Finding`.
        cause: The cause, if the stage knows it better than the table.
        remedy: How to fix it, if the stage has a better remedy than the error.
    """
    cause = find_cause(error) if cause is None else cause
    advice = remedy or error.remedy or _REMEDIES.get(cause)
    return Finding(
        cause=cause,
        is_fault=is_fault,
        text=describe(error),
        remedy=None if advice is None else visible(advice, limit=_SHOWN, keep_newlines=True),
    )


def describe(error: Error) -> str:
    """Return the message of an error, with the server's detail and hint, escaped and bounded."""
    texts = [error.message]
    if isinstance(error, ServerError):
        texts += [text for text in (error.detail, error.hint) if text]
    return visible(". ".join(texts), limit=_SHOWN)


def _detail(error: Error) -> str:
    if isinstance(error, ServerError):
        return error.code
    if isinstance(error, CertificateError):
        return error.reason
    if isinstance(error, TlsError):
        return error.alert or ""
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, "") if isinstance(number, int) else ""
