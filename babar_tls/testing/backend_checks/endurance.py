"""Checks of many connections: threads, forks, memory, and connections that are abandoned."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babar_tls.errors import CertificateError, Error
from babar_tls.testing._tls_contexts import server_context
from babar_tls.testing.backend_checks._check import NotApplicable, Trial, check, explain, raised
from babar_tls.testing.backend_checks._child import run_in_child
from babar_tls.testing.backend_checks._pair import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.backends import TlsStream
    from babar_tls.tls.connection import TlsConnection


_THREADS, _EACH = 8, 50
_CHILD_TIMEOUT = 20.0  # seconds
_MAX_GROWTH = 1024  # bytes a handshake
_SLACK = 2 << 20  # bytes; the allocator's own
_STATM = Path("/proc/self/statm")


@check()
def threads(trial: Trial) -> None:
    """Connections in several threads, with equal parameters, do not share names, certificates, data or failures."""
    problems: list[str] = []
    barrier = threading.Barrier(_THREADS, timeout=_CHILD_TIMEOUT)

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
                    assert name in str(error), f"the error is another connection's: {error}"
                    continue
                pair.handshake()
                assert pair.facts.peer_certificate == certificate.der, "peer_certificate is another connection's"
                assert pair.server_name == name, f"SNI is another connection's: {pair.server_name}"
                word = f"{index}/{turn}".encode()
                pair.client.write(word)
                assert pair.hear() == word, "data are another connection's"
        except Exception as exc:
            problems.append(f"thread {index}: {explain(exc)}")

    workers = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(_THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for problem in problems:
        trial.fail(problem)


@check()
def after_fork(trial: Trial) -> None:
    """A child process can make connections when its parent has made some, and so can the parent afterwards."""
    if not hasattr(os, "fork"):
        raise NotApplicable("this system has no fork")
    trial.pair().handshake()
    end = run_in_child(lambda: _use_several(trial), _CHILD_TIMEOUT)
    assert end.status == 0, f"the child's handshakes: {end.problem or f'exit status {end.status}'}"
    trial.pair().handshake()


def _use_several(trial: Trial) -> int:
    for _ in range(3):
        trial.pair().handshake()
    return 0


def _use(trial: Trial, turn: int) -> None:
    """Make a connection; one in ten is abandoned, and one in ten fails."""
    if turn % 10 == 7:
        stream = trial.connection()
        stream.do_handshake()
        stream.data_to_send()
    elif turn % 10 == 8:
        try:
            trial.pair("other.example.com").handshake()
        except Error:
            pass  # other checks examine it
    else:
        pair = trial.pair().handshake()
        pair.client.write(b"ping")
        pair.say(b"pong")
        pair.read(100)


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if _STATM.exists() else 0


@check(patience=0.01)
def memory(trial: Trial) -> None:
    """Many connections, good, failed and abandoned, leave no memory and no objects behind."""
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
    assert grown <= limit, f"{count} connections left {grown / count:.0f} bytes each"
    assert more <= count // 20 + 100, f"{count} connections left {more} Python objects"


@check()
def given_up(trial: Trial) -> None:
    """A stream is freed with the last reference to it, at any stage, and without an exception."""
    with _unraisable() as noticed:
        for stage in ("new", "begun", "finished", "failed"):
            stream = _at_stage(trial, stage)
            gc.collect()
            assert stream() is None, f"{stage}: there still is a reference to the stream"
    assert not noticed, f"freeing a stream raised: {'; '.join(noticed)}"


def _at_stage(trial: Trial, stage: str) -> weakref.ref[TlsStream]:
    if stage == "new":
        return weakref.ref(trial.connection()._stream)
    pair = trial.pair()
    if stage == "finished":
        pair.handshake()
        return weakref.ref(pair.client._stream)
    pair.client.do_handshake()
    if stage == "failed":
        pair.client.receive_data(b"\x15\3\3\0\2\2\x28")
        raised(Error, "handshake with a server that sends an alert", pair.client.do_handshake)
    return weakref.ref(pair.client._stream)


class _unraisable:  # noqa: N801 - a context manager
    """Note exceptions that cannot be caught (`sys.unraisablehook`)."""

    def __enter__(self) -> list[str]:
        self._noticed: list[str] = []
        self._before = sys.unraisablehook
        noticed = self._noticed
        sys.unraisablehook = lambda event: noticed.append(f"{type(event.exc_value).__name__}: {event.exc_value}")
        return noticed

    def __exit__(self, *_: object) -> None:
        gc.collect()
        sys.unraisablehook = self._before


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
    stream = trial.connection()
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
