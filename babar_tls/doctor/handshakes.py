"""Stage ``handshake``: a TLS handshake with each installed backend, which verifies nothing and sends nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.enums import TlsVersion
from ..errors import ClientCertificateError, Error
from ..net.deadline import Meter
from ..protocol.negotiation import Attempt, secure
from ..protocol.requests import Phase
from ..tls.registry import available_backends, get_backend
from .case import run, unverified
from .causes import Cause
from .classify import describe, find_cause
from .diagnosis import BackendHandshake
from .old_versions import accepted_old_version

if TYPE_CHECKING:
    from ..tls.contract import TlsBackend, TlsFacts
    from .case import Case, Notes


def shake_hands(case: Case, notes: Notes) -> None:
    """Complete a handshake with the selected backend, and then with the others in the time that is left."""
    case.require_tls_channel()
    selected = case.backend
    names = [name for name in available_backends() if selected is None or get_backend(name) is not selected]
    backends = [*([] if selected is None else [selected]), *map(get_backend, names)]
    meter = Meter(case.timeout)
    failure: Error | None = None
    for number, backend in enumerate(backends):
        try:
            is_first = backend is selected  # a connect would give it all of the time
            limit = meter.remaining(Phase.TLS) if is_first else meter.share(len(backends) - number)
            found = _try(case, backend, Meter(limit), notes)
        except Error as error:  # the time is used up
            found = error
        if not isinstance(found, Error):
            case.facts = case.facts or found
        elif backend is selected:
            failure = found
    if failure is None:
        return
    if case.may_need_client_certificate(failure):
        # Without verification the client certificate is not presented. A connect presents it.
        requires = "requires" if isinstance(failure, ClientCertificateError) else "may require"
        notes.observe(f"The server {requires} the client certificate during the handshake.")
        return
    _name_cause(case, failure, meter, notes)


def _try(case: Case, backend: TlsBackend, meter: Meter, notes: Notes) -> TlsFacts | Error:
    is_selected = backend is case.backend
    problem: Error | None = None
    facts: TlsFacts | None = None
    try:
        config = unverified(case.reached_config, backend)
        facts = run(config, secure(config, Attempt.TLS), meter)
    except Error as error:
        problem = error
    seconds = meter.timings[Phase.TLS.value]
    case.handshakes.append(
        BackendHandshake(
            backend=backend.name,
            is_selected=is_selected,
            seconds=seconds,
            tls_version=None if facts is None else facts.version,
            cipher=None if facts is None else facts.cipher,
            group=None if facts is None else facts.group,
            alpn=None if facts is None else facts.alpn,
            problem=None if problem is None else describe(problem),
        )
    )
    name = f"{backend.name}{' (selected)' if is_selected else ''}"
    if facts is None:
        assert problem is not None  # noqa: S101 - one of the two is set
        notes.observe(f"{name}: {describe(problem)}")
        return problem
    parts = [facts.version, facts.cipher, facts.group or "key exchange not reported", f"ALPN {facts.alpn or 'none'}"]
    notes.observe(f"{name}: {', '.join(parts)} ({seconds * 1000:.1f} ms)")
    return facts


def _name_cause(case: Case, failure: Error, meter: Meter, notes: Notes) -> None:
    cause = find_cause(failure)
    if cause in (Cause.TLS_VERSION, Cause.TLS_ALGORITHMS, Cause.TLS_FAILED):
        old = accepted_old_version(case, meter)
        if old is not None:
            wanted = case.config.tls_min_version.value.replace("v", " ")
            notes.observe(f"The server accepts {old}, which this library does not support.")
            remedy = f"The server needs {wanted} or later: a current TLS library, and ssl_min_protocol_version."
            notes.fail(failure, Cause.TLS_VERSION, remedy)
            return
    if cause is Cause.TLS_VERSION and case.config.tls_max_version is TlsVersion.TLSV1_2:
        notes.fail(failure, cause, "Remove ssl_max_protocol_version (tls_max_version): the server may require TLS 1.3.")
        return
    if cause is Cause.TLS_VERSION and case.config.tls_min_version is TlsVersion.TLSV1_3:
        remedy = "Remove ssl_min_protocol_version (tls_min_version): the server may not support TLS 1.3."
        notes.fail(failure, cause, remedy)
        return
    others = [one.backend for one in case.handshakes if one.problem is None]
    remedy_others = f"These backends succeed: {', '.join(others)} (tls_backend)." if others else None
    notes.fail(failure, cause, " ".join(filter(None, [failure.remedy, remedy_others])) or None)
