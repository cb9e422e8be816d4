"""A server with TLS 1.2 may require the client certificate during the handshake, which only a connect presents."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")

from babar_tls import available_backends
from babar_tls.doctor import Cause, diagnose
from babar_tls.testing import CertificateAuthority, PeerDisconnected, ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import ScriptedPeer

_CA = CertificateAuthority()
_SERVER = _CA.issue("127.0.0.1")
_CLIENT = _CA.issue(common_name="app", san=False, usage="client")
_OTHER = CertificateAuthority().issue(common_name="app", san=False, usage="client")
_LOGIN = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\1\0\0\0\2Z\0\0\0\5I"


def reset_without_certificate(peer: ScriptedPeer) -> None:
    """Require a client certificate, and reset the connection if there is none."""
    options = {"maximum_version": ssl.TLSVersion.TLSv1_2, "client_ca_pem": _CA.certificate_pem}
    try:
        if peer.receive():
            peer.send(b"S")
            peer.start_tls(_SERVER, **options)
            if peer.receive():
                peer.send(_LOGIN)
                peer.receive()
    except (ssl.SSLError, PeerDisconnected, OSError):
        peer.reset()


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("works", [True, False])
def test_connect_decides_if_a_client_certificate_is_configured(backend: str, works: bool, tmp_path: Path) -> None:
    root, certificate, key = (tmp_path / name for name in ("root.crt", "client.crt", "client.key"))
    _CA.write(root)
    (_CLIENT if works else _OTHER).write(certificate, key)
    with ScriptedServer(reset_without_certificate) as server:
        conninfo = (
            f"host=127.0.0.1 port={server.port} user=app sslmode=verify-full sslrootcert={root} connect_timeout=2"
        )
        overrides = {
            "connect_timeout": 2.0,
            "tls_backend": backend,
            "tls_client_cert": str(certificate),
            "tls_client_key": str(key),
        }
        diagnosis = diagnose(conninfo, overrides=overrides, environ={})
    if works:
        assert diagnosis.fault is None
    else:
        assert diagnosis.fault is not None
        assert diagnosis.fault.cause in (Cause.OTHER, Cause.CLIENT_CERTIFICATE_REJECTED)
        stages = {stage.key: stage for stage in diagnosis.targets[0].stages}
        assert any(each.is_fault for each in stages["authentication-offer"].findings)
