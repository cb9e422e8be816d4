"""Ctrl-C in a blocking connect or query closes the connection and goes to whoever pressed it."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from babar_tls import Closed, Config, Session
from babar_tls.testing import ScriptedServer

from .scripts import AUTHENTICATION_OK, Seen, log_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import ScriptedPeer, ServerCertificate


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def press(peer: ScriptedPeer, seen: Seen) -> None:
    """Ctrl-C, as soon as the client waits; it is delivered to the main thread."""
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    seen.watch(peer)
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
def test_connect(
    config: Config,
    backend: str,
    reach: Callable[[ScriptedPeer, ServerCertificate], None],
    certificate: ServerCertificate,
) -> None:
    """Ctrl-C while connecting, in whatever phase, leaves no socket."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        reach(peer, certificate)
        press(peer, seen)

    with ScriptedServer(script) as server:
        with pytest.raises(KeyboardInterrupt):
            Session.connect(config.replace(port=server.port, tls_backend=backend))
        seen.assert_gone()
        assert server.errors == []


@pytest.mark.parametrize("operation", ["query", "copy"])
def test_query(config: Config, backend: str, operation: str, certificate: ServerCertificate) -> None:
    """Ctrl-C in a query or a copy closes the session, and it says so."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        peer.accept_tls(certificate)
        log_in(peer, certificate.der)
        peer.receive_message()
        press(peer, seen)

    with ScriptedServer(script) as server:
        session = Session.connect(config.replace(port=server.port, tls_backend=backend))
        with pytest.raises(KeyboardInterrupt):
            session.query("select 1") if operation == "query" else list(session.copy_to("copy t to stdout"))
        seen.assert_gone()
        assert session.closed
        with pytest.raises(Closed):
            session.query("select 1")
        session.close()


def test_system_exit_in_a_with_block(config: Config, certificate: ServerCertificate) -> None:
    """An exception of the caller's closes the session on its way."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        log_in(peer, certificate.der)
        seen.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        with pytest.raises(SystemExit), Session.connect(config.replace(port=server.port)):
            raise SystemExit
        seen.assert_gone()
        assert seen.heard == b"X\0\0\0\x04"
