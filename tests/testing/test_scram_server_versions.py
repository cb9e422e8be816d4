"""`ScramServer` supports protocol 3.2, or negotiates version 3.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cryptography")

from babar_tls import Config, ConfigError, ProtocolError, Session
from babar_tls.net.blocking import BlockingConnection
from babar_tls.net.deadline import Meter
from babar_tls.net.establish import establish
from babar_tls.testing import CertificateAuthority, ScramServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(params=["3.0", "3.2"])
def supported(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def server(authority: CertificateAuthority, supported: Any) -> Iterator[ScramServer]:
    certificate = authority.issue("localhost", "127.0.0.1")
    with ScramServer({"app": "secret"}, certificate, max_protocol_version=supported) as running:
        yield running
        assert running.errors == []


@pytest.fixture
def config(server: ScramServer, authority: CertificateAuthority, tmp_path: Path) -> Config:
    root = tmp_path / "root.crt"
    root.write_bytes(authority.root_pem)
    return Config(host=server.host, port=server.port, user="app", password="secret", tls_root_cert_path=root)


@pytest.mark.parametrize("requested", ["3.0", "3.2"])
@pytest.mark.parametrize("channel_binding", ["prefer", "require"])
def test_newest_common_version_is_negotiated(
    config: Config, supported: str, requested: str, channel_binding: str
) -> None:
    config = config.replace(max_protocol_version=requested, channel_binding=channel_binding)
    result = establish(config, Meter(config.connect_timeout), BlockingConnection, startup=[("_pq_.option", "1")])
    with Session(config, result) as session:
        assert session.protocol_version == min(requested, supported)
        assert session.query("select 1") == [("1",)]
    assert result.established.unsupported_options == ("_pq_.option",)
    assert len(result.established.secret_key) == (32 if requested == supported == "3.2" else 4)


def test_minimum_version_refuses_an_older_server(config: Config, server: ScramServer, supported: str) -> None:
    config = config.replace(min_protocol_version="3.2", max_protocol_version="3.2")
    if supported == "3.2":
        Session.connect(config).close()
    else:
        with pytest.raises(ProtocolError, match=r"server only supports protocol version 3\.0"):
            Session.connect(config)


def test_unknown_version_is_refused(authority: CertificateAuthority) -> None:
    unknown: Any = "3.1"
    with pytest.raises(ConfigError, match=r"unknown protocol version: '3\.1'"):
        ScramServer({}, authority.issue("localhost"), max_protocol_version=unknown)
