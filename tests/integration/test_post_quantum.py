"""A post-quantum key exchange (X25519MLKEM768), from the socket to a bound session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls import Config
from babar_tls.backends import get_backend, offer_of

from .conftest import PASSWORD, major_version
from .drivers import BACKENDS, STYLES, connected

pytest.importorskip("cryptography")

from babar_tls.testing import CertificateAuthority, ScramServer

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import PostgresServer

GROUP = "X25519MLKEM768"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_post_quantum_group_is_selected_in_the_first_hello(
    backend: str, style: str, negotiation: str, tmp_path: Path
) -> None:
    SSL = pytest.importorskip("OpenSSL.SSL", reason="the server needs pyOpenSSL with OpenSSL 3.5")  # noqa: N806 - the name of pyOpenSSL's module
    if SSL.OPENSSL_VERSION_NUMBER < 0x30500000:
        pytest.skip("the OpenSSL of the server does not support ML-KEM")
    offer = offer_of(get_backend(backend))
    assert offer is not None
    if GROUP not in offer.groups:
        pytest.skip("this backend does not support ML-KEM")
    authority = CertificateAuthority()
    root = tmp_path / "root.crt"
    authority.write(root)
    with ScramServer({"app": "secret"}, authority.issue("localhost", "127.0.0.1"), tls_backend="openssl") as server:
        config = Config(
            host="localhost",
            hostaddr=server.host,
            port=server.port,
            user="app",
            password="secret",
            tls_backend=backend,
            tls_root_cert_path=str(root),
            tls_default_roots=False,
            tls_negotiation=negotiation,
            channel_binding="require",
        )
        with connected(config, style) as session:
            security = session.security
    assert security.group == GROUP
    assert security.channel_bound
    assert security.round_trips == (4 if negotiation == "direct" else 5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_postgresql_before_18_accepts_one_group(backend: str, tls_server: PostgresServer) -> None:
    """Up to 17 only the group of ssl_ecdh_curve is accepted, even if the server's OpenSSL supports others."""
    if major_version(tls_server) >= 18:
        pytest.skip("PostgreSQL 18 accepts a list of groups")
    with connected(tls_server.config(user="scram_role", password=PASSWORD, tls_backend=backend), "blocking") as session:
        assert session.security.group == "secp256r1"
