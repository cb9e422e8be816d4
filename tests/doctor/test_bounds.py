"""A diagnosis ends, whatever the peer does, and remembers only a bounded amount of what it sends."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.doctor import Cause, Diagnosis, diagnose
from babar_tls.testing import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer

DATA = Path(__file__).parents[1] / "data"
_TIMEOUT = 0.4  # seconds for each stage
_PATIENCE = 60  # seconds, after which a diagnosis is regarded as endless


class StaticCertificate:
    """A certificate from files, because making one needs cryptography."""

    def write(self, certificate_path: Path, key_path: Path) -> None:
        certificate_path.write_bytes((DATA / "server.pem").read_bytes())
        key_path.write_bytes((DATA / "server.key").read_bytes())


CERTIFICATE: Any = StaticCertificate()


def silent(peer: ScriptedPeer) -> None:
    """Receive everything, and send nothing."""
    while peer.receive():
        pass


def drip_tls(peer: ScriptedPeer) -> None:
    """Accept TLS, and then send a record that never ends."""
    peer.receive_startup()
    peer.send(b"S\x16\x03\x03\x40\x00"[:1])
    peer.receive()
    peer.send(b"\x16\x03\x03\x40\x00")
    while True:
        peer.drip(b"\2", delay=0.01)


def silent_after_startup(peer: ScriptedPeer) -> None:
    """Accept TLS and the StartupMessage, and send nothing."""
    peer.accept_tls(CERTIFICATE)
    silent(peer)


def flood_of_notices(peer: ScriptedPeer) -> None:
    peer.accept_tls(CERTIFICATE)
    peer.receive_startup()
    while True:
        peer.send_message(b"N", b"SNOTICE\0M" + b"x" * 500 + b"\0\0")


def many_mechanisms(peer: ScriptedPeer) -> None:
    peer.accept_tls(CERTIFICATE)
    peer.receive_startup()
    names = b"".join(b"MECHANISM-%d\0" % number for number in range(2000))
    peer.send_message(b"R", struct.pack("!I", 10) + names + b"\0")
    silent(peer)


def long_error(peer: ScriptedPeer) -> None:
    peer.accept_tls(CERTIFICATE)
    peer.receive_startup()
    peer.send_message(b"E", b"SFATAL\0CXX000\0M" + b"\x1b[31m" * 4000 + b"\0\0")


def run(script: Callable[[ScriptedPeer], None]) -> Diagnosis:
    """Diagnose a scripted server in another thread, and fail if that does not end."""
    found: list[Diagnosis] = []
    with ScriptedServer(script, timeout=_PATIENCE) as server:
        conninfo = f"host=127.0.0.1 port={server.port} user=app password=pencil sslmode=require"
        overrides = {"connect_timeout": _TIMEOUT}
        thread = threading.Thread(target=lambda: found.append(diagnose(conninfo, overrides=overrides, environ={})))
        thread.start()
        thread.join(_PATIENCE)
        assert not thread.is_alive()
    return found[0]


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (silent, Cause.SILENT_SERVICE),
        (drip_tls, Cause.NO_RESPONSE),
        (silent_after_startup, Cause.NO_RESPONSE),
        (flood_of_notices, Cause.PROTOCOL),
        (many_mechanisms, Cause.METHOD_REFUSED),
        (long_error, Cause.SERVER_REFUSED),
    ],
)
def test_diagnosis_of_a_hostile_peer_ends(script: Callable[[ScriptedPeer], None], cause: Cause) -> None:
    diagnosis = run(script)
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is cause
    document = str(diagnosis.as_dict())
    assert len(document) < 50_000
    assert "\x1b" not in document


def test_server_that_is_silent_after_the_login_ends_the_stage() -> None:
    def log_in(peer: ScriptedPeer) -> None:
        peer.accept_tls(CERTIFICATE)
        peer.receive_startup()
        peer.send_message(b"R", struct.pack("!I", 0))
        peer.send_message(b"Z", b"I")
        silent(peer)

    diagnosis = run(log_in)
    assert diagnosis.fault is None
    server = diagnosis.targets[0].stages[-1]
    assert any("did not answer in time" in text for text in server.observations)


def test_name_service_that_does_not_answer_ends_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def wait(*_: object, **__: object) -> list[object]:
        release.wait(_PATIENCE)
        return []

    monkeypatch.setattr("socket.getaddrinfo", wait)
    try:
        diagnosis = diagnose("host=db.example.com user=app", overrides={"connect_timeout": _TIMEOUT}, environ={})
    finally:
        release.set()
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.NAME_SERVICE


ANSWERS = [
    b"",
    b"\0",
    b"SS",
    b"E\0\0\0\x10SFATAL\0C\xff\xff\0\0",
    b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05Z",
    b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256",
    b"\x15\x03\x01\0\2\2\x46",
    b"\x16\x03\x03\0\x04\2\xff\xff\xff",
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("mode", ["require", "prefer", "disable", "require sslnegotiation=direct"])
def test_any_response_results_in_a_finding(answer: bytes, mode: str) -> None:
    """The peer sends the bytes in response to the first flight, and closes the connection."""

    def respond(peer: ScriptedPeer) -> None:
        peer.receive()
        peer.send(answer)

    with ScriptedServer(respond) as server:
        conninfo = f"host=127.0.0.1 port={server.port} user=app password=pencil sslmode={mode}"
        diagnosis = diagnose(conninfo, overrides={"connect_timeout": _TIMEOUT}, environ={})
    assert diagnosis.fault is not None


@pytest.mark.parametrize(
    "response",
    [b"D\x3f\xff\xff\xff", b"D\0\0\0\x0b\0\1\0\0\0\1x", b"\0\0\0\0\0", b"D\0\0\0\x04", b"Z\0\0\0\5I"],
    ids=["one long row", "many rows", "unknown type", "malformed row", "empty result"],
)
def test_memory_for_the_settings_of_the_server_is_bounded(response: bytes) -> None:
    """The server sends 64 MiB, which the peer could not send if the client stopped to read them."""
    sent: list[int] = []

    def answer(peer: ScriptedPeer) -> None:
        peer.accept_tls(CERTIFICATE)
        peer.receive_startup()
        peer.send_message(b"R", struct.pack("!I", 0))
        peer.send_message(b"Z", b"I")
        if not peer.receive().startswith(b"Q"):
            return
        sent.append(0)
        block = response * (65536 // len(response))
        peer.send(response)
        while sent[-1] < 1 << 26:
            peer.send(block)
            sent[-1] += len(block)

    diagnosis = run(answer)
    assert diagnosis.fault is None
    assert max(sent) < 1 << 24
    server = diagnosis.targets[0].stages[-1]
    assert len(server.observations) > 1


def test_result_is_no_response_if_no_stage_has_time() -> None:
    conninfo = "host=127.0.0.1 port=1 user=app"
    diagnosis = diagnose(conninfo, overrides={"connect_timeout": 1e-9}, environ={})
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.NO_RESPONSE


@pytest.mark.parametrize("addresses", [[], None])
def test_name_service_without_an_answer_is_a_fault(monkeypatch: pytest.MonkeyPatch, addresses: object) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: addresses)
    diagnosis = diagnose("host=db.example.com user=app", overrides={"connect_timeout": _TIMEOUT}, environ={})
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.UNKNOWN_HOST
