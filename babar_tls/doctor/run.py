"""Run the stages in order, for each host."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from ..diagnostics.tracebacks import clears_locals
from ..errors import Error
from ..protocol.messages import TERMINATE
from .bindings import check_bindings
from .case import Case, Notes, Skipped
from .causes import Cause
from .chain import read_chain
from .configuration import read_configuration
from .diagnosis import Diagnosis, Stage, Target
from .handshakes import shake_hands
from .hostname import compare_names
from .login import ask_for_methods, log_in
from .names import look_up_name
from .offer import find_offer
from .real_connect import connect
from .server_settings import check_settings
from .tcp import connect_to_each
from .trust import verify_chain

if TYPE_CHECKING:
    from ..config import Config

#: Called with the host that a stage belongs to (`None` for the configuration), and the stage.
OnStage: TypeAlias = Callable[[str | None, Stage], None]

_MOST_HOSTS = 8
_CONFIGURATION = ("configuration", "Configuration")

_Stages: TypeAlias = tuple[tuple[str, str, Callable[["Case", "Notes"], None], bool], ...]

#: The stages of each host: key, title, function. With `True`, a fault is fatal only if the configuration requires TLS.
_PROBES: _Stages = (
    ("dns", "Name resolution", look_up_name, False),
    ("tcp", "TCP connection", connect_to_each, False),
    ("offer", "TLS offer", find_offer, False),
    ("handshake", "TLS handshake", shake_hands, True),
    ("chain", "Certificate chain", read_chain, True),
    ("trust", "Trust", verify_chain, True),
    ("hostname", "Hostname", compare_names, True),
    ("authentication-offer", "Authentication offer", ask_for_methods, False),
    ("channel-binding", "Channel binding", check_bindings, False),
)
#: The stages of each host from the real connect on.
_LOGIN: _Stages = (
    ("authentication", "Authentication", log_in, False),
    ("server", "Server settings", check_settings, False),
)


@clears_locals
def diagnose(
    conninfo: str,
    *,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    environ: Mapping[str, str] | None = None,
    allow_files: bool = True,
    on_stage: OnStage | None = None,
) -> Diagnosis:
    """Diagnose a connection in stages.

    Each stage of a host takes at most about `Config.connect_timeout`, or 10 seconds if that is not set. A failure
    becomes a finding. No error of this library is raised.

    Nothing but TLS handshakes is sent before the server is verified as the configuration requires. The password is used
    only in one connect with the unchanged configuration. If there is only one host, that connect is left out after a
    fault. With several hosts it tries them in turn, and the result of the host with which it ends is the result.

    Args:
        conninfo: See `Config.from_conninfo`.
        overrides: Fields of `Config` that replace those of the string.
        environ: The ``PG*`` variables, by default those of the process. ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are
            always those of the process.
        allow_files: See `Config.from_conninfo`.
        on_stage: A function that is called after each stage, with the host (`None` for the configuration) and the
            stage.

    Raises:
        TypeError: An override is not a field of `Config`.
    """
    began, clock = time.time(), _Clock()
    report = on_stage or (lambda _target, _stage: None)
    notes = Notes()
    read = read_configuration(conninfo, overrides, environ, notes, allow_files=allow_files)
    hosts = () if read is None else read[0].targets
    if len(hosts) > _MOST_HOSTS:
        notes.observe(
            f"Only the first {_MOST_HOSTS} of {len(hosts)} hosts are diagnosed. The connect may try all of them."
        )
    configuration = clock.stage(*_CONFIGURATION, notes)
    report(None, configuration)
    if read is None:
        return Diagnosis(began=began, configuration=configuration)
    config, backend = read
    warnings = tuple(notes.findings)
    runs = [_HostRun(Case(config.at(host), backend, warnings=warnings), clock, report) for host in hosts[:_MOST_HOSTS]]
    try:
        for run in runs:
            run.add(_PROBES)
        decisive = None if len(hosts) == 1 else _connect_to_one_of(config, runs, clock, report)
        for run in runs:
            run.add(_LOGIN)
    finally:
        for run in runs:
            run.close()
    targets = tuple(run.target() for run in runs)
    return Diagnosis(began=began, configuration=configuration, targets=targets, decisive=decisive)


def _connect_to_one_of(config: Config, runs: list[_HostRun], clock: _Clock, report: OnStage) -> int:
    """Connect to the hosts in turn; return the index of the host with which the connect ended.

    The host is added if it is not among the first, which are diagnosed.
    """
    real = connect(config, runs[0].case.timeout)
    for run in runs:
        run.case.real_connect = real
    hosts = [run.case.host for run in runs]
    if real.last not in hosts:
        runs.append(_HostRun(Case(config.at(real.last), runs[0].case.backend, real_connect=real), clock, report))
        hosts.append(real.last)
    decisive = hosts.index(real.last)
    runs[decisive].add(_LOGIN)  # before the others, because their stages begin when the connect has ended
    return decisive


class _HostRun:
    """The diagnosis of one host."""

    def __init__(self, case: Case, clock: _Clock, report: OnStage) -> None:
        self.case = case
        self._clock = clock
        self._report = report
        self._stages: list[Stage] = []
        host = case.host
        self._name = host.shown_path if host.is_unix_socket else f"{host.host}, port {host.port}"

    def add(self, stages: _Stages) -> None:
        """Run the stages, unless they were run before."""
        known = {stage.key for stage in self._stages}
        for key, title, run, is_about_tls in stages:
            if key not in known:
                is_fatal = not is_about_tls or self.case.requires_tls
                stage = _run_stage(self.case, self._clock, key, title, run, is_fatal=is_fatal)
                self._stages.append(stage)
                self._report(self._name, stage)

    def close(self) -> None:
        """End the session of the real connect."""
        if self.case.ready is not None:
            self.case.ready.connection.close(TERMINATE)

    def target(self) -> Target:
        """Return the result. If the real connect has succeeded, no earlier finding is a fault."""
        stages = self._stages
        if self.case.ready is not None:
            stages = [
                dataclasses.replace(
                    stage, findings=tuple(dataclasses.replace(one, is_fault=False) for one in stage.findings)
                )
                for stage in stages
            ]
        return Target(
            name=self._name,
            stages=tuple(stages),
            handshakes=tuple(self.case.handshakes),
            certificates=tuple(self.case.certificates),
        )


def _run_stage(
    case: Case, clock: _Clock, key: str, title: str, run: Callable[[Case, Notes], None], *, is_fatal: bool
) -> Stage:
    notes, skipped = Notes(is_fatal=is_fatal), None
    try:
        run(case, notes)
    except Skipped as reason:
        skipped = str(reason)
    except Error as error:
        notes.fail(error)
    except MemoryError:
        notes.fault(Cause.OTHER, "this process has not enough memory for the stage", "Raise its limit of memory.")
    case.faults += [finding for finding in notes.findings if finding.is_fault]
    return clock.stage(key, title, notes, skipped)


class _Clock:
    """The time since the diagnosis began. A stage begins when the one before it ends."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()

    def stage(self, key: str, title: str, notes: Notes, skipped: str | None = None) -> Stage:
        """Return the stage that ends now."""
        now = time.perf_counter()
        start, self._last = self._last, now
        return Stage(
            key=key,
            title=title,
            start=start - self._began,
            seconds=now - start,
            observations=tuple(notes.observations),
            findings=tuple(notes.findings),
            skipped=skipped,
        )
