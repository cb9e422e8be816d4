"""Run the stages in order, for each host."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from ..diagnostics.tracebacks import clears_locals
from ..errors import Error
from .bindings import check_bindings
from .case import Case, Notes, Skipped
from .chain import read_chain
from .configuration import read_configuration
from .diagnosis import Diagnosis, Stage, Target
from .handshakes import shake_hands
from .hostname import compare_names
from .login import ask_for_methods, log_in
from .names import look_up_name
from .offer import find_offer
from .server_settings import check_settings
from .tcp import connect_to_each
from .trust import verify_chain

if TYPE_CHECKING:
    from ..config import Config
    from ..tls.contract import TlsBackend

#: Called with the host that a stage belongs to (`None` for the configuration), and the stage.
OnStage: TypeAlias = Callable[[str | None, Stage], None]

_MOST_HOSTS = 8
_CONFIGURATION = ("configuration", "Configuration")

#: The stages of each host: key, title, function. With `True`, a fault is fatal only if the configuration requires TLS.
_STAGES: tuple[tuple[str, str, Callable[[Case, Notes], None], bool], ...] = (
    ("dns", "Name resolution", look_up_name, False),
    ("tcp", "TCP connection", connect_to_each, False),
    ("offer", "TLS offer", find_offer, False),
    ("handshake", "TLS handshake", shake_hands, True),
    ("chain", "Certificate chain", read_chain, True),
    ("trust", "Trust", verify_chain, True),
    ("hostname", "Hostname", compare_names, True),
    ("authentication-offer", "Authentication offer", ask_for_methods, False),
    ("channel-binding", "Channel binding", check_bindings, False),
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
    only in the last connect, with the unchanged configuration, if no stage before has found a fault.

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
        notes.observe(f"Only the first {_MOST_HOSTS} of {len(hosts)} hosts are diagnosed.")
    configuration = clock.stage(*_CONFIGURATION, notes)
    report(None, configuration)
    if read is None:
        return Diagnosis(began=began, configuration=configuration)
    config, backend = read
    targets = [_diagnose_host(config.at(host), backend, notes, clock, report) for host in hosts[:_MOST_HOSTS]]
    return Diagnosis(began=began, configuration=configuration, targets=tuple(targets))


def _diagnose_host(config: Config, backend: TlsBackend | None, notes: Notes, clock: _Clock, report: OnStage) -> Target:
    case = Case(config, backend, warnings=tuple(notes.findings))
    host = case.host
    name = host.shown_path if host.is_unix_socket else f"{host.host}, port {host.port}"
    stages = []
    try:
        for key, title, run, is_about_tls in _STAGES:
            stage = _run_stage(case, clock, key, title, run, is_fatal=not is_about_tls or case.requires_tls)
            stages.append(stage)
            report(name, stage)
    finally:
        if case.session is not None:
            case.session.close()
    return Target(
        name=name, stages=tuple(stages), handshakes=tuple(case.handshakes), certificates=tuple(case.certificates)
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
