"""Checks of many connections: threads, forks, memory, and connections that are given up."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babar_tls.backends import Capabilities, TlsBackend, TlsParameters
from babar_tls.errors import CertificateError, Error
from babar_tls.testing._wire import server_context
from babar_tls.testing.backend_checks._check import Failure, Trial, check, explain, needs, raised, require
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.tls.connection import TlsConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing.peers import ScriptedPeer

_THREADS, _EACH = 8, 50
_CHILD_PATIENCE = 20.0  # seconds
_MAX_GROWTH = 1024  # bytes a handshake
_SLACK = 2 << 20  # bytes; the allocator's own
_STATM = Path("/proc/self/statm")


@check()
def threads(trial: Trial) -> None:
    """Connections in several threads, with equal parameters, are not mixed up: names, certificates, data, failures."""
    problems: list[str] = []
    barrier = threading.Barrier(_THREADS, timeout=_CHILD_PATIENCE)

    def work(index: int) -> None:
        name = f"t{index}.example.com"
        certificate = trial.world.authority.issue(name)
        context = server_context(certificate)
        try:
            barrier.wait()
            for turn in range(_EACH):
                wrong = (turn + index) % 5 == 0
                pair = trial.pair(NAME if wrong else name, context=context)
                if wrong:
                    error = raised(CertificateError, "handshake with a server of another name", pair.handshake)
                    require(name in str(error), f"the error is another connection's: {error}")
                    continue
                pair.handshake()
                require(
                    pair.client.facts.peer_certificate == certificate.der, "peer_certificate is another connection's"
                )
                require(pair.server_name == name, f"SNI is another connection's: {pair.server_name}")
                word = f"{index}/{turn}".encode()
                pair.client.write(word)
                require(pair.hear() == word, "data are another connection's")
        except Exception as exc:
            problems.append(f"thread {index}: {explain(exc)}")

    workers = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(_THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    trial.problems += problems


@check()
def after_fork(trial: Trial) -> None:
    """A child process can make connections when its parent has made some, and the parent goes on."""
    needs(hasattr(os, "fork"), "this system has no fork")
    trial.pair().handshake()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are other threads: that is what is tried here
        child = os.fork()
    if not child:
        code = 1
        try:
            for _ in range(3):
                trial.pair().handshake()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + _CHILD_PATIENCE
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise Failure(f"the child's handshakes were not finished after {_CHILD_PATIENCE:g} s")
        time.sleep(0.01)
    require(status == 0, f"the child's handshakes failed (status {status})")
    trial.pair().handshake()


def _use(trial: Trial, turn: int) -> None:
    """A connection; one in ten is given up, and one in ten fails."""
    if turn % 10 == 7:
        stream = trial.wrap()
        stream.do_handshake()
        stream.data_to_send()
    elif turn % 10 == 8:
        try:
            trial.pair("other.example.com").handshake()
        except Error:
            pass  # what comes is others' business
    else:
        pair = trial.pair().handshake()
        pair.client.write(b"ping")
        pair.say(b"pong")
        pair.read(100)


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if _STATM.exists() else 0


@check(patience=0.01)
def memory(trial: Trial) -> None:
    """Many connections, good, failed and given up, leave no memory and no objects behind."""
    for turn in range(max(100, trial.handshakes // 10)):
        _use(trial, turn)
    gc.collect()
    resident, objects = _resident(), len(gc.get_objects())
    for turn in range(trial.handshakes):
        _use(trial, turn)
    gc.collect()
    grown, more = _resident() - resident, len(gc.get_objects()) - objects
    limit = trial.handshakes * _MAX_GROWTH + _SLACK
    count = trial.handshakes
    require(grown <= limit, f"{count} connections left {grown / count:.0f} bytes each")
    require(more <= count // 20 + 100, f"{count} connections left {more} Python objects")


@check()
def given_up(trial: Trial) -> None:
    """A stream that nobody holds is freed, at any stage, and frees itself without an exception."""
    with _unraisable() as noticed:
        for stage in ("new", "begun", "finished", "failed"):
            stream = _at_stage(trial, stage)
            gc.collect()
            require(stream() is None, f"{stage}: something still holds the stream after it was given up")
    require(not noticed, f"freeing a stream raised: {'; '.join(noticed)}")


def _at_stage(trial: Trial, stage: str) -> weakref.ref[TlsConnection]:
    if stage == "new":
        return weakref.ref(trial.wrap())
    pair = trial.pair()
    if stage == "finished":
        pair.handshake()
        return weakref.ref(pair.client)
    pair.client.do_handshake()
    if stage == "failed":
        pair.client.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        raised(Error, "handshake with a server that speaks HTTP", pair.client.do_handshake)
    return weakref.ref(pair.client)


class _unraisable:  # noqa: N801 - a context manager
    """Notes what is raised where nobody can catch it."""

    def __enter__(self) -> list[str]:
        self._noticed: list[str] = []
        self._before = sys.unraisablehook
        noticed = self._noticed
        sys.unraisablehook = lambda event: noticed.append(f"{type(event.exc_value).__name__}: {event.exc_value}")
        return noticed

    def __exit__(self, *_: object) -> None:
        gc.collect()
        sys.unraisablehook = self._before


class _Watched(TlsBackend):
    """The engine, with an eye on its streams."""

    name = "watched"

    def __init__(self, backend: TlsBackend) -> None:
        self._backend = backend
        self.streams: list[weakref.ref[TlsConnection]] = []

    def capabilities(self) -> Capabilities:
        return self._backend.capabilities

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsConnection:
        stream = TlsConnection(self._backend, parameters, server_hostname)
        self.streams.append(weakref.ref(stream))
        return stream


@check()
def cancelled(trial: Trial) -> None:
    """An asyncio task that is cancelled in the middle of the handshake leaves no stream and no exception behind."""
    from babar_tls import AsyncSession, Config  # noqa: PLC0415 - asyncio is slow to import
    from babar_tls.testing.peers import PeerDisconnected, ScriptedServer  # noqa: PLC0415

    begun = threading.Event()

    def stay_silent(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(b"S")
        peer.receive()
        begun.set()
        try:
            peer.receive()
        except PeerDisconnected:
            pass

    watched = _Watched(trial.backend)

    async def connect_and_cancel(port: int) -> None:
        config = Config(host="127.0.0.1", port=port, tls_backend=watched, tls_root_cert_path=trial.world.root_path)
        task = asyncio.create_task(AsyncSession.connect(config))
        while not begun.is_set() and not task.done():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.001)
        require(not task.done(), "the connect ended before it was cancelled")
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return
        raise Failure("the cancelled task ended without CancelledError")

    with _unraisable() as noticed, ScriptedServer(stay_silent) as server:
        asyncio.run(connect_and_cancel(server.port))
        gc.collect()
    require(watched.streams, "no stream was made")
    require(all(stream() is None for stream in watched.streams), "something still holds the stream")
    require(not noticed, f"it raised where nobody can catch it: {'; '.join(noticed)}")


@check()
def only_our_exceptions(trial: Trial) -> None:
    """Calls in any order, on a stream in any state, raise errors of babar_tls and nothing else."""
    calls = _calls()
    for first in calls:
        for second in calls:
            for state in ("new", "begun", "finished"):
                with trial.case(f"{first}, {second} on a {state} stream"):
                    stream = _stream_in(trial, state)
                    for call in (first, second, second):
                        try:
                            calls[call](stream)
                        except Error:
                            pass


def _stream_in(trial: Trial, state: str) -> TlsConnection:
    if state == "finished":
        return trial.pair().handshake().client
    stream = trial.wrap()
    if state == "begun":
        stream.do_handshake()
    return stream


def _calls() -> dict[str, Callable[[TlsConnection], Any]]:
    return {
        "do_handshake": lambda stream: stream.do_handshake(),
        "read_into": lambda stream: stream.read_into(memoryview(bytearray(10))),
        "write": lambda stream: stream.write(b"data"),
        "close_notify": lambda stream: stream.close_notify(),
        "receive_eof": lambda stream: stream.receive_eof(),
        "receive_data": lambda stream: stream.receive_data(b"\x15\3\3\0\2\2\x28"),
        "data_to_send": lambda stream: stream.data_to_send(),
    }
