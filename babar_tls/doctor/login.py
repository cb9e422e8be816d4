"""Stages ``authentication-offer`` and ``authentication``: what the server requests, and the real connect."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ChannelBindingError, Error, PasswordMissing, TimeoutError
from ..net.deadline import Meter
from ..protocol.negotiation import Attempt
from ..protocol.policy import Policy
from .case import Skipped, run, unverified
from .causes import Cause
from .classify import describe, find_cause
from .first_request import CLEARTEXT, MD5, OK, SASL, Request, receive_first_request
from .real_connect import connect

if TYPE_CHECKING:
    from .case import Case, Notes

#: Authentication requests (PostgreSQL's protocol, AuthenticationRequest), for people.
_METHODS = {
    OK: "no authentication (trust, cert, peer or ident)",
    2: "Kerberos 5",
    CLEARTEXT: "the password in clear text",
    MD5: "an MD5 digest of the password",
    7: "GSSAPI",
    9: "SSPI",
    SASL: "SASL",
}
#: Their names in `require_auth`.
_REQUIRE_AUTH = {CLEARTEXT: "password", MD5: "md5", 7: "gss", 8: "gss", 9: "sspi"}
_LONGEST = 40  # characters of a mechanism
_ENCRYPT = "The server accepts this client only with TLS: use sslmode=verify-full, or at least sslmode=require."
_NO_TRUST = "If this is not intended, use scram-sha-256 in place of trust in pg_hba.conf."
_NOT_SUPPLIED = (
    "The server requires a password. Use PGPASSWORD or ~/.pgpass (libpq's password file); babar-tls also has "
    "--password-file."
)
_SCRAM = "Set password_encryption = 'scram-sha-256', set the password again, and use scram-sha-256 in pg_hba.conf."


def ask_for_methods(case: Case, notes: Notes) -> None:
    """Send the StartupMessage without any secret, and read the first authentication request.

    The channel is verified as the configuration requires before the StartupMessage is sent.
    """
    _require_no_earlier_fault(case)
    config, meter = case.reached_config, Meter(case.timeout)
    refused: dict[Attempt, Error] = {}
    request = None
    try:
        request = run(config, receive_first_request(config, refused), meter)
    except Error:
        if not refused:
            raise  # no attempt was made
    for attempt, error in refused.items():
        notes.observe(f"{_channel(attempt)}: {describe(error)}")
    if request is None:
        _fail(case, refused, meter, notes)
    else:
        _observe(request, case, notes)


def _observe(request: Request, case: Case, notes: Notes) -> None:
    case.code, case.mechanisms, case.login_facts = request
    method = _METHODS.get(request.code, f"method {request.code}")
    listed = ", ".join(name[:_LONGEST] for name in request.mechanisms)
    channel = "over TLS" if request.facts is not None else "without TLS"
    notes.observe(f"The server requests {method}{f': {listed}' if listed else ''} ({channel}).")
    _check_policy(request, case, notes)
    if case.host.is_unix_socket or notes.findings:
        return
    if request.code == OK and case.config.tls_client_cert is None:
        notes.warn(Cause.WEAK_SERVER_SETTING, "the server requires no password from this client", _NO_TRUST)
    elif request.code in (CLEARTEXT, MD5):
        notes.warn(Cause.WEAK_SERVER_SETTING, f"the server requests {method}", _SCRAM)


def _check_policy(request: Request, case: Case, notes: Notes) -> None:
    """Check that the configuration allows the request. The stage of channel binding checks the binding."""
    method = _REQUIRE_AUTH.get(request.code)
    try:
        policy = Policy(case.config, request.facts)
        if request.code == OK:
            policy.check_finished("none", bound=False)
        elif request.code == SASL:
            policy.choose_mechanism([*request.mechanisms])
        elif method is not None:
            policy.check_request(method)
    except ChannelBindingError:
        return
    except Error as error:
        notes.fail(error)
        return
    if request.code not in (OK, CLEARTEXT, MD5, SASL):
        name = _METHODS.get(request.code, f"method {request.code}")
        text = f"the server requests {name}, which this library does not support"
        notes.fault(Cause.METHOD_REFUSED, text, "Add a scram-sha-256 line for the role to pg_hba.conf.")


def _fail(case: Case, refused: dict[Attempt, Error], meter: Meter, notes: Notes) -> None:
    """Name the cause of the last refusal. After a refusal without TLS, find out whether only TLS is missing."""
    attempt, error = list(refused.items())[-1]
    cause, remedy = find_cause(error), None
    if cause is Cause.NO_HBA_ENTRY and attempt is Attempt.PLAIN and case.offers_tls:
        with_tls = refused.get(Attempt.TLS_OR_PLAIN) or _try_with_tls(case, meter)
        if with_tls is None:
            cause, remedy = Cause.ENCRYPTION_REQUIRED, _ENCRYPT
        elif find_cause(with_tls) is cause:
            remedy = with_tls.remedy  # encryption is not what is missing
    if isinstance(error, TimeoutError) and case.offers_tls is None:
        cause = Cause.SILENT_SERVICE
    notes.fail(error, cause, remedy)


def _try_with_tls(case: Case, meter: Meter) -> Error | None:
    """Send the StartupMessage over TLS after the server has refused the client without TLS; return the error.

    The configuration allows plain text, so that the StartupMessage may also be sent over TLS that verifies nothing.
    """
    config = unverified(case.reached_config)
    try:
        run(config, receive_first_request(config, {}, (Attempt.TLS,)), meter)
    except Error as error:
        return error
    return None


def _channel(attempt: Attempt) -> str:
    return "Without TLS" if attempt is Attempt.PLAIN else "With TLS"


def log_in(case: Case, notes: Notes) -> None:
    """Report the real connect. It is made here if there is only one host, and decides if no stage has found a fault."""
    if case.real_connect is None:
        _require_no_earlier_fault(case)
        case.real_connect = connect(case.config, case.timeout)
    config, real = case.config, case.real_connect
    if real.last == case.host and real.ready is not None:
        case.ready, real.ready = real.ready, None  # the same host may be in the list twice
    else:
        error = real.failures.get(case.host)
        if error is None:
            raise Skipped(f"the connect ends with {real.last.describe()}, before this host is tried")
        _require_no_earlier_fault(case)
        cause = find_cause(error)
        notes.fail(error, cause, _password_remedy(case, error) if cause is Cause.PASSWORD_UNAVAILABLE else None)
        return
    security = case.ready.security
    parts = [security.auth_method]
    if security.scram_iterations is not None:
        parts.append(f"{security.scram_iterations} iterations")
    bound = f"bound with {security.channel_binding_type}" if security.channel_bound else "not bound to the TLS channel"
    parts += [bound] if security.tls else ["without TLS"]
    notes.observe(f"Logged in as {config.user}: {', '.join(parts)}")
    times = ", ".join(f"{phase} {seconds * 1000:.1f} ms" for phase, seconds in security.timings.items())
    notes.observe(f"{security.round_trips} round trips: {times}")


def _password_remedy(case: Case, error: Error) -> str | None:
    if callable(case.config.password):
        return "Correct the callable in password. Its own error is not shown, because it may contain a secret."
    ignored = next((each.remedy for each in case.warnings if each.cause is Cause.PASSWORD_UNAVAILABLE), None)
    if ignored is None:
        path = case.config.passfile
        is_file = path is not None and os.path.isfile(path)  # noqa: PTH113 - the path may be any string
        no_line = f' The password file "{path}" has no line for this host, port, database and user.' if is_file else ""
        return f"{_NOT_SUPPLIED if isinstance(error, PasswordMissing) else error.remedy}{no_line}"
    return f"The password file is not used, because other users have access to it: {ignored}"


def _require_no_earlier_fault(case: Case) -> None:
    """Check that no stage has found a fault with which a connect fails.

    Raises:
        Skipped: There is one.
    """
    if case.faults:
        raise Skipped(f"the connect fails earlier ({case.faults[0].cause})")
