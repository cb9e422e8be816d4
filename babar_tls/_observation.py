"""Observe a connect: report it to the callbacks of `hooks`, and log its phases.

`observe` decides once, at the start of a connect, whether something observes it. If nothing does, the connect runs
without this module. An observation sees each connection from the function that creates it, and the phases from the
clock. Callbacks and the last lines of the log are called by the caller of `connect`. The lines of the phases are
written as the phases end, in the thread that connects.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from .diagnostics.escaping import visible
from .diagnostics.log import DEBUG, debug_logger, is_logging, log
from .diagnostics.tracebacks import clear_frames
from .errors import Error, ServerError
from .hooks import ConnectEvent, is_in_callback, notify, registrations
from .net.deadline import Meter
from .protocol.messages import TERMINATE
from .protocol.requests import Phase

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from types import TracebackType

    from ._session_base import SessionBase
    from .config import Config
    from .config.host import Host
    from .net.blocking import BlockingConnection, Connector
    from .security import SecurityReport

_S = TypeVar("_S", bound="SessionBase")

_LONGEST = 1000  # characters of an error in a line of the log


def observe(config: Config) -> Observation | None:
    """Return the observation of a connect that begins now; None if nothing observes it."""
    logger = debug_logger()
    is_reported = bool(registrations) and not is_in_callback()
    if (logger is None and not is_reported) or is_logging():
        return None
    return Observation(config, logger, is_reported=is_reported)


class Observation:
    """One connect that is observed. It is a context manager around the connect.

    Attributes:
        config: The configuration, without its secrets after the connect.
        meter: The clock to use.
    """

    def __init__(self, config: Config, logger: logging.Logger | None, *, is_reported: bool) -> None:
        self._outer = sys.exception()
        self.config = config
        self._logger = logger
        self._is_reported = is_reported
        self._host: Host | None = None
        self._connection: BlockingConnection | None = None
        self._description: str | None = None
        self._session: SessionBase | None = None
        self._is_over = False
        self._started = time.time()
        self._began = time.perf_counter()
        timeout = config.connect_timeout
        self.meter: Meter = Meter(timeout) if logger is None else PhaseMeter(timeout, self._log_phase)

    def connector(self, connect: Connector) -> Connector:
        """Return a function that creates connections as `connect` does, for `establish`."""

        def observed(config: Config, meter: Meter) -> BlockingConnection:
            if self._is_over:  # the task was cancelled
                return connect(config, meter)
            self._host, self._connection = config.targets[0], None
            self._connection = connection = connect(config, meter)
            return connection

        return observed

    def opened(self, session: _S) -> _S:
        """Record the session, and return it."""
        self._session = session
        return session

    def __enter__(self) -> Observation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        duration = time.perf_counter() - self._began
        self._is_over = True
        # Callbacks get the error. Its traceback refers to the frame of `connect`, and this one to this object.
        connection, self._connection = self._connection, None
        session, self._session = self._session, None
        failure = None
        try:
            self.config = self.config.without_secrets()
            if connection is not None:
                self._description = connection.description
            if error is not None:
                clear_frames(error, self._outer)
            # If the coroutine was closed, the garbage collector may run this, in any thread.
            if isinstance(error, GeneratorExit):
                return
            security = None if session is None else session.security
            failure = self._log_end(duration, security, error)
            if self._is_reported:
                event = ConnectEvent(
                    config=self.config,
                    host=self._host,
                    address=None if connection is None else connection.address,
                    security=security if failure is None else None,
                    error=error if failure is None else failure,
                    started=self._started,
                    duration=duration,
                    timings=self.meter.timings.copy(),
                    round_trips=self.meter.round_trips,
                )
                notify(event)
            if failure is not None:
                raise failure
        except BaseException:
            if session is not None:
                session._finish(TERMINATE)
            raise
        finally:
            del failure  # its traceback refers to this frame

    def _server(self) -> str:
        """Return the server's name for a line of the log."""
        description = self._description if self._connection is None else self._connection.description
        if description is not None:
            return description
        hosts = self.config.targets if self._host is None else (self._host,)
        return " or ".join(host.describe() for host in hosts)

    def _log_phase(self, phase: Phase, seconds: float) -> None:
        if self._logger is None:
            return
        server, connection = self._server(), self._connection
        extra = {
            "babar_tls_event": "phase",
            "babar_tls_server": server,
            "babar_tls_phase": phase.value,
            "babar_tls_seconds": seconds,
        }
        # A connecting thread leaves the gate, because a log handler may block.
        with contextlib.nullcontext() if connection is None or self._is_over else connection.outside(phase):
            log(self._logger, DEBUG, "%s: %s took %.1f ms", server, phase.value, seconds * 1000, extra=extra)

    def _log_end(
        self, duration: float, security: SecurityReport | None, error: BaseException | None
    ) -> BaseException | None:
        """Log the last lines of the connect. Return the exception of a log handler, which `connect` must raise."""
        if self._logger is None:
            return None
        try:
            if isinstance(self.meter, PhaseMeter):
                self.meter.finish(has_succeeded=security is not None)
            self._log_result(self._logger, duration, security, error)
        except BaseException as exc:
            clear_frames(exc, self._outer if error is None else error)
            return exc
        return None

    def _log_result(
        self,
        logger: logging.Logger,
        duration: float,
        security: SecurityReport | None,
        error: BaseException | None,
    ) -> None:
        server = self._server()
        extra: dict[str, Any] = {"babar_tls_server": server, "babar_tls_seconds": duration}
        if security is not None:
            report = security.as_dict()
            del report["peer_certificate"]  # long, and the fingerprint identifies it
            extra.update(babar_tls_event="ready", babar_tls_security=report)
            log(logger, DEBUG, "%s: ready after %.1f ms: %s", server, duration * 1000, summary(security), extra=extra)
        elif error is not None:
            name = type(error).__name__
            extra.update(babar_tls_event="failed", babar_tls_error=name)
            if isinstance(error, ServerError):
                extra["babar_tls_sqlstate"] = visible(error.code, limit=20)
            # The text of another exception may contain a secret: a callable of the caller may have raised it.
            text = f"{name}: {visible(error.message, limit=_LONGEST)}" if isinstance(error, Error) else name
            log(logger, DEBUG, "%s: failed after %.1f ms: %s", server, duration * 1000, text, extra=extra)


def summary(security: SecurityReport) -> str:
    """Return the most important properties of a session, in one line."""
    parts = [f"authentication {security.auth_method}"]
    if security.tls:
        parts.insert(0, f"{security.tls_version} {security.cipher}, certificate verified: {security.verified}")
        parts.append("channel bound" if security.channel_bound else "channel not bound")
    else:
        parts.insert(0, "no TLS")
    return ", ".join([*parts, f"{security.round_trips} round trips"])


class PhaseMeter(Meter):
    """A clock that reports each phase when it ends.

    `Phase.AUTH` ends when the connection waits for messages of `Phase.READY`, and `Phase.READY` ends with the connect.

    Args:
        timeout: As for `Meter`.
        report: Called with the phase and its seconds, by the thread that connects.
    """

    def __init__(self, timeout: float | None, report: Callable[[Phase, float], None]) -> None:
        super().__init__(timeout)
        self._report: Callable[[Phase, float], None] | None = report
        self._unfinished: dict[Phase, float] = {}

    def mark(self, phase: Phase) -> None:
        """Add the time since the last mark to `phase`, and report it if it has ended."""
        before = self.timings.get(phase.value, 0.0)
        super().mark(phase)
        if self._report is None or phase is Phase.QUERY:
            return
        seconds = self.timings.get(phase.value, 0.0) - before
        if phase is Phase.READY:
            self._finish_authentication()
        if phase in (Phase.AUTH, Phase.READY):
            self._unfinished[phase] = self._unfinished.get(phase, 0.0) + seconds
            return
        if phase is Phase.TCP:
            self._unfinished.clear()  # of the last attempt
        self._report(phase, seconds)

    def remaining(self, phase: Phase) -> float | None:
        """Return the seconds that are left. See `Meter.remaining`."""
        if phase is Phase.READY:
            self._finish_authentication()
        return super().remaining(phase)

    def finish(self, *, has_succeeded: bool) -> None:
        """Report the phases that ended with the connect, if it has succeeded, and no others from now on."""
        report = self._report
        if has_succeeded and report is not None:
            self._finish_authentication()
            report(Phase.READY, self._unfinished.pop(Phase.READY, 0.0))
        self._report = None

    def _finish_authentication(self) -> None:
        seconds = self._unfinished.pop(Phase.AUTH, None)
        if seconds is not None and self._report is not None:
            self._report(Phase.AUTH, seconds)
