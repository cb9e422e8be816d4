"""Nothing but TLS is sent to a server that is not verified as the configuration requires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")

from babar_tls import available_backends
from babar_tls.doctor import Cause, diagnose
from babar_tls.testing import CertificateAuthority, PeerDisconnected, ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import ScriptedPeer, ServerCertificate

_CA = CertificateAuthority()
_YESTERDAY = datetime.now(UTC) - timedelta(days=1)

#: By the cause: the certificate of the server, and parameters.
CASES: dict[Cause, tuple[ServerCertificate, str]] = {
    Cause.SELF_SIGNED: (_CA.issue("127.0.0.1", self_signed=True), ""),
    Cause.WRONG_NAME: (_CA.issue("db.example.com"), ""),
    Cause.LEAF_EXPIRED: (_CA.issue("127.0.0.1", not_after=_YESTERDAY), ""),
    Cause.CERTIFICATE_PINNED: (_CA.issue("127.0.0.1"), f"tls_pins=sha256:{'00' * 32}"),
}


class Recorder:
    """A server that records the plaintext that it receives inside TLS."""

    def __init__(self, certificate: ServerCertificate, **options: Any) -> None:
        self.received: list[bytes] = []
        self.server = ScriptedServer(self._record, tls=certificate, **options)

    def _record(self, peer: ScriptedPeer) -> None:
        try:
            while data := peer.receive():
                self.received.append(data)
        except PeerDisconnected:
            pass


def run(recorder: Recorder, root: Path, backend: str, more: str = "") -> tuple[Cause | None, bytes]:
    with recorder.server as server:
        conninfo = (
            f"host=127.0.0.1 port={server.port} user=app password=pencil sslmode=verify-full sslrootcert={root} {more}"
        )
        diagnosis = diagnose(conninfo, overrides={"tls_backend": backend, "connect_timeout": 2}, environ={})
    return (None if diagnosis.fault is None else diagnosis.fault.cause), b"".join(recorder.received)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root.crt"
    _CA.write(path)
    return path


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("cause", CASES)
def test_nothing_is_sent_to_an_unverified_server(cause: Cause, backend: str, root: Path) -> None:
    certificate, more = CASES[cause]
    assert run(Recorder(certificate), root, backend, more) == (cause, b"")


@pytest.mark.parametrize("backend", available_backends())
def test_startup_without_password_is_sent_to_a_verified_server(backend: str, root: Path) -> None:
    """The recorder would see a StartupMessage. The peer does not respond to it."""
    cause, received = run(Recorder(_CA.issue("127.0.0.1")), root, backend)
    assert cause is Cause.NO_RESPONSE
    assert b"user\0app\0" in received
    assert b"pencil" not in received
