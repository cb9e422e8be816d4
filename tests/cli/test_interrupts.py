"""Ctrl-C is raised once, at a safe point."""

from __future__ import annotations

import signal
import threading

import pytest

from babar_tls.cli._interrupts import Interrupts


@pytest.fixture(autouse=True)
def usual_handler() -> object:
    """Install the default handler of Python, and check that it is restored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_first_ctrl_c_interrupts_and_others_are_ignored() -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), interrupts:  # noqa: PT012 - it is what happens in it
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)


def test_deferred_ctrl_c_is_raised_once_by_check() -> None:
    with Interrupts() as interrupts:
        interrupts.defer()
        interrupts.check()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.check()


def test_deferred_ctrl_c_is_raised_at_the_end() -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), interrupts:  # noqa: PT012 - it is what happens in it
        interrupts.defer()
        signal.raise_signal(signal.SIGINT)


def test_deferred_ctrl_c_does_not_hide_an_exception() -> None:
    interrupts = Interrupts()
    with pytest.raises(LookupError), interrupts:  # noqa: PT012 - it is what happens in it
        interrupts.defer()
        signal.raise_signal(signal.SIGINT)
        raise LookupError


def test_other_handlers_are_kept() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        interrupts.check()
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN


def test_other_threads_are_not_affected() -> None:
    """Python runs signal handlers only in the main thread."""
    handlers = []

    def work() -> None:
        with Interrupts():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
