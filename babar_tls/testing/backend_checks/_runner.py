"""Runs the checks, each in a process of its own with a time limit, so that one that hangs is reported and ended."""

from __future__ import annotations

import faulthandler
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from babar_tls.backends import TlsBackend, get_backend
from babar_tls.errors import BackendUnavailable
from babar_tls.testing.backend_checks._check import CHECKS, Check, NotApplicable, Trial, explain
from babar_tls.testing.backend_checks._child import run_in_child
from babar_tls.testing.backend_checks._report import BackendCheckError, BackendReport, CheckOutcome, CheckResult
from babar_tls.testing.backend_checks._world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


_TIMEOUT = 60.0  # seconds a check
#: How a check's process ends. A backend that ends the process by itself ends it with another status.
_STATUS = {CheckOutcome.PASSED: 40, CheckOutcome.FAILED: 41, CheckOutcome.NOT_APPLICABLE: 42}


def check_backend(
    backend: str | TlsBackend | type[TlsBackend],
    *,
    handshakes: int = 10_000,
    only: Collection[str] | None = None,
    progress: Callable[[CheckResult], object] | None = None,
    raising: bool = True,
    timeout: float = _TIMEOUT,
) -> BackendReport:
    """Check that a TLS backend keeps the contract of `babar_tls.tls.contract`, and does what it states that it can.

    All checks run, whatever fails, unless the backend is incomplete (``contract.complete``). They need no PostgreSQL
    and no network. Each runs in a fork of this process. Where there is no fork (Windows) all run in this one, and a
    check that hangs ends it, after printing where it hangs.

    Args:
        backend: The backend, its class, or its name.
        handshakes: How many to make for the check of memory.
        only: Names of checks (``closing.truncation``) or subjects (``closing``) to run. Default: all.
        progress: Called with each result as it comes.
        raising: Raise an exception if a check fails; with `False` look at the report.
        timeout: How long one check may take, in seconds. The check of memory may take more: a hundredth of that for
            each handshake.

    Returns:
        What was found.

    Raises:
        BackendCheckError: A check has failed. It is an `AssertionError`, and lists all failures.
        BackendUnavailable: The backend is unknown, or what it needs is not installed.
        RuntimeError: Python was started with -O, which removes assert statements.
        ValueError: `only` names a check that does not exist, or a number is not positive.
    """
    if not __debug__:
        raise RuntimeError("check_backend consists of assert statements, which python -O removes: run it without -O")
    if handshakes < 1 or timeout <= 0:
        raise ValueError("handshakes and timeout must be positive")
    chosen = _chosen(only)
    instance, problem = _instance(backend)
    results = []
    with tempfile.TemporaryDirectory(prefix="babar-tls-", ignore_cleanup_errors=True) as folder:
        if instance is None:
            essential = next(check for check in CHECKS if check.is_essential)
            found: Iterator[CheckResult] = iter([_result(essential, CheckOutcome.FAILED, problem)])
        else:
            found = _run_all(chosen, instance, World(Path(folder)), handshakes, timeout)
        for result in found:
            results.append(result)
            if progress is not None:
                progress(result)
    name = _attribute(instance, "name") or (backend if isinstance(backend, str) else _class_name(backend))
    version = _attribute(_attribute(instance, "capabilities"), "version") or ""
    report = BackendReport(str(name), str(version), tuple(results))
    if raising and not report.passed:
        raise BackendCheckError(report)
    return report


def _attribute(thing: object, name: str) -> object:
    """Return an attribute for the report; None if it cannot be read, which ``contract.complete`` reports."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def _class_name(backend: object) -> str:
    return backend.__name__ if isinstance(backend, type) else type(backend).__name__


def _instance(backend: object) -> tuple[TlsBackend | None, str]:
    """Return the backend, or what is wrong with its class."""
    try:
        instance = backend() if isinstance(backend, type) else backend
        if isinstance(instance, str):
            instance = get_backend(instance)
    except BackendUnavailable as exc:
        if not isinstance(exc.__cause__, TypeError):
            raise
        return None, f"the backend cannot be created: {exc.__cause__}"
    except Exception as exc:
        return None, f"the backend cannot be created: {type(exc).__name__}: {exc}"
    if isinstance(instance, TlsBackend):
        return instance, ""
    return None, f"{_class_name(instance)} is not a subclass of babar_tls.TlsBackend"


def _chosen(only: Collection[str] | None) -> list[Check]:
    if only is None:
        return list(CHECKS)
    if isinstance(only, str):
        only = [only]
    known = {check.name for check in CHECKS} | {check.name.partition(".")[0] for check in CHECKS}
    unknown = sorted(set(only) - known)
    if unknown:
        raise ValueError(f"no such checks: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [check for check in CHECKS if check.name in only or check.name.partition(".")[0] in only]


def _run_all(
    chosen: list[Check], backend: TlsBackend, world: World, handshakes: int, timeout: float
) -> Iterator[CheckResult]:
    """Yield the results. Essential checks are always run; they are reported if they were chosen or fail."""
    world.prepare()
    run = _run_in_child if hasattr(os, "fork") else _run_here
    for check in CHECKS:
        if check not in chosen and not check.is_essential:
            continue
        limit = timeout * (1 + check.patience * handshakes)
        notes = world.folder / f"notes-{check.name}"
        began = time.perf_counter()
        with notes.open("a", buffering=1, encoding="utf-8") as file:
            outcome, end = run(check, Trial(backend, world, handshakes, file), limit)
        detail = (notes.read_text(encoding="utf-8") + end).rstrip("\n")
        incomplete = check.is_essential and outcome is CheckOutcome.FAILED and not end
        if check in chosen or incomplete:
            yield _result(check, outcome, detail, time.perf_counter() - began)
        if incomplete:
            return


def _result(check: Check, outcome: CheckOutcome, detail: str, seconds: float = 0.0) -> CheckResult:
    return CheckResult(check.name, check.description, outcome, detail, seconds)


def _run(check: Check, trial: Trial) -> CheckOutcome:
    """Run one check; its problems are reported to the trial."""
    try:
        check.run(trial)
    except NotApplicable as exc:
        if not trial.failed:
            trial.fail(str(exc))
            return CheckOutcome.NOT_APPLICABLE
    except BaseException as exc:
        trial.fail(explain(exc))
    return CheckOutcome.FAILED if trial.failed else CheckOutcome.PASSED


def _run_here(check: Check, trial: Trial, limit: float) -> tuple[CheckOutcome, str]:
    faulthandler.dump_traceback_later(limit, exit=True)
    try:
        return _run(check, trial), ""
    finally:
        faulthandler.cancel_dump_traceback_later()


def _run_in_child(check: Check, trial: Trial, limit: float) -> tuple[CheckOutcome, str]:
    """Return the outcome of a check that has its own process, and how that has ended if not by the check."""
    status, problem = run_in_child(lambda: _STATUS[_run(check, trial)], limit)
    for outcome, number in _STATUS.items():
        if status == number:
            return outcome, ""
    return CheckOutcome.FAILED, problem or f"ended the process with status {status}"
