"""Ctrl-C in a blocking connect or query closes the connection and raises KeyboardInterrupt."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from babar_tls import Closed, Config, Session
from babar_tls.testing import ScriptedServer

from .scripts import AUTHENTICATION_OK, Observer, log_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import ScriptedPeer, ServerCertificate


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def send_sigint(peer: ScriptedPeer, observer: Observer) -> None:
    """Send SIGINT to the main thread while the client waits."""
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    observer.watch(peer)
    timer.join()


def _at_once(_peer: ScriptedPeer, _certificate: ServerCertificate) -> None:
    pass


def _in_negotiation(peer: ScriptedPeer, _certificate: ServerCertificate) -> None:
    peer.receive_startup()


def _in_tls(peer: ScriptedPeer, _certificate: ServerCertificate) -> None:
    peer.receive_startup()
    peer.send(b"S")
    peer.receive_exactly(5)


def _in_authentication(peer: ScriptedPeer, certificate: ServerCertificate) -> None:
    peer.accept_tls(certificate)
    peer.receive_startup()


def _before_ready(peer: ScriptedPeer, certificate: ServerCertificate) -> None:
    _in_authentication(peer, certificate)
    peer.send_message(b"R", AUTHENTICATION_OK)


@pytest.mark.parametrize("reach", [_at_once, _in_negotiation, _in_tls, _in_authentication, _before_ready])
def test_ctrl_c_in_each_phase_of_a_connect_closes_the_socket(
    config: Config,
    backend: str,
    reach: Callable[[ScriptedPeer, ServerCertificate], None],
    certificate: ServerCertificate,
) -> None:
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        reach(peer, certificate)
        send_sigint(peer, observer)

    with ScriptedServer(script) as server:
        with pytest.raises(KeyboardInterrupt):
            Session.connect(config.replace(port=server.port, tls_backend=backend))
        observer.assert_disconnected()
        assert server.errors == []


@pytest.mark.parametrize("operation", ["query", "copy"])
def test_ctrl_c_in_a_query_or_copy_closes_the_session(
    config: Config, backend: str, operation: str, certificate: ServerCertificate
) -> None:
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.accept_tls(certificate)
        log_in(peer, certificate.der)
        peer.receive_message()
        send_sigint(peer, observer)

    with ScriptedServer(script) as server:
        session = Session.connect(config.replace(port=server.port, tls_backend=backend))
        with pytest.raises(KeyboardInterrupt):
            session.query("select 1") if operation == "query" else list(session.copy_to("copy t to stdout"))
        observer.assert_disconnected()
        assert session.closed
        with pytest.raises(Closed):
            session.query("select 1")
        session.close()


def test_exception_in_a_with_block_closes_the_session(config: Config, certificate: ServerCertificate) -> None:
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        log_in(peer, certificate.der)
        observer.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        with pytest.raises(SystemExit), Session.connect(config.replace(port=server.port)):
            raise SystemExit
        observer.assert_disconnected()
        assert observer.received == b"X\0\0\0\x04"
