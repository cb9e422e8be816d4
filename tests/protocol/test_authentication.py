"""Servers that violate the authentication policy receive no secret, and unproven servers are refused."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.config.enums import AUTH_METHODS
from babar_tls.crypto import scram_keys
from babar_tls.errors import (
    AuthError,
    AuthRefused,
    ChannelBindingError,
    ChannelBindingRefused,
    Closed,
    ConfigError,
    Error,
    InvalidPassword,
    ProtocolError,
    ServerError,
    ServerSignatureError,
    TimeoutError,
    UnsupportedAuth,
)
from babar_tls.protocol.authentication import md5_digest
from babar_tls.protocol.channel_binding import tls_server_end_point
from babar_tls.protocol.handshake import handshake
from babar_tls.protocol.messages import frame, ssl_request

from .configs import PASSWORD, make
from .script import (
    BOTH,
    CLEARTEXT,
    ECDSA_SHA384,
    MD5,
    OK,
    READY,
    SALT,
    WELCOME,
    Answer,
    Driver,
    Facts,
    ScramPeer,
    error,
    request,
    sasl,
    status,
    talk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

GSS, SSPI = request(7), request(9)
BINDINGS = {"tls-server-end-point": tls_server_end_point(ECDSA_SHA384)}
REQUIRE = {"channel_binding": "require"}

NOT_BOUND = "channel binding required, but server authenticated client without channel binding"
CANNOT_BIND = "channel binding required but not supported by server's authentication request"


def peer(**options: Any) -> ScramPeer:
    return ScramPeer(PASSWORD, **{"bindings": BINDINGS, **options})


def refused(driver: Driver, kind: type[Error], text: str, **overrides: Any) -> Error:
    with pytest.raises(kind, match=text) as caught:
        driver.run(handshake(make(**overrides)))
    return caught.value


def sent_no_secret(driver: Driver) -> bool:
    """Return True if only SSLRequest, StartupMessage and SASLInitialResponse were sent, without the password."""
    allowed = all(
        data == ssl_request() or data[4:8] == b"\0\3\0\0" or data[5:].startswith(b"SCRAM-SHA-256")
        for data in driver.sent
    )
    return allowed and PASSWORD.encode() not in driver.all_sent


# channel_binding=require -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "kind", "text"),
    [
        ([CLEARTEXT, OK], ChannelBindingError, CANNOT_BIND),
        ([MD5, OK], ChannelBindingError, CANNOT_BIND),
        ([GSS, OK], ChannelBindingError, CANNOT_BIND),
        ([request(8), OK], ChannelBindingError, CANNOT_BIND),
        ([SSPI, OK], ChannelBindingError, CANNOT_BIND),
        ([request(2)], UnsupportedAuth, "Kerberos 5 authentication not supported"),
        ([request(4)], UnsupportedAuth, "authentication not supported"),
        ([request(6)], UnsupportedAuth, "SCM credential authentication not supported"),
        ([request(13)], UnsupportedAuth, "authentication method 13 not supported"),
        ([request(0xFFFFFFFF)], UnsupportedAuth, "authentication method 4294967295 not supported"),
        ([WELCOME], ChannelBindingError, NOT_BOUND),
        ([OK], ChannelBindingError, NOT_BOUND),
        ([sasl("SCRAM-SHA-256"), OK], ChannelBindingError, "channel binding is required, but server did not offer"),
        ([sasl("OAUTHBEARER"), OK], ChannelBindingError, "channel binding is required, but server did not offer"),
        ([sasl(*BOTH), WELCOME], ChannelBindingError, NOT_BOUND),
        ([sasl(*BOTH), CLEARTEXT], ProtocolError, "does not follow 'SASLInitialResponse sent'"),
        ([sasl(*BOTH), MD5], ProtocolError, "does not follow"),
        ([sasl(*BOTH), GSS], ChannelBindingError, CANNOT_BIND),
        ([sasl(*BOTH), sasl(*BOTH)], ProtocolError, "duplicate SASL authentication request"),
        ([sasl(*BOTH), request(12, b"v=AAAA")], ProtocolError, "does not follow"),
        ([request(11, b"r=x,s=eA==,i=1")], ProtocolError, "does not follow 'StartupMessage sent'"),
        ([request(12, b"v=AAAA")], ProtocolError, "does not follow"),
        ([READY], ProtocolError, "expected authentication request from server, but received Z"),
        ([status("a", "b")], ProtocolError, "expected authentication request from server, but received S"),
        ([frame(b"K", b"\0" * 8)], ProtocolError, "expected authentication request from server, but received K"),
        ([frame(b"v", b"\0\3\0\0\0\0\0\0")], ProtocolError, "server negotiated but asks for no changes"),
        ([frame(b"v", b"\0\3\0\2\0\0\0\0")], ProtocolError, "requested downgrade to a higher-numbered version"),
        ([frame(b"v", b"\0\2\0\0\0\0\0\0")], ProtocolError, "requested downgrade to pre-3.0 protocol version"),
        ([frame(b"v", b"\0\3\0\0\0\0\0\1_pq_.x\0")], ProtocolError, r'parameter that was not requested \("_pq_.x"\)'),
        ([frame(b"v", b"\0\3\0\0\0\0\0\1x\0")], ProtocolError, r'without a "_pq_." prefix \("x"\)'),
        ([frame(b"v", b"\0\3\0\0\xff\xff\xff\xff")], ProtocolError, "negative number of unsupported parameters"),
        ([frame(b"v", b"\0\3\0\0\0\0\0\1")], ProtocolError, "message too short"),
        ([frame(b"v", b"\0\3")], ProtocolError, "message too short"),
        ([frame(b"D")], ProtocolError, "expected authentication request from server, but received D"),
        ([frame(b"R")], ProtocolError, "malformed authentication request"),
        ([request(10)], ProtocolError, "malformed list of SASL mechanisms"),
        ([request(10, b"SCRAM-SHA-256-PLUS\0")], ProtocolError, "malformed list of SASL mechanisms"),
        ([request(10, b"SCRAM-SHA-256\0\0SCRAM-SHA-256-PLUS\0\0")], ProtocolError, "malformed list of SASL mechanisms"),
        ([request(10, b"SCRAM-SHA-256-PLUS")], ProtocolError, "unterminated string"),
        ([request(5, b"toolong")], ChannelBindingError, CANNOT_BIND),
        ([request(3, bytes(1993))], ProtocolError, "authentication request of 2001 bytes"),
        ([request(0, b"x")], ProtocolError, "authentication request 0 has 1 bytes too many"),
        ([request(3, READY)], ProtocolError, "authentication request 3 has 6 bytes too many"),
        ([error("28P01")], InvalidPassword, "no"),
        ([error("28000")], AuthRefused, "no"),
        ([error("53300")], ServerError, "no"),
        ([sasl(*BOTH), error("28P01")], InvalidPassword, "no"),
        ([b"HTTP/1.1 400 Bad Request\r\n"], ProtocolError, "expected authentication request from server"),
        ([b""], Closed, "server closed the connection unexpectedly"),
        ([sasl(*BOTH), b""], Closed, "server closed the connection unexpectedly"),
        ([frame(b"E")], ProtocolError, "malformed error message"),
    ],
)
def test_channel_binding_require_sends_no_secret_without_binding(
    answers: list[Answer], kind: type[Error], text: str
) -> None:
    driver = talk(*answers)
    refused(driver, kind, text, **REQUIRE)
    assert sent_no_secret(driver)


@pytest.mark.parametrize("late", ["before server-final", "before server-first"])
@pytest.mark.parametrize("binding", ["require", "prefer", "disable"])
def test_authentication_ok_before_the_server_signature_is_refused(late: str, binding: str) -> None:
    server = peer(bindings=None) if binding == "disable" else peer()
    answers = [server.offer, server.first, WELCOME] if late == "before server-final" else [server.offer, WELCOME]
    refused(
        talk(*answers),
        AuthError,
        NOT_BOUND if binding == "require" else "before its SCRAM signature",
        channel_binding=binding,
    )


@pytest.mark.parametrize("answer", [CLEARTEXT, MD5, request(11, b"r=x"), request(12, b"v=x"), sasl(*BOTH)])
def test_only_authentication_ok_may_follow_the_server_signature(answer: bytes) -> None:
    server = peer()
    driver = talk(server.offer, server.first, server.final, answer, OK)
    refused(driver, ProtocolError, "does not follow 'server signature verified'|duplicate SASL", **REQUIRE)
    assert PASSWORD.encode() not in driver.all_sent


def test_channel_binding_require_logs_in_with_plus() -> None:
    established = talk(*peer().script).run(handshake(make(**REQUIRE)))
    assert established.authenticated.channel_binding_type == "tls-server-end-point"
    assert established.authenticated.server_authenticated


# require_auth ------------------------------------------------------------------------------------------------------

METHOD_REQUESTS: dict[str, Callable[[], list[Answer]]] = {
    "password": lambda: [CLEARTEXT, WELCOME],
    "md5": lambda: [MD5, WELCOME],
    "gss": lambda: [GSS],
    "sspi": lambda: [SSPI],
    "scram-sha-256": lambda: peer().script,
    "none": lambda: [WELCOME],
}
REQUEST_TEXTS = {
    "password": "server requested a cleartext password",
    "md5": "server requested a hashed password",
    "gss": "server requested GSSAPI authentication",
    "sspi": "server requested SSPI authentication",
    "scram-sha-256": "server requested (SASL|SCRAM-SHA-256-PLUS) authentication",
    "none": "server did not complete authentication",
}


@pytest.mark.parametrize("requested_method", METHOD_REQUESTS)
@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("named", AUTH_METHODS)
def test_require_auth_refuses_other_methods(named: str, negated: bool, requested_method: str) -> None:
    """The texts are those of libpq."""
    driver = talk(*METHOD_REQUESTS[requested_method]())
    required = f"!{named}" if negated else named
    if (requested_method == named) == negated:
        text = f'authentication method requirement "{required}" failed: {REQUEST_TEXTS[requested_method]}'
        refused(driver, UnsupportedAuth, text, require_auth=required)
        assert sent_no_secret(driver)
        assert len(driver.sent) == 2
    elif requested_method in ("gss", "sspi"):
        refused(driver, UnsupportedAuth, "authentication not supported", require_auth=required)
    else:
        assert driver.run(handshake(make(require_auth=required))).authenticated.method.startswith(requested_method)


def test_require_auth_names_the_sasl_mechanism() -> None:
    """The error names the mechanism that the client would have chosen, or SASL if `require_auth` excludes SASL."""
    for required, overrides, name in (
        ("md5", {}, "SASL"),
        ("none", {}, "SASL"),
        ("oauth", {}, "SCRAM-SHA-256-PLUS"),
        ("!scram-sha-256", {}, "SCRAM-SHA-256-PLUS"),
        ("!scram-sha-256", {"channel_binding": "disable"}, "SCRAM-SHA-256"),
    ):
        text = f'authentication method requirement "{required}" failed: server requested {name} authentication$'
        failure = refused(talk(sasl(*BOTH)), UnsupportedAuth, "requested", require_auth=required, **overrides)
        assert re.search(text, failure.message)


@pytest.mark.parametrize("request_", [CLEARTEXT, MD5, WELCOME])
def test_require_auth_is_checked_before_channel_binding(request_: bytes) -> None:
    both = {"require_auth": "scram-sha-256", "channel_binding": "require"}
    refused(talk(request_), UnsupportedAuth, 'authentication method requirement "scram-sha-256" failed', **both)


def test_require_auth_scram_needs_a_complete_exchange() -> None:
    for answers in ([sasl(*BOTH), WELCOME], [peer().offer, lambda _: OK]):
        refused(talk(*answers), AuthError, "before its SCRAM signature", require_auth="scram-sha-256")


# Passwords ---------------------------------------------------------------------------------------------------------

UNVERIFIED: list[dict[str, Any]] = [
    {"tls_verify": "none"},
    {"tls_verify": "ca"},  # attackers can have certificates of public CAs too
    {"tls_mode": "prefer", "tls_fallback": True, "tls_verify": "none"},
    {"tls_mode": "allow", "tls_verify": "none"},
    {"tls_mode": "disable"},
]
VERIFIED: list[dict[str, Any]] = [
    {},
    {"tls_verify": "ca", "tls_default_roots": False, "tls_root_cert_path": "/ours.pem"},
    {"host": "/run/postgresql"},
]


def conversation(overrides: dict[str, Any], *answers: Answer) -> Driver:
    plain = overrides.get("tls_mode") in ("disable", "allow") or overrides.get("host", "")[:1] == "/"
    return Driver([[*answers] if plain else [b"S", *answers]])


@pytest.mark.parametrize("overrides", UNVERIFIED)
def test_cleartext_password_is_not_sent_to_an_unverified_server(overrides: dict[str, Any]) -> None:
    driver = conversation(overrides, CLEARTEXT, WELCOME)
    failure = refused(driver, UnsupportedAuth, "server requested a cleartext password", **overrides)
    assert "require_auth=password" in str(failure)
    assert sent_no_secret(driver)


@pytest.mark.parametrize("overrides", [*VERIFIED, *({**one, "require_auth": "password"} for one in UNVERIFIED)])
def test_cleartext_password_is_sent_to_a_verified_server(overrides: dict[str, Any]) -> None:
    """Unix-domain sockets and `require_auth=password` permit it too."""
    driver = conversation(overrides, CLEARTEXT, WELCOME)
    assert driver.run(handshake(make(**overrides))).authenticated.method == "password"
    assert driver.sent[-1] == frame(b"p", PASSWORD.encode() + b"\0")


@pytest.mark.parametrize("require_auth", ["!md5", "!none", "!scram-sha-256,!gss"])
def test_negated_require_auth_does_not_permit_cleartext_passwords(require_auth: str) -> None:
    driver = conversation({}, CLEARTEXT, WELCOME)
    with pytest.raises(UnsupportedAuth, match="cleartext password"):
        driver.run(handshake(make(tls_verify="none", require_auth=require_auth)))
    assert sent_no_secret(driver)


@pytest.mark.parametrize(
    ("overrides", "warned"), [*((one, True) for one in UNVERIFIED), *((one, False) for one in VERIFIED)]
)
def test_md5_to_an_unverified_server_is_logged(overrides: dict[str, Any], warned: bool) -> None:
    driver = conversation(overrides, MD5, WELCOME)
    assert driver.run(handshake(make(**overrides))).authenticated.method == "md5"
    assert driver.sent[-1] == frame(b"p", b"md5cc853dac8c4bce92a5e513c10306ca34\0")
    assert ["md5" in warning for warning in driver.warnings] == [True] * warned


def test_md5_digest_of_a_known_password() -> None:
    """The digest is ``md5`` and md5(md5(password + user) + salt), both in hexadecimal."""
    assert md5_digest(b"postgres", b"secret", b"\x01\x02\x03\x04") == b"md5bb41a296aab6baccb36ff243a562abff"


def test_md5_is_refused_if_hashlib_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is the case with FIPS."""

    def no_md5(*_: object) -> None:
        raise ValueError("disabled for FIPS")

    monkeypatch.setattr(hashlib, "new", no_md5)
    refused(talk(MD5), UnsupportedAuth, "FIPS")


@pytest.mark.parametrize("salt", [b"", b"abc", b"abcde"])
def test_md5_salt_of_another_length_is_refused(salt: bytes) -> None:
    driver = talk(request(5, salt))
    refused(driver, ProtocolError, "md5 salt that is not 4 bytes long")
    assert sent_no_secret(driver)


@pytest.mark.parametrize("password", [None, "", b""])
@pytest.mark.parametrize("answer", [CLEARTEXT, MD5, sasl(*BOTH)])
def test_missing_password_has_the_text_of_libpq(password: str | bytes | None, answer: bytes) -> None:
    driver = talk(answer)
    refused(driver, AuthError, "fe_sendauth: no password supplied", password=password)
    assert len(driver.sent) == 2


def test_cleartext_password_with_a_nul_is_refused() -> None:
    driver = talk(CLEARTEXT)
    refused(driver, ConfigError, "NUL", password=b"s3cret\0pencil")
    assert b"s3cret" not in driver.all_sent


def test_password_bytes_that_are_not_text_are_used_unchanged() -> None:
    driver = talk(CLEARTEXT, WELCOME)
    driver.run(handshake(make(password=b"\xff\xfe")))
    assert driver.sent[-1] == frame(b"p", b"\xff\xfe\0")
    driver = talk(*peer().script)
    refused(driver, AuthError, "password authentication failed", password=b"\xff\xfe")
    assert driver.derived[0].password == b"\xff\xfe"


def test_password_is_prepared_with_saslprep() -> None:
    driver = talk(*ScramPeer("IX", bindings=BINDINGS).script)
    driver.run(handshake(make(password="\u2168")))
    assert driver.derived[0].password == b"IX"


# SCRAM -------------------------------------------------------------------------------------------------------------


def test_configured_scram_keys_need_no_derivation() -> None:
    keys = scram_keys(PASSWORD, SALT, 1)
    given = {"password": None, "scram_client_key": keys.client_key, "scram_server_key": keys.server_key}
    driver = talk(*peer().script)
    assert driver.run(handshake(make(**given))).authenticated.server_authenticated
    assert driver.derived == []
    refused(talk(CLEARTEXT), AuthError, "no password supplied", **given)


def test_server_signature_of_another_key_is_refused() -> None:
    keys = scram_keys(PASSWORD, SALT, 1)
    given = {"scram_client_key": keys.client_key, "scram_server_key": b"?" * 32}
    refused(talk(*peer().script), ServerSignatureError, "incorrect server signature", **given)


@pytest.mark.parametrize(
    "final",
    [b"v=" + base64.b64encode(bytes(32)), b"v=AAAA", b"", b"e=other-error", b"v=" + base64.b64encode(bytes(31))],
)
def test_invalid_server_final_message_is_refused(final: bytes) -> None:
    server = peer()
    with pytest.raises((AuthError, ProtocolError)):
        talk(server.offer, server.first, request(12, final) + WELCOME).run(handshake(make()))


def test_too_many_iterations_are_refused_before_the_derivation() -> None:
    for iterations, limit in ((10_000_001, 10_000_000), (2, 1), (9_999_999_999, 2**31)):
        server = peer(iterations=1)

        def many(sent: bytes, server: ScramPeer = server, iterations: int = iterations) -> bytes:
            return request(11, server.challenge(sent).replace(b",i=1", b",i=%d" % iterations))

        driver = talk(server.offer, many, server.welcome)
        refused(driver, AuthError, f"requires {iterations} PBKDF2 iterations", scram_max_iterations=limit)
        assert driver.derived == []
        assert sent_no_secret(driver)


@pytest.mark.parametrize(("iterations", "limit"), [(1, 2), (4095, 4096), (99_999, 100_000)])
def test_too_few_iterations_are_refused_before_a_proof_is_sent(iterations: int, limit: int) -> None:
    server = peer(iterations=1)
    few = lambda sent: request(11, server.challenge(sent).replace(b",i=1", b",i=%d" % iterations))  # noqa: E731 - one expression, used once
    driver = talk(server.offer, few, server.welcome)
    error = refused(driver, AuthError, f"fewer than scram_min_iterations={limit}", scram_min_iterations=limit)
    assert "scram_min_iterations" in str(error.remedy)
    assert driver.derived == []
    assert sent_no_secret(driver)


def test_minimum_of_iterations_is_accepted() -> None:
    assert talk(*peer(iterations=50).script).run(handshake(make(scram_min_iterations=50)))


def test_one_iteration_is_accepted_by_default() -> None:
    assert talk(*peer(iterations=1).script).run(handshake(make()))


def test_maximum_of_iterations_is_accepted() -> None:
    assert talk(*peer(iterations=50).script).run(handshake(make(scram_max_iterations=50)))


def test_deadline_during_pbkdf2_sends_no_proof() -> None:
    server = peer()

    class Slow(Driver):
        def _derive(self, item: object) -> Any:
            raise TimeoutError("timeout expired (authenticating)")

    driver = Slow([[b"S", *server.script]])
    refused(driver, TimeoutError, "timeout expired")
    assert sent_no_secret(driver)


@pytest.mark.parametrize(
    ("code", "at", "overrides", "bindings", "kind"),
    [
        ("28000", 2, {}, BINDINGS, ChannelBindingRefused),
        ("28P01", 2, {}, BINDINGS, InvalidPassword),
        ("28000", 1, {}, BINDINGS, AuthRefused),
        ("28000", 2, {"channel_binding": "disable"}, None, AuthRefused),
        ("08P01", 2, {}, BINDINGS, ServerError),
    ],
)
def test_class_of_a_refusal_depends_on_sqlstate_and_state(
    code: str, at: int, overrides: dict[str, Any], bindings: dict[str, bytes] | None, kind: type[Error]
) -> None:
    server = peer(bindings=bindings)
    answers = [*server.script[:at], error(code, "it says")]
    assert type(refused(talk(*answers), kind, "FATAL:  it says", **overrides)) is kind


def test_refused_y_flag_is_a_channel_binding_error() -> None:
    """The server offers channel binding, so a man in the middle has removed PLUS from the list."""
    answers = [sasl("SCRAM-SHA-256"), error("28000", "SCRAM channel binding negotiation error")]
    refused(talk(*answers), ChannelBindingRefused, "negotiation error")


# Other messages ----------------------------------------------------------------------------------------------------


def test_notices_are_ignored() -> None:
    notice = error("00000", "hello", severity="NOTICE", kind=b"N")
    server = peer()
    driver = talk(notice + notice, server.offer, notice, server.first, lambda sent: notice + server.welcome(sent))
    assert driver.run(handshake(make(**REQUIRE))).parameters == {"server_version": "17.10"}


def test_authentication_requests_have_the_length_limit_of_libpq() -> None:
    """The limit is 2000 bytes with the length word. SASL requests may be longer."""
    refused(talk(request(7, bytes(1992))), UnsupportedAuth, "GSSAPI authentication not supported")
    refused(talk(request(7, bytes(1993))), ProtocolError, "authentication request of 2001 bytes")
    long_list = sasl("SCRAM-SHA-256-PLUS", *(f"X-{number:04}" for number in range(8000)))
    server = peer()
    assert talk(long_list, server.first, server.welcome).run(handshake(make(**REQUIRE)))


def test_binding_uses_the_certificate_that_the_backend_reports() -> None:
    facts = Facts()
    server = peer()
    driver = Driver([[b"S", *server.script]], facts=facts)
    driver.run(handshake(make(**REQUIRE)))
    cbind = base64.b64decode(server.client_final.split(b",")[0][2:])
    assert cbind == b"p=tls-server-end-point,," + hashlib.sha384(facts.peer_certificate).digest()
