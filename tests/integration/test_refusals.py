"""Refused and failed connects to real servers: error class, libpq's text, remedy."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import (
    AuthRefused,
    CertificateError,
    ChannelBindingError,
    ChannelBindingRefused,
    Config,
    ConfigError,
    Error,
    InvalidPassword,
    ServerError,
    TlsError,
    TlsRefused,
    Unreachable,
    UnsupportedAuth,
)
from babar_tls.testing import CertificateAuthority, TlsInterceptor

from .conftest import HBA, PASSWORD
from .drivers import BACKENDS, STYLES, connected

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

pytestmark = [pytest.mark.parametrize("style", STYLES), pytest.mark.parametrize("backend", BACKENDS)]


def refused(config: Config, backend: str, style: str, kind: type[Error], *texts: str) -> Any:
    """Connecting raises exactly `kind`, whose text has `texts`, names the server and ends in a remedy."""
    with pytest.raises(kind) as caught, connected(config.replace(tls_backend=backend), style):
        pass
    error = caught.value
    assert type(error) is kind
    assert error.endpoint is not None
    assert str(error).startswith(f"connection to {error.endpoint} failed: ")
    assert error.remedy
    assert PASSWORD not in str(error)
    for text in texts:
        assert text in str(error)
    return error


def test_wrong_password_is_invalid_password(tls_server: PostgresServer, backend: str, style: str) -> None:
    config = tls_server.config(user="scram_role", password="wrong")
    error = refused(config, backend, style, InvalidPassword, 'password authentication failed for user "scram_role"')
    assert error.code == "28P01"
    assert error.severity == "FATAL"
    assert isinstance(error, AuthRefused)
    assert isinstance(error, ServerError)


def test_missing_password_fails_before_anything_is_sent(tls_server: PostgresServer, backend: str, style: str) -> None:
    with (
        pytest.raises(Error, match="no password supplied"),
        connected(tls_server.config(user="scram_role", password=None, tls_backend=backend), style),
    ):
        pass


def test_role_without_hba_entry_is_refused(tls_server: PostgresServer, backend: str, style: str) -> None:
    error = refused(tls_server.config(user="missing"), backend, style, AuthRefused, "no pg_hba.conf entry")
    assert error.code == "28000"


def test_unknown_database_is_server_error(tls_server: PostgresServer, backend: str, style: str) -> None:
    error = refused(tls_server.config(database="missing"), backend, style, ServerError, "does not exist")
    assert error.code == "3D000"


def test_certificate_of_another_ca_is_untrusted(
    tls_server: PostgresServer, backend: str, style: str, tmp_path: Any
) -> None:
    CertificateAuthority().write(tmp_path / "other.pem")
    config = tls_server.config(tls_root_cert_path=str(tmp_path / "other.pem"))
    error = refused(config, backend, style, CertificateError, "certificate verify failed")
    assert error.reason == "untrusted"


def test_certificate_with_wrong_name_is_refused(tls_server: PostgresServer, backend: str, style: str) -> None:
    config = tls_server.config(tls_server_name="db.example.com")
    text = 'server certificate for "localhost" (and 2 other names) does not match host name "db.example.com"'
    error = refused(config, backend, style, CertificateError, text)
    assert error.reason == "hostname-mismatch"


def test_wrong_name_is_accepted_without_full_verification(tls_server: PostgresServer, backend: str, style: str) -> None:
    for verify, roots in (("ca", str(tls_server.root_cert_path)), ("none", None)):
        config = tls_server.config(
            tls_server_name="db.example.com", tls_verify=verify, tls_root_cert_path=roots, tls_backend=backend
        )
        with connected(config, style) as session:
            assert session.security.verified == verify


def test_missing_root_file_is_error_with_text_of_libpq(tls_server: PostgresServer, backend: str, style: str) -> None:
    config = tls_server.config(tls_root_cert_path="/nowhere/root.crt")
    refused(config, backend, style, ConfigError, 'root certificate file "/nowhere/root.crt" does not exist')


def test_server_without_tls_is_refused(plain_server: PostgresServer, backend: str, style: str) -> None:
    config = plain_server.config(tls_root_cert_path=None, tls_default_roots=True)
    refused(config, backend, style, TlsRefused, "server does not support SSL, but SSL was required", "sslmode=disable")


def test_disjoint_tls_versions_give_one_error(tls_server: PostgresServer, backend: str, style: str) -> None:
    """The client or the server may detect it."""
    tls_server.set_settings({"ssl_min_protocol_version": "TLSv1.3"})
    try:
        config = tls_server.config(tls_max_version="TLSv1.2")
        refused(config, backend, style, TlsError, "no TLS version in common")
    finally:
        tls_server.set_settings({"ssl_min_protocol_version": "TLSv1.2"})


def test_closed_port_is_unreachable(tls_server: PostgresServer, backend: str, style: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        config = tls_server.config(port=unused.getsockname()[1])
        refused(config, backend, style, Unreachable, "Connection refused", "Is the server running on that host")


def test_missing_unix_socket_is_unreachable(
    tls_server: PostgresServer, backend: str, style: str, tmp_path: Any
) -> None:
    config = tls_server.config(host=str(tmp_path))
    refused(config, backend, style, Unreachable, "server on socket", "No such file", "Is the server running locally")


def test_unresolvable_name_is_unreachable(tls_server: PostgresServer, backend: str, style: str) -> None:
    config = tls_server.config(host="no-such-host.invalid")
    refused(config, backend, style, Unreachable, 'could not translate host name "no-such-host.invalid" to address')


def test_cleartext_password_over_plain_tcp_needs_require_auth(
    plain_server: PostgresServer, backend: str, style: str
) -> None:
    config = plain_server.config(user="password_role", password=PASSWORD, tls_mode="disable")
    refused(config, backend, style, UnsupportedAuth, "cleartext password", "require_auth=password")
    with connected(config.replace(require_auth="password", tls_backend=backend), style) as session:
        assert session.security.auth_method == "password"


def test_method_outside_require_auth_is_refused(tls_server: PostgresServer, backend: str, style: str) -> None:
    for role, wanted in (("md5_role", "scram-sha-256"), ("trust_role", "!none"), ("scram_role", "md5,password")):
        config = tls_server.config(user=role, password=PASSWORD, require_auth=wanted)
        text = f'authentication method requirement "{wanted}" failed: '
        refused(config, backend, style, UnsupportedAuth, text)


def test_required_binding_refuses_methods_without_binding(tls_server: PostgresServer, backend: str, style: str) -> None:
    """Nothing secret is sent for md5, cleartext and trust."""
    for role, text in (
        ("md5_role", "channel binding required but not supported by server's authentication request"),
        ("password_role", "channel binding required but not supported by server's authentication request"),
        ("trust_role", "channel binding required, but server authenticated client without channel binding"),
    ):
        config = tls_server.config(user=role, password=PASSWORD, channel_binding="require")
        refused(config, backend, style, ChannelBindingError, text)


def test_man_in_the_middle_is_detected_only_by_the_binding(
    tls_server: PostgresServer, backend: str, style: str
) -> None:
    """The client trusts the attacker's certificate."""
    certificate = tls_server.ca.issue("localhost", "127.0.0.1")
    with TlsInterceptor(tls_server.host, tls_server.port, certificate) as interceptor:
        config = tls_server.config(port=interceptor.port)
        error = refused(config, backend, style, ChannelBindingRefused, "SCRAM channel binding check failed")
        assert error.code == "28000"
        with connected(config.replace(channel_binding="disable", tls_backend=backend), style) as session:
            session.query("select 'what the interceptor should not see'")
        assert b"what the interceptor should not see" in interceptor.seen


def test_removed_scram_plus_is_detected(tls_server: PostgresServer, backend: str, style: str) -> None:
    """With prefer the server detects it, with require the client."""
    certificate = tls_server.ca.issue("localhost", "127.0.0.1")
    with TlsInterceptor(tls_server.host, tls_server.port, certificate, strip_plus=True) as interceptor:
        config = tls_server.config(port=interceptor.port)
        refused(config, backend, style, ChannelBindingRefused, "SCRAM channel binding negotiation error")
        refused(
            config.replace(channel_binding="require"),
            backend,
            style,
            ChannelBindingError,
            "channel binding is required, but server did not offer an authentication method that supports",
        )


def test_sslmode_prefer_continues_in_plain_after_failed_verification(
    tls_server: PostgresServer, backend: str, style: str
) -> None:
    """As in libpq; `TlsMode.PREFER` does not."""
    authority = CertificateAuthority()
    other = tls_server.data_dir.parent / "other.pem"
    authority.write(other)
    conninfo = tls_server.conninfo(sslmode="prefer", sslrootcert=str(other))
    config = Config.from_conninfo(conninfo, tls_backend=backend)
    with connected(config, style) as session:
        assert not session.security.tls
    refused(config.replace(tls_fallback=False), backend, style, CertificateError, "certificate verify failed")


def test_sslmode_allow_uses_tls_only_if_plain_is_refused(tls_server: PostgresServer, backend: str, style: str) -> None:
    config = Config.from_conninfo(tls_server.conninfo(sslmode="allow", sslrootcert=None), tls_backend=backend)
    with connected(config, style) as session:
        assert not session.security.tls
    lines = ["hostssl all all all scram-sha-256"]
    tls_server.set_hba(lines)
    try:
        with connected(config, style) as session:
            assert session.security.tls
            assert session.security.verified == "none"
    finally:
        tls_server.set_hba(HBA)
