"""Run the checks, each in its own process with a time limit, so that a check that hangs is reported and ended."""

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
from babar_tls.testing.backend_checks._child_process import run_in_child
from babar_tls.testing.backend_checks._fixtures import Fixtures
from babar_tls.testing.backend_checks._report import BackendCheckError, BackendReport, CheckOutcome, CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


_TIMEOUT = 60.0  # seconds a check
#: The exit status of a check's process. If the backend ends the process, the status is another one.
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
    """Check that a TLS backend implements the contract of `babar_tls.tls.contract`, and its stated capabilities.

    All checks run, even if some fail, unless the backend is incomplete (``contract.complete``). They need no PostgreSQL
    and no network. Each runs in a fork of this process. On systems without fork (Windows) all checks run in this
    process. A check that hangs then ends the process, after it has printed where it hangs.

    Args:
        backend: The backend, its class, or its name.
        handshakes: The number of handshakes for the check of memory.
        only: Names of checks (``closing.truncation``) or subjects (``closing``) to run. Default: all.
        progress: A function that is called with each result when the check has ended.
        raising: Raise an exception if a check fails. With `False` only the report has the failures.
        timeout: The time limit of one check, in seconds. The check of memory may take a hundredth of it longer for each
            handshake.

    Returns:
        The results of the checks.

    Raises:
        BackendCheckError: A check has failed. It is an `AssertionError`, and lists all failures.
        BackendUnavailable: The backend is unknown, or a package that it needs is not installed.
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
            found = _run_all(chosen, instance, Fixtures(Path(folder)), handshakes, timeout)
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
    """Return the backend, or None and the fault of its class."""
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
    chosen = {only} if isinstance(only, str) else set(only)
    names = {check: {check.name, check.name.partition(".")[0]} for check in CHECKS}
    known = set().union(*names.values())
    unknown = sorted(chosen - known)
    if unknown:
        raise ValueError(f"no such checks: {', '.join(unknown)}; the checks are {', '.join(sorted(known))}")
    return [check for check in CHECKS if names[check] & chosen]


def _run_all(
    chosen: list[Check], backend: TlsBackend, fixtures: Fixtures, handshakes: int, timeout: float
) -> Iterator[CheckResult]:
    """Yield the results. Essential checks always run; they are reported if they were chosen or fail."""
    fixtures.prepare()
    run = _run_in_child if hasattr(os, "fork") else _run_here
    for check in CHECKS:
        if check not in chosen and not check.is_essential:
            continue
        limit = timeout * (1 + check.patience * handshakes)
        notes = fixtures.folder / f"notes-{check.name}"
        began = time.perf_counter()
        with notes.open("a", buffering=1, encoding="utf-8") as file:
            outcome, end = run(check, Trial(backend, fixtures, handshakes, file), limit)
        detail = (notes.read_text(encoding="utf-8") + end).rstrip("\n")
        incomplete = check.is_essential and outcome is CheckOutcome.FAILED and not end
        if check in chosen or incomplete:
            yield _result(check, outcome, detail, time.perf_counter() - began)
        if incomplete:
            return


def _result(check: Check, outcome: CheckOutcome, detail: str, seconds: float = 0.0) -> CheckResult:
    return CheckResult(check.name, check.description, outcome, detail, seconds)


def _run(check: Check, trial: Trial) -> CheckOutcome:
    """Run one check; the trial gets its problems."""
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
    """Run one check in a child process. Return its outcome, and how the process ended if the check did not end it."""
    status, problem = run_in_child(lambda: _STATUS[_run(check, trial)], limit)
    for outcome, number in _STATUS.items():
        if status == number:
            return outcome, ""
    return CheckOutcome.FAILED, problem or f"ended the process with status {status}"
