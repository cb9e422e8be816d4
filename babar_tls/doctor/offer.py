"""Stage ``offer``: whether the server offers TLS, by SSLRequest and from the first byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..config.enums import TlsMode, TlsNegotiation
from ..errors import Closed, Error, IoError, TimeoutError
from ..net.deadline import Meter
from ..protocol.messages import shown, ssl_request
from ..protocol.negotiation import Attempt, secure, start_tls
from ..protocol.requests import Connect, Phase, Receive, Send
from ..tls.banners import describe_service
from .case import Probe, Skipped, run, unverified
from .causes import Cause
from .classify import describe, find_cause

if TYPE_CHECKING:
    from ..config import Config
    from ..config.host import Host
    from ..protocol.requests import Exchange
    from .case import Case, Notes

_WRONG_PORT = "Set host and port to those of the PostgreSQL server."
_ENABLE = "Enable TLS on the server (ssl = on). Set sslmode=disable or prefer only if plain text is intended."
_NO_DIRECT = (
    "sslnegotiation=postgres uses SSLRequest. TLS from the first byte needs PostgreSQL 17 or later, and a proxy that "
    "negotiates the ALPN protocol postgresql."
)


#: The time in seconds for what the limit of the stage leaves no time for.
_EXTRA = 1.0


#: The backend that ends a handshake if the configuration needs none, or if its backend is not available.
_ANY_BACKEND = "stdlib"


class _Meaning(NamedTuple):
    """The meaning of a response to SSLRequest: the cause, the finding, and the remedy."""

    cause: Cause
    text: str
    remedy: str


_INJECTED = _Meaning(
    Cause.PLAIN_TEXT_INJECTED,
    "received unencrypted data after SSL response",
    "The cause is a man in the middle, or a proxy that does not support SSLRequest.",
)
_TLS_FIRST = _Meaning(
    Cause.OTHER_SERVICE,
    "the server requires TLS from the first byte",
    "Set sslnegotiation=direct if this is a proxy for PostgreSQL. Otherwise this is another service's port.",
)
#: By the first byte: the meaning of a response that is neither ``S`` nor ``N``. The text of an ErrorResponse is not
#: shown, because the server is not authenticated (CVE-2024-10977).
_MEANINGS = {
    b"": _Meaning(
        Cause.SILENT_SERVICE,
        "the service on this port does not respond to SSLRequest",
        "Another service may use this port: an HTTP server, for example, waits for more bytes. Check host and port. A "
        "tunnel or load balancer may also accept connections while the server behind it does not respond.",
    ),
    b"S": _INJECTED,
    b"N": _INJECTED,
    b"E": _Meaning(
        Cause.SERVER_REFUSED,
        "server sent an error response during SSL exchange",
        "The server may be overloaded, shutting down or too old for SSLRequest. See its log for the reason.",
    ),
    b"\x15": _TLS_FIRST,
    b"\x16": _TLS_FIRST,
}
_CLOSED = _Meaning(
    Cause.SILENT_SERVICE,
    "the service on this port closes the connection without a response to SSLRequest",
    "A tunnel, load balancer or container proxy may accept connections while the server behind it does not run. Check "
    "that, and host and port.",
)


def find_offer(case: Case, notes: Notes) -> None:
    """Send SSLRequest, and try TLS from the first byte."""
    if case.host.is_unix_socket:
        raise Skipped("a Unix-domain socket has no TLS")
    config = unverified(case.reached_config, case.backend or _ANY_BACKEND).replace(
        tls_negotiation=TlsNegotiation.POSTGRES
    )
    meter = Meter(case.timeout)
    if case.is_direct:
        failure = _try_direct(config, meter)
        if isinstance(failure, TimeoutError):
            meter.restart(min(case.timeout, _EXTRA))
        answer, ended = _request_tls(config, meter, case)
        _judge(answer, ended, case, notes, is_needed=False)
        accepts_request, case.offers_tls = bool(case.offers_tls), True
        _judge_direct(failure, case, notes, accepts_request=accepts_request)
        return
    answer, ended = _request_tls(config, meter, case)
    _judge(answer, ended, case, notes, is_needed=case.config.tls_mode in (TlsMode.PREFER, TlsMode.REQUIRE))
    if case.offers_tls and case.backend is not None:
        _observe_direct(_try_direct(config, meter), notes)


def _judge(answer: bytes, ended: Error | None, case: Case, notes: Notes, *, is_needed: bool) -> None:
    """Interpret the response to SSLRequest."""
    if answer == b"S":
        case.offers_tls = True
        notes.observe("SSLRequest: the server offers TLS (S)")
        return
    if answer == b"N":
        case.offers_tls = False
        notes.observe("SSLRequest: the server does not offer TLS (N)")
        if is_needed and case.config.tls_mode is TlsMode.REQUIRE:
            notes.fault(Cause.TLS_NOT_OFFERED, "server does not support SSL, but SSL was required", _ENABLE)
        elif is_needed:
            text = "server does not support SSL: nothing is encrypted"
            notes.warn(Cause.TLS_NOT_OFFERED, text, "Enable TLS on the server (ssl = on).")
        return
    if isinstance(ended, TimeoutError):
        if is_needed:
            notes.fail(ended)
        return
    service = describe_service(answer) if answer[:1] not in (b"\x15", b"\x16") else None
    if service is not None:
        notes.fault(Cause.OTHER_SERVICE, f"this is the port of {service}", _WRONG_PORT)
        return
    unknown = _Meaning(
        Cause.OTHER_SERVICE, f"received invalid response to SSL negotiation: {shown(answer[:1])}", _WRONG_PORT
    )
    meaning = _CLOSED if isinstance(ended, Closed) else _MEANINGS.get(answer[:1], unknown)
    if is_needed and case.config.tls_fallback and meaning is _INJECTED:
        notes.warn(meaning.cause, f"{meaning.text}: a connection without TLS follows", meaning.remedy)
    elif is_needed:
        notes.fault(*meaning)
    else:
        notes.observe(f"SSLRequest: {meaning.text}")


def _try_direct(config: Config, meter: Meter) -> Error | None:
    """Start TLS from the first byte; return the error if that fails."""
    direct = config.replace(tls_negotiation=TlsNegotiation.DIRECT)
    try:
        run(direct, secure(direct, Attempt.TLS), meter)
    except Error as error:
        return error
    return None


def _observe_direct(failure: Error | None, notes: Notes) -> None:
    if failure is None:
        result = "supported, with ALPN"
    elif isinstance(failure, TimeoutError):
        result = "no response in time"
    else:
        result = f"not supported: {describe(failure)}"
    notes.observe(f"TLS from the first byte (sslnegotiation=direct): {result}")


def _judge_direct(failure: Error | None, case: Case, notes: Notes, *, accepts_request: bool) -> None:
    """Interpret the result of TLS from the first byte, which the configuration requires."""
    if failure is not None and case.may_need_client_certificate(failure):
        notes.observe(f"TLS from the first byte (sslnegotiation=direct), without the certificate: {describe(failure)}")
        return
    _observe_direct(failure, notes)
    if failure is None:
        return
    case.offers_tls = False
    cause = find_cause(failure)
    if accepts_request and cause in (Cause.TLS_FAILED, Cause.OTHER, Cause.ALPN, Cause.NO_RESPONSE):
        notes.fail(failure, Cause.ALPN, f"The server supports SSLRequest. {_NO_DIRECT}")
    else:
        notes.fail(failure, cause, f"{failure.remedy} {_NO_DIRECT}" if cause is Cause.ALPN else None)


def _request_tls(config: Config, meter: Meter, case: Case) -> tuple[bytes, Error | None]:
    """Return the response to SSLRequest, and the error that ended the connection instead.

    When the time is up, the client's side of the connection is closed, and a response is awaited for a short time: a
    service that waits for more bytes, such as an HTTP server, then responds with its own error.
    """
    connection = Probe(config, meter)
    try:
        try:
            answer = connection.drive(_ask(config.targets[0]))
            _finish(connection, answer)
        except TimeoutError:
            if connection.address is None:
                raise
        else:
            return answer, None
        meter.restart(min(case.timeout, _EXTRA))
        connection.end_sending()
        try:
            answer = connection.drive(_wait_for_end())
        except TimeoutError:
            return b"", None
        return (answer if describe_service(answer) is not None else b""), None
    except IoError as error:
        return b"", error
    finally:
        connection.close()


def _finish(connection: Probe, answer: bytes) -> None:
    """Complete TLS if the server offers it. Otherwise the server would log a failed handshake."""
    if answer != b"S":
        return
    try:
        connection.drive(start_tls(connection.config))
        connection.end_tls()
    except Error:
        pass  # the next stage reports it


def _ask(where: Host) -> Exchange[bytes]:
    yield Connect(where)
    yield Send(ssl_request(), Phase.NEGOTIATE)
    answer: bytes = yield Receive(Phase.NEGOTIATE)
    if not answer:
        raise Closed("server closed the connection unexpectedly")
    return answer


def _wait_for_end() -> Exchange[bytes]:
    answer: bytes = yield Receive(Phase.NEGOTIATE)
    return answer
