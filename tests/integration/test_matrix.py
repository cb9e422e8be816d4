"""Every combination of backend, style, mode, authentication, TLS version and server, on real servers.

What is expected is computed from the rules that the documentation gives, not looked up from a run.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import pytest

from babar_tls import (
    ChannelBinding,
    ChannelBindingError,
    ConfigError,
    Error,
    SecurityReport,
    TlsMode,
    TlsRefused,
    TlsVersion,
    UnsupportedAuth,
)

from .conftest import PASSWORD, major_version
from .drivers import BACKENDS, STYLES, connected

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer


class Login(NamedTuple):
    """A way to log in: the role, the channel binding policy, and the expected values of the report."""

    role: str
    channel_binding: ChannelBinding
    method: str
    gs2_flag: str | None


LOGINS = {
    "scram-plus": Login("scram_role", ChannelBinding.REQUIRE, "scram-sha-256-plus", "p"),
    "scram": Login("scram_role", ChannelBinding.DISABLE, "scram-sha-256", "n"),
    "md5": Login("md5_role", ChannelBinding.PREFER, "md5", None),
    "cleartext": Login("password_role", ChannelBinding.PREFER, "password", None),
    "trust": Login("trust_role", ChannelBinding.PREFER, "none", None),
}


def expected_failure(mode: TlsMode, login: Login, *, server_has_tls: bool) -> type[Error] | None:
    """Return the error that the rules require; None if the login must succeed."""
    encrypted = server_has_tls and mode is not TlsMode.DISABLE
    if login.channel_binding is ChannelBinding.REQUIRE and mode is TlsMode.DISABLE:
        return ConfigError  # already when the Config is created
    if mode is TlsMode.REQUIRE and not server_has_tls:
        return TlsRefused
    if login.channel_binding is ChannelBinding.REQUIRE and not encrypted:
        return ChannelBindingError
    if login.method == "password" and not encrypted:
        return UnsupportedAuth  # not sent without TLS
    return None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("mode", [TlsMode.DISABLE, TlsMode.PREFER, TlsMode.REQUIRE])
@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("version", list(TlsVersion))
@pytest.mark.parametrize("server_has_tls", [True, False], ids=["tls-server", "plain-server"])
def test_login_succeeds_only_as_the_rules_allow(
    tls_server: PostgresServer,
    plain_server: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    *,
    backend: str,
    style: str,
    mode: TlsMode,
    login: str,
    version: TlsVersion,
    server_has_tls: bool,
) -> None:
    """The report is compared with the server's views."""
    server = tls_server if server_has_tls else plain_server
    how = LOGINS[login]
    failure = expected_failure(mode, how, server_has_tls=server_has_tls)
    encrypted = server_has_tls and mode is not TlsMode.DISABLE
    authenticated_as = "coalesce(system_user, '')" if major_version(server) >= 16 else "null"

    def connect() -> tuple[SecurityReport, tuple[str | None, ...]]:
        config = server.config(
            user=how.role,
            password=PASSWORD,
            tls_mode=mode,
            tls_backend=backend,
            tls_min_version=version,
            tls_max_version=version,
            channel_binding=how.channel_binding,
            tls_root_cert_path=str(tls_server.root_cert_path),
            tls_default_roots=False,
        )
        with connected(config, style) as session:
            (row,) = session.query(
                f"select ssl, coalesce(version, ''), coalesce(cipher, ''), {authenticated_as} "
                "from pg_stat_ssl where pid = pg_backend_pid()"
            )
            assert session.params["server_version"].split()[0] == server.version
            return session.security, row

    if failure is not None:
        with pytest.raises(failure):
            connect()
        return
    with caplog.at_level(logging.WARNING, logger="babar_tls"):
        security, (server_ssl, server_tls_version, server_cipher, system_user) = connect()

    assert security.tls is encrypted
    assert server_ssl == ("t" if encrypted else "f")
    assert security.auth_method == how.method
    assert security.gs2_flag == how.gs2_flag
    assert security.channel_bound is (how.method == "scram-sha-256-plus")
    assert security.server_authenticated is how.method.startswith("scram")
    assert security.verified == ("full" if encrypted else "none")
    method = {"scram-sha-256-plus": "scram-sha-256", "none": "trust"}.get(how.method, how.method)
    if major_version(server) >= 16:
        assert system_user == ("" if method == "trust" else f"{method}:{how.role}")
    assert ("sending an md5 password digest" in caplog.text) is (how.method == "md5" and not encrypted)
    assert ("Nothing is encrypted" in caplog.text) is (not encrypted and mode is not TlsMode.DISABLE)
    if encrypted:
        assert security.backend == backend
        assert security.tls_version == server_tls_version == version.value
        assert security.cipher == server_cipher
        assert security.alpn == ("postgresql" if major_version(server) >= 17 else None)
        assert security.peer_certificate == tls_server.certificate.der
    else:
        assert security.backend is security.tls_version is security.peer_certificate is None
