"""Ctrl-C comes once, and where it is safe."""

from __future__ import annotations

import signal
import threading

import pytest

from babar_tls.cli._interrupts import Interrupts


@pytest.fixture(autouse=True)
def usual_handler() -> object:
    """Ctrl-C is what Python makes of it, before and after."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_at_once() -> None:
    """The first Ctrl-C interrupts, and those that come while that is being dealt with do nothing."""
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), interrupts:  # noqa: PT012 - it is what happens in it
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)


def test_deferred() -> None:
    """Once deferred, Ctrl-C waits for the next check, and is raised once."""
    with Interrupts() as interrupts:
        interrupts.defer()
        interrupts.check()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.check()


def test_deferred_to_the_end() -> None:
    """A Ctrl-C that no check has seen is raised at the end."""
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), interrupts:  # noqa: PT012 - it is what happens in it
        interrupts.defer()
        signal.raise_signal(signal.SIGINT)


def test_failures_are_not_hidden() -> None:
    """A failure is not hidden by a Ctrl-C that was waiting."""
    interrupts = Interrupts()
    with pytest.raises(LookupError), interrupts:  # noqa: PT012 - it is what happens in it
        interrupts.defer()
        signal.raise_signal(signal.SIGINT)
        raise LookupError


def test_other_handlers_are_left_alone() -> None:
    """Where Ctrl-C has another meaning, or is ignored, it keeps it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        interrupts.check()
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN


def test_other_threads() -> None:
    """Outside the main thread, where Python has no signal handlers, it does nothing and does not fail."""
    handlers = []

    def work() -> None:
        with Interrupts():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
