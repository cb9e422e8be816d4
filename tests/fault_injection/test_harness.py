"""The checks of this package detect wrong behavior of the library, and cannot pass without running."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls import AsyncSession, Closed, Error, TimeoutError
from babar_tls.protocol.scram import ScramClient

from . import connects, positions
from .conftest import VERSIONS
from .connects import HARMLESS, Trial, faults_found, record, run
from .faults import Fault, Strike
from .leftovers import connection_leftovers, remaining
from .servers import MessageServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls import Config
    from babar_tls.testing import ServerCertificate

    from .faults import Encounter


@pytest.fixture(scope="module")
def server(no_leaks_in_module: None) -> Iterator[MessageServer]:
    with MessageServer() as server:
        yield server


@pytest.fixture(scope="module")
def tls_server(certificate: ServerCertificate, no_leaks_in_module: None) -> Iterator[MessageServer]:
    with MessageServer(certificate, VERSIONS["TLSv1.3"]) as server:
        yield server


def _flips(recorded: Encounter, label: str, bit: int) -> list[Fault]:
    spans = [span for span in recorded.spans if span.label == label]
    return [Fault("flip", position, bit) for span in spans for position in range(span.start, span.stop)]


def test_client_that_accepts_any_server_signature_is_detected(
    server: MessageServer, plain: Config, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = plain.replace(port=server.port)
    flips = _flips(record(config, server.faults), "server signature", bit=5)
    assert len(flips) == 44
    assert not faults_found(run(config, style, server.faults, flips), config)
    monkeypatch.setattr(ScramClient, "receive_server_final", lambda _self, _message: None)
    found = faults_found(run(config, style, server.faults, flips), config)
    assert len(found) == len(flips)
    assert all(line.endswith("the session is ready") for line in found)


def test_session_without_channel_binding_is_detected(tls_server: MessageServer, bound: Config) -> None:
    config = bound.replace(port=tls_server.port)
    flips = _flips(record(config, tls_server.faults), "parameter value", bit=0)
    unbound = config.replace(channel_binding="disable")
    # Like an attacker, the server offers SCRAM-SHA-256 too and does not check the proof.
    found = faults_found(run(unbound, "blocking", tls_server.faults, flips), config)
    assert len(found) == len(flips)
    assert all("without auth_method, channel_bound, gs2_flag" in line for line in found)


def test_fault_that_does_not_happen_is_detected(server: MessageServer, plain: Config, style: str) -> None:
    config = plain.replace(port=server.port)
    after_the_end = Fault("flip", record(config, server.faults).sent)
    (found,) = faults_found(run(config, style, server.faults, [after_the_end]), config)
    assert "the fault did not happen" in found


@pytest.mark.parametrize(
    ("action", "change", "complaint"),
    [
        ("close", {"error": TimeoutError}, "waited for bytes after the end"),
        ("stall", {"error": Closed}, "not a timeout"),
        ("stall", {"seconds": 9.0}, "9.0 s, with a deadline of 0.3 s"),
    ],
)
def test_wrong_or_late_error_is_detected(plain: Config, action: str, change: dict[str, object], complaint: str) -> None:
    right = Trial(Fault(action, 0), Strike("server-first-message", b"r", b""), deadline=0.3, seconds=0.3)
    right = dataclasses.replace(right, error=Closed if action == "close" else TimeoutError)
    assert not faults_found([right], plain)
    (found,) = faults_found([dataclasses.replace(right, **change)], plain)
    assert complaint in found


def test_leaked_connection_is_detected(server: MessageServer) -> None:
    before = connection_leftovers()
    address = server.faults.expect(None).address, server.port
    with socket.socket() as never_connected, socket.create_connection(address) as connected:
        left = remaining(connection_leftovers, before, 0.1)
        for sock in (never_connected, connected):
            assert str(Path(f"/proc/self/fd/{sock.fileno()}").readlink()) in left
    assert not remaining(connection_leftovers, before, 10)


def test_garbage_collected_socket_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    socket.socket()
    gc.collect()
    assert reported == [ResourceWarning]  # pytest turns the warning into an error, and its hook fails the test


def test_leaked_thread_is_detected() -> None:
    before = connection_leftovers()
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    assert remaining(connection_leftovers, before, 0.1) == {thread}
    end.set()
    thread.join()
    assert not remaining(connection_leftovers, before, 10)


def test_leaked_task_is_detected(server: MessageServer, plain: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = []

    async def connect(_config: Config) -> None:
        tasks.append(asyncio.create_task(asyncio.sleep(600)))
        raise Error("refused")

    monkeypatch.setattr(AsyncSession, "connect", connect)
    monkeypatch.setattr(connects, "_TASK_TIMEOUT", 0.01)
    with pytest.raises(AssertionError):
        run(plain.replace(port=server.port), "asyncio", server.faults, [Fault("close", 0)])
    assert tasks[0].cancelled()


def test_long_form_inverts_three_bits_of_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "EXHAUSTIVE", True)
    monkeypatch.setattr(positions, "PARTS", range(8))
    total = 357
    tried = [
        fault for part in range(8) for fault in positions.plan("flip", total, [], name="any", part=part, sample=20)
    ]
    assert len(set(tried)) == 3 * total
    assert {fault.position for fault in tried} == set(range(total))
    assert {fault.position for fault in tried if fault.bit in (0, 7)} == set(range(total))


def test_empty_stream_is_refused() -> None:
    with pytest.raises(AssertionError):
        positions.plan("close", 0, [0, 1, 2], name="any", part=0, sample=3)


def test_harmless_pieces_are_sent(tls_server: MessageServer, bound: Config) -> None:
    recorded = record(bound.replace(port=tls_server.port), tls_server.faults)
    labels = {span.label for span in recorded.spans}
    assert labels >= HARMLESS - {"minor record version"}
