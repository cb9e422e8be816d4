"""Stage ``configuration``: read the connection string, and check what can be checked without a connection."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..backends import get_backend
from ..config import Config
from ..conninfo import read
from ..conninfo.passfile import is_open_to_others
from ..errors import ConfigError, Error
from ..explain.parameters import DEFAULT_SOURCE, list_parameters
from ..explain.weaknesses import ADVICE, Remedy, find_weaknesses, has_tls
from ..protocol.negotiation import Attempt, attempts
from ..tls.client_identity import load_identity
from ..tls.support import lacks
from .case import DEFAULT_TIMEOUT, Notes
from .causes import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..tls.contract import TlsBackend


def read_configuration(
    conninfo: str,
    overrides: Mapping[str, Any],
    environ: Mapping[str, str] | None,
    notes: Notes,
    *,
    allow_files: bool,
) -> tuple[Config, TlsBackend | None] | None:
    """Return the configuration and its TLS backend, which is `None` if no connection may use TLS.

    Returns:
        `None` if there is a fault, which is in the notes.
    """
    try:
        config = Config.from_conninfo(conninfo, allow_files=allow_files, environ=environ, **overrides)
        fields = read(conninfo, allow_files=allow_files, environ=environ, arguments=overrides)
    except ConfigError as error:
        notes.fail(error)
        return None
    for parameter in list_parameters(config, fields, dict.fromkeys(overrides, "argument")):
        if parameter.source != DEFAULT_SOURCE:
            notes.observe(f"{parameter.name} = {parameter.value} ({parameter.source})")
    if config.connect_timeout is None:
        notes.observe(f"connect_timeout is not limited. Each stage is limited to {DEFAULT_TIMEOUT:g} seconds here.")
    backend = _check_tls(config, notes) if has_tls(config) else None
    _check_passfile(config, notes)
    for weakness in find_weaknesses(config):
        cause = Cause.NOT_VERIFIED if weakness.remedy is Remedy.VERIFY else Cause.WEAK_CONFIGURATION
        notes.warn(cause, weakness.text, None if weakness.remedy is None else ADVICE[weakness.remedy])
    return None if any(finding.is_fault for finding in notes.findings) else (config, backend)


def _check_tls(config: Config, notes: Notes) -> TlsBackend | None:
    """Return the backend, `None` if it is not available. A fault is a warning if a host may be used without TLS."""
    is_needed = all(attempts(config.at(host))[0] is Attempt.TLS for host in config.targets)
    found, backend = Notes(is_fatal=is_needed), None
    try:
        backend = get_backend(config.tls_backend)
        _check_support(config, backend, found)
    except Error as error:
        found.fail(error)
    notes.findings += found.findings
    return backend


def _check_support(config: Config, backend: TlsBackend, notes: Notes) -> None:
    """Check that the backend supports the parameters, and that a client certificate in files can be loaded.

    A callable is not called, and a token is not used: a wrong PIN may lock it, and the real connect uses it anyway.
    """
    parameters = config.tls_parameters
    for lack in lacks(parameters, backend.capabilities):
        notes.fault(Cause.INVALID_CONFIGURATION, f"the {backend.name} backend cannot {lack.what}", lack.remedy)
    source = parameters.client_certificate
    if source is not None and not callable(source.password) and not source.is_in_token:
        load_identity(source)


def _check_passfile(config: Config, notes: Notes) -> None:
    path = config.passfile
    if path is None or config.password is not None or config.scram_client_key is not None:
        return
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path from a configuration may be any string
    except (OSError, ValueError):
        return
    if is_open_to_others(mode):
        text = f'password file "{path}" has group or world access, and is therefore not used'
        notes.warn(Cause.PASSWORD_UNAVAILABLE, text, f"chmod 600 {path}")
