"""Each way in which a real server, or its absence, says no: the class, libpq's text, and a remedy."""

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


def test_wrong_password(tls_server: PostgresServer, backend: str, style: str) -> None:
    """A wrong password is an AuthError that is a ServerError with 28P01."""
    config = tls_server.config(user="scram_role", password="wrong")
    error = refused(config, backend, style, InvalidPassword, 'password authentication failed for user "scram_role"')
    assert error.code == "28P01"
    assert error.severity == "FATAL"
    assert isinstance(error, AuthRefused)
    assert isinstance(error, ServerError)


def test_no_password(tls_server: PostgresServer, backend: str, style: str) -> None:
    """No password at all is said before anything is sent."""
    with (
        pytest.raises(Error, match="no password supplied"),
        connected(tls_server.config(user="scram_role", password=None, tls_backend=backend), style),
    ):
        pass


def test_unknown_role(tls_server: PostgresServer, backend: str, style: str) -> None:
    """A role without a line in pg_hba.conf is refused by class 28."""
    error = refused(tls_server.config(user="missing"), backend, style, AuthRefused, "no pg_hba.conf entry")
    assert error.code == "28000"


def test_unknown_database(tls_server: PostgresServer, backend: str, style: str) -> None:
    """An unknown database is the server's error 3D000."""
    error = refused(tls_server.config(database="missing"), backend, style, ServerError, "does not exist")
    assert error.code == "3D000"


def test_untrusted_certificate(tls_server: PostgresServer, backend: str, style: str, tmp_path: Any) -> None:
    """A certificate of another authority is untrusted."""
    CertificateAuthority().write(tmp_path / "other.pem")
    config = tls_server.config(tls_root_cert_path=str(tmp_path / "other.pem"))
    error = refused(config, backend, style, CertificateError, "certificate verify failed")
    assert error.reason == "untrusted"


def test_wrong_name(tls_server: PostgresServer, backend: str, style: str) -> None:
    """A certificate of another name is refused in libpq's words."""
    config = tls_server.config(tls_server_name="db.example.com")
    text = 'server certificate for "localhost" (and 2 other names) does not match host name "db.example.com"'
    error = refused(config, backend, style, CertificateError, text)
    assert error.reason == "hostname-mismatch"


def test_wrong_name_is_no_matter_to_verify_ca(tls_server: PostgresServer, backend: str, style: str) -> None:
    """TlsVerify.CA accepts any name of the authority, TlsVerify.NONE any certificate."""
    for verify, roots in (("ca", str(tls_server.root_cert_path)), ("none", None)):
        config = tls_server.config(
            tls_server_name="db.example.com", tls_verify=verify, tls_root_cert_path=roots, tls_backend=backend
        )
        with connected(config, style) as session:
            assert session.security.verified == verify


def test_missing_root_file(tls_server: PostgresServer, backend: str, style: str) -> None:
    """A root file that is not there is said so in libpq's words."""
    config = tls_server.config(tls_root_cert_path="/nowhere/root.crt")
    refused(config, backend, style, ConfigError, 'root certificate file "/nowhere/root.crt" does not exist')


def test_server_without_tls(plain_server: PostgresServer, backend: str, style: str) -> None:
    """A server without TLS, where TLS is demanded."""
    config = plain_server.config(tls_root_cert_path=None, tls_default_roots=True)
    refused(config, backend, style, TlsRefused, "server does not support SSL, but SSL was required", "sslmode=disable")


def test_no_version_in_common(tls_server: PostgresServer, backend: str, style: str) -> None:
    """Versions that do not overlap give one error, whichever side noticed."""
    tls_server.set_settings({"ssl_min_protocol_version": "TLSv1.3"})
    try:
        config = tls_server.config(tls_max_version="TLSv1.2")
        refused(config, backend, style, TlsError, "no TLS version in common")
    finally:
        tls_server.set_settings({"ssl_min_protocol_version": "TLSv1.2"})


def test_nothing_listening(tls_server: PostgresServer, backend: str, style: str) -> None:
    """A closed port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        config = tls_server.config(port=unused.getsockname()[1])
        refused(config, backend, style, Unreachable, "Connection refused", "Is the server running on that host")


def test_no_socket_file(tls_server: PostgresServer, backend: str, style: str, tmp_path: Any) -> None:
    """A Unix-domain socket that is not there."""
    config = tls_server.config(host=str(tmp_path))
    refused(config, backend, style, Unreachable, "server on socket", "No such file", "Is the server running locally")


def test_a_name_that_does_not_resolve(tls_server: PostgresServer, backend: str, style: str) -> None:
    """A host name without an address."""
    config = tls_server.config(host="no-such-host.invalid")
    refused(config, backend, style, Unreachable, 'could not translate host name "no-such-host.invalid" to address')


def test_cleartext_over_plain_tcp(plain_server: PostgresServer, backend: str, style: str) -> None:
    """A cleartext password is not given to whoever asks, unless `require_auth` names it."""
    config = plain_server.config(user="password_role", password=PASSWORD, tls_mode="disable")
    refused(config, backend, style, UnsupportedAuth, "cleartext password", "require_auth=password")
    with connected(config.replace(require_auth="password", tls_backend=backend), style) as session:
        assert session.security.auth_method == "password"


def test_require_auth(tls_server: PostgresServer, backend: str, style: str) -> None:
    """`require_auth` refuses what it does not name, in libpq's words."""
    for role, wanted in (("md5_role", "scram-sha-256"), ("trust_role", "!none"), ("scram_role", "md5,password")):
        config = tls_server.config(user=role, password=PASSWORD, require_auth=wanted)
        text = f'authentication method requirement "{wanted}" failed: '
        refused(config, backend, style, UnsupportedAuth, text)


def test_binding_required_of_a_method_that_has_none(tls_server: PostgresServer, backend: str, style: str) -> None:
    """channel_binding=require refuses md5, cleartext and trust before anything secret is sent."""
    for role, text in (
        ("md5_role", "channel binding required but not supported by server's authentication request"),
        ("password_role", "channel binding required but not supported by server's authentication request"),
        ("trust_role", "channel binding required, but server authenticated client without channel binding"),
    ):
        config = tls_server.config(user=role, password=PASSWORD, channel_binding="require")
        refused(config, backend, style, ChannelBindingError, text)


def test_a_man_in_the_middle(tls_server: PostgresServer, backend: str, style: str) -> None:
    """Somebody with a certificate that we trust is caught by the binding, and reads everything without it."""
    certificate = tls_server.ca.issue("localhost", "127.0.0.1")
    with TlsInterceptor(tls_server.host, tls_server.port, certificate) as interceptor:
        config = tls_server.config(port=interceptor.port)
        error = refused(config, backend, style, ChannelBindingRefused, "SCRAM channel binding check failed")
        assert error.code == "28000"
        with connected(config.replace(channel_binding="disable", tls_backend=backend), style) as session:
            session.query("select 'what the interceptor should not see'")
        assert b"what the interceptor should not see" in interceptor.seen


def test_a_man_in_the_middle_who_hides_the_binding(tls_server: PostgresServer, backend: str, style: str) -> None:
    """Hiding SCRAM-SHA-256-PLUS is noticed: by the server under prefer, by us under require."""
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


def test_libpq_prefer_goes_on_in_plain(tls_server: PostgresServer, backend: str, style: str) -> None:
    """sslmode=prefer with a certificate that does not verify goes on without TLS, as libpq does; PREFER does not."""
    authority = CertificateAuthority()
    other = tls_server.data_dir.parent / "other.pem"
    authority.write(other)
    conninfo = tls_server.conninfo(sslmode="prefer", sslrootcert=str(other))
    config = Config.from_conninfo(conninfo, tls_backend=backend)
    with connected(config, style) as session:
        assert not session.security.tls
    refused(config.replace(tls_fallback=False), backend, style, CertificateError, "certificate verify failed")


def test_libpq_allow_goes_on_in_tls(tls_server: PostgresServer, backend: str, style: str) -> None:
    """sslmode=allow is plain where the server lets us in, and TLS where it does not."""
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
