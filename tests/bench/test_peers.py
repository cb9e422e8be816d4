"""Channel binding in the other drivers, against a server that records the SASL mechanism of each login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.bench.client_spec import Spec
from babar_tls.bench.clients import Loop
from babar_tls.bench.peers import PEERS
from babar_tls.bench.server import strict_config

pytest.importorskip("cryptography")

from babar_tls.testing import CertificateAuthority, ScramServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STYLES = [(driver, style) for driver, peer in PEERS.items() for style in peer.styles]


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def loop(lasting_sockets: None) -> Iterator[Loop]:
    with Loop() as running:
        yield running


def log_in(loop: Loop, authority: CertificateAuthority, folder: Path, spec: Spec, **options: Any) -> ScramServer:
    """Log in with a driver to a server with these options, and return the server."""
    root = folder / "root.crt"
    root.write_bytes(authority.certificate_pem)
    user, password, database = "app/1", "p@ss:word?", "data base"
    with ScramServer({user: password}, authority.issue("localhost", "127.0.0.1"), **options) as server:
        config = strict_config(
            host="localhost",
            port=server.port,
            user=user,
            password=password,
            database=database,
            tls_root_cert_path=str(root),
        )
        try:
            client = PEERS[spec.driver].make(spec, config)
        except ImportError as exc:
            pytest.skip(str(exc))
        session = loop.run(client.open())
        loop.run(client.close(session))
    return server


@pytest.mark.parametrize(("driver", "style"), STYLES)
def test_channel_is_bound_when_the_server_offers_it(
    loop: Loop, authority: CertificateAuthority, tmp_path: Path, driver: str, style: str
) -> None:
    """`Peer.binds` is the mechanism that the driver chooses when the server offers both."""
    server = log_in(loop, authority, tmp_path, Spec(driver=driver, style=style))
    expected = "SCRAM-SHA-256-PLUS" if PEERS[driver].binds else "SCRAM-SHA-256"
    assert [login.mechanism for login in server.logins] == [expected]


@pytest.mark.parametrize(("driver", "style"), STYLES)
def test_server_without_channel_binding_is_refused_by_drivers_that_can_require_it(
    loop: Loop, authority: CertificateAuthority, tmp_path: Path, driver: str, style: str
) -> None:
    """`Peer.requires_binding` is whether the driver refuses a server that offers SCRAM-SHA-256 only."""
    spec, only_scram = Spec(driver=driver, style=style), ["SCRAM-SHA-256"]
    if PEERS[driver].requires_binding:
        with pytest.raises(Exception, match="channel binding"):  # each driver has its own exception
            log_in(loop, authority, tmp_path, spec, mechanisms=only_scram)
    else:
        server = log_in(loop, authority, tmp_path, spec, mechanisms=only_scram)
        assert [login.mechanism for login in server.logins] == ["SCRAM-SHA-256"]
