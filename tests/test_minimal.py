"""The whole path on the base install: no extra is needed for TLS, SCRAM-SHA-256-PLUS and a query.

The server here is scripted, on a real socket and real TLS, and authenticates with this library's own server side, so
that the test runs where neither PostgreSQL nor cryptography is installed.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, ChannelBinding, Config, Session
from babar_tls.cli import main
from babar_tls.crypto import scram_keys, tls_server_end_point
from babar_tls.protocol.scram import ScramServer
from babar_tls.testing import ScriptedServer

if TYPE_CHECKING:
    from babar_tls.testing import ScriptedPeer

DATA = Path(__file__).with_name("data")


class StaticCertificate:
    """A certificate from files, because making one needs cryptography."""

    certificate_pem = (DATA / "server.pem").read_bytes()

    def write(self, certificate_path: Path, key_path: Path) -> None:
        """Put the chain and the key where OpenSSL can load them."""
        certificate_path.write_bytes(self.certificate_pem)
        key_path.write_bytes((DATA / "server.key").read_bytes())


CERTIFICATE: Any = StaticCertificate()
SALT, ITERATIONS = b"sixteen bytes ok", 4096


def serve(peer: ScriptedPeer) -> None:
    """Be a PostgreSQL that knows one password and one query."""
    tls = peer.receive_startup() == struct.pack("!II", 8, 80877103)
    bindings = {}
    if tls:
        peer.send(b"S")
        peer.start_tls(CERTIFICATE)
        bindings = {"tls-server-end-point": tls_server_end_point(_der(CERTIFICATE.certificate_pem))}
        peer.receive_startup()
    server = ScramServer(scram_keys("pencil", SALT, ITERATIONS), SALT, ITERATIONS, channel_binding=bindings)
    peer.send_message(b"R", struct.pack("!I", 10) + b"".join(f"{m}\0".encode() for m in server.mechanisms) + b"\0")
    _, payload = peer.receive_message()
    mechanism, _, first = payload.partition(b"\0")
    peer.send_message(b"R", struct.pack("!I", 11) + server.server_first_message(mechanism.decode(), first[4:]))
    _, final = peer.receive_message()
    peer.send_message(b"R", struct.pack("!I", 12) + server.server_final_message(final))
    peer.send_message(b"R", struct.pack("!I", 0))
    peer.send_message(b"S", b"server_version\x0017.0\0")
    peer.send_message(b"Z", b"I")
    assert peer.receive_message() == (b"Q", b"select 1\0")
    peer.send_message(b"D", struct.pack("!Hi", 1, 1) + b"1")
    peer.send_message(b"C", b"SELECT 1\0")
    peer.send_message(b"Z", b"I")
    assert peer.receive_message() == (b"X", b"")


def _der(pem: bytes) -> bytes:
    import ssl

    return ssl.PEM_cert_to_DER_cert(
        pem.decode().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----"
    )


def _config(server: ScriptedServer, **overrides: Any) -> Config:
    return Config(
        host=server.host,
        port=server.port,
        user="anybody",
        password="pencil",
        tls_root_cert_path=str(DATA / "root.pem"),
        tls_default_roots=False,
        **overrides,
    )


@pytest.mark.parametrize("tls", [True, False])
def test_blocking(*, tls: bool) -> None:
    """A blocking session is bound over TLS, and authenticated both ways without."""
    binding = ChannelBinding.REQUIRE if tls else ChannelBinding.PREFER
    with ScriptedServer(serve) as server:
        config = _config(server, tls_mode="require" if tls else "disable", channel_binding=binding)
        with Session.connect(config) as session:
            assert session.query("select 1") == [("1",)]
            assert session.security.channel_bound is tls
            assert session.security.server_authenticated
            assert session.params["server_version"] == "17.0"
    assert not server.errors


def test_asyncio() -> None:
    """So is an asyncio one."""

    async def main(config: Config) -> str:
        async with await AsyncSession.connect(config) as session:
            assert await session.query("select 1") == [("1",)]
            return session.security.auth_method

    with ScriptedServer(serve) as server:
        assert asyncio.run(main(_config(server, channel_binding="require"))) == "scram-sha-256-plus"
    assert not server.errors


@pytest.mark.parametrize(
    "arguments", [["backends"], ["explain", "host=h user=u"], ["completion", "zsh"], ["man"], ["--help"]]
)
def test_command_line_prints_plain_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """No command needs rich for its output."""
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.delitem(sys.modules, "babar_tls.cli._rich", raising=False)
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out
    assert err == ""


def test_command_line_connects(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.delitem(sys.modules, "babar_tls.cli._rich", raising=False)
    monkeypatch.setenv("PGPASSWORD", "pencil")
    with ScriptedServer(serve) as server:
        conninfo = f"host={server.host} port={server.port} user=u sslmode=verify-full sslrootcert={DATA / 'root.pem'}"
        assert main(["connect", conninfo, "--query", "select 1"]) == 0
    out, err = capsys.readouterr()
    assert "bound with tls-server-end-point, sha256" in out
    assert err == ""
    assert not server.errors
