"""Checks of many connections: threads, forks, memory, and connections that are abandoned."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babar_tls.errors import CertificateError, Error
from babar_tls.testing.backend_checks._check import ALERT_RECORD, NotApplicable, Trial, check, explain, raised, same
from babar_tls.testing.backend_checks._child_process import run_in_child
from babar_tls.testing.backend_checks._pair import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.tls.connection import TlsConnection


_THREADS, _EACH = 8, 50
_CHILD_TIMEOUT = 20.0  # seconds
_MAX_GROWTH = 1024  # bytes a handshake
_SLACK = 2 << 20  # bytes, for the allocator
_STATM = Path("/proc/self/statm")


@check()
def threads(trial: Trial) -> None:
    """Connections in several threads, with equal parameters, do not share names, certificates, data or failures."""
    problems: list[str] = []
    barrier = threading.Barrier(_THREADS, timeout=_CHILD_TIMEOUT)

    def work(index: int) -> None:
        name = f"t{index}.example.com"
        certificate = trial.fixtures.authority.issue(name)
        try:
            barrier.wait()
            for turn in range(_EACH):
                wrong = (turn + index) % 5 == 0
                pair = trial.pair(NAME if wrong else name, certificate=certificate)
                if wrong:
                    error = raised(CertificateError, "handshake with a server of another name", pair.handshake)
                    assert name in str(error), f"the error is another connection's: {error}"
                    continue
                pair.handshake()
                assert pair.facts.peer_certificate == certificate.der, "peer_certificate is another connection's"
                sent = pair.offer.server_name
                assert sent == name, f"SNI is another connection's: {sent}"
                word = f"{index}/{turn}".encode()
                pair.client.write(word)
                same(pair.server_read(), word, "the server received another connection's data:")
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
    """A child process can make connections after its parent has made some, and the parent can make more."""
    if not hasattr(os, "fork"):
        raise NotApplicable("fork is not available on this system")
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
        trial.pair_at("begun").client.data_to_send()
    elif turn % 10 == 8:
        try:
            trial.pair("other.example.com").handshake()
        except Error:
            pass  # other checks examine the error
    else:
        pair = trial.pair().handshake()
        pair.client.write(b"ping")
        pair.server_write(b"pong")
        pair.read(100)


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if _STATM.exists() else 0


@check(patience=0.01)
def memory(trial: Trial) -> None:
    """Many connections, complete, failed and abandoned, leave no memory and no objects behind."""
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


@check(cases={stage: stage for stage in ("new", "begun", "finished", "failed")})
def given_up(trial: Trial, stage: str) -> None:
    """A stream is freed with the last reference to it, at any stage, and without an exception."""
    with _noted_unraisable() as noted:
        stream = weakref.ref(trial.pair_at(stage).client._stream)
        gc.collect()
        assert stream() is None, "there still is a reference to the stream"
    assert not noted, f"freeing a stream raised: {'; '.join(noted)}"


@contextmanager
def _noted_unraisable() -> Iterator[list[str]]:
    """Collect the exceptions that cannot be caught (`sys.unraisablehook`)."""
    noted: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda event: noted.append(f"{type(event.exc_value).__name__}: {event.exc_value}")
    try:
        yield noted
    finally:
        gc.collect()
        sys.unraisablehook = before


_CALLS: dict[str, Callable[[TlsConnection], Any]] = {
    "do_handshake": lambda connection: connection.do_handshake(),
    "read_into": lambda connection: connection.read_into(memoryview(bytearray(10))),
    "write": lambda connection: connection.write(b"data"),
    "close_notify": lambda connection: connection.close_notify(),
    "receive_eof": lambda connection: connection.receive_eof(),
    "receive_data": lambda connection: connection.receive_data(ALERT_RECORD),
    "data_to_send": lambda connection: connection.data_to_send(),
}


@check()
def only_our_exceptions(trial: Trial) -> None:
    """Calls in any order, at any stage of a connection, raise errors of babar_tls and no others."""
    for first, second in itertools.product(_CALLS, _CALLS):
        for stage in ("new", "begun", "finished"):
            with trial.case(f"{first}, {second} on a {stage} stream"):
                connection = trial.pair_at(stage).client
                for call in (first, second, second):
                    try:
                        _CALLS[call](connection)
                    except Error:
                        pass
