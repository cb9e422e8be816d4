"""Runs the checks, each in a thread with a time limit, so that an engine that hangs is reported and not waited for."""

from __future__ import annotations

import ctypes
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from babar_tls.backends import get_backend
from babar_tls.testing.backend_checks._check import CHECKS, Check, NotApplicable, Trial, explain
from babar_tls.testing.backend_checks._report import BackendCheckError, BackendReport, CheckOutcome, CheckResult
from babar_tls.testing.backend_checks._world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from babar_tls.backends import Capabilities, TlsBackend

__all__ = ["check_backend"]

_PATIENCE = 60.0  # seconds a check
_GRACE = 1.0  # seconds, for a thread that was told to end


def check_backend(
    backend: str | TlsBackend,
    *,
    handshakes: int = 10_000,
    only: Collection[str] | None = None,
    progress: Callable[[CheckResult], object] | None = None,
    raising: bool = True,
    timeout: float = _PATIENCE,
) -> BackendReport:
    """Checks that a TLS engine keeps the contract of `babar_tls.tls.contract`, and does what it says that it can.

    All checks run, whatever fails. They need no PostgreSQL, and no network but the loopback.

    Args:
        backend: The engine, or its name.
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
        BackendUnavailable: The engine cannot be had.
        ValueError: `only` names a check that does not exist, or a number is not positive.
    """
    if handshakes < 1 or timeout <= 0:
        raise ValueError("handshakes and timeout must be positive")
    chosen = _chosen(only)
    engine = get_backend(backend)
    results = []
    with tempfile.TemporaryDirectory(prefix="babar-tls-", ignore_cleanup_errors=True) as folder:
        world = World(Path(folder))
        capabilities = _capabilities(engine)
        for check in chosen:
            stated = capabilities
            trial = stated if isinstance(stated, Exception) else Trial(engine, stated, world, handshakes)
            results.append(_run(check, trial, timeout))
            if progress is not None:
                progress(results[-1])
    version = "" if isinstance(capabilities, BaseException) else str(capabilities.version)
    report = BackendReport(str(getattr(engine, "name", type(engine).__name__)), version, tuple(results))
    if raising and not report.passed:
        raise BackendCheckError(report)
    return report


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


def _capabilities(engine: TlsBackend) -> Capabilities | Exception:
    try:
        return engine.capabilities
    except Exception as exc:
        return exc


def _run(check: Check, trial: Trial | Exception, timeout: float) -> CheckResult:
    began = time.perf_counter()

    def result(outcome: CheckOutcome, detail: str) -> CheckResult:
        return CheckResult(check.name, check.description, outcome, detail, time.perf_counter() - began)

    if isinstance(trial, Exception):
        return result(CheckOutcome.FAILED, f"capabilities(): {explain(trial)}")
    ended: list[tuple[CheckOutcome, str]] = []
    limit = timeout * (1 + check.patience * trial.handshakes)
    thread = threading.Thread(target=_in_thread, args=(check, trial, ended), name=check.name, daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        problems = [*trial.problems, f"was not finished after {limit:g} s: hangs {_where(thread)}"]
        _end(thread)
        return result(CheckOutcome.FAILED, "\n".join(problems))
    outcome, detail = ended[0]
    return result(outcome, detail)


def _in_thread(check: Check, trial: Trial, ended: list[tuple[CheckOutcome, str]]) -> None:
    try:
        check.run(trial)
    except NotApplicable as exc:
        if not trial.problems:
            ended.append((CheckOutcome.NOT_APPLICABLE, str(exc)))
            return
    except BaseException as exc:
        trial.problems.append(explain(exc))
    failed = bool(trial.problems)
    ended.append((CheckOutcome.FAILED if failed else CheckOutcome.PASSED, "\n".join(trial.problems)))


def _where(thread: threading.Thread) -> str:
    """Where a thread is at this moment: the innermost lines, outermost first."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return "somewhere"
    lines = [f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in traceback.extract_stack(frame)[-4:]]
    return "in " + " > ".join(lines)


def _end(thread: threading.Thread) -> None:
    """Ends a thread that runs Python; one that waits in C is left to itself."""
    raise_in = getattr(getattr(ctypes, "pythonapi", None), "PyThreadState_SetAsyncExc", None)
    if raise_in is not None and thread.ident is not None:
        raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        thread.join(_GRACE)
