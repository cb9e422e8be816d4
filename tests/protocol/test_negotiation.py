"""The client continues without TLS only after ``N``, and opens a second connection only where libpq does."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.config import TlsMode, TlsVerify, TlsVersion
from babar_tls.config.host import Host
from babar_tls.errors import (
    AuthError,
    CertificateError,
    ChannelBindingError,
    ChannelBindingRefused,
    ClientCertificateError,
    Closed,
    ConfigError,
    Error,
    IoError,
    ProtocolError,
    ServerError,
    ServerSignatureError,
    TimeoutError,
    TlsError,
    TlsRefused,
)
from babar_tls.protocol.handshake import cancel, handshake
from babar_tls.protocol.messages import cancel_request, frame, ssl_request
from babar_tls.protocol.negotiation import Attempt, attempts, server_name

from .configs import PASSWORD, make
from .script import (
    BOTH,
    CLEARTEXT,
    ECDSA_SHA384,
    MD5,
    OK,
    WELCOME,
    Answer,
    Driver,
    Facts,
    ScramPeer,
    error,
    request,
    sasl,
    talk,
)

PREFER = {"tls_mode": "prefer"}
FALLBACK = {"tls_mode": "prefer", "tls_fallback": True}
ALLOW = {"tls_mode": "allow"}


def refused(driver: Driver, kind: type[Error], match: str, **overrides: Any) -> Error:
    with pytest.raises(kind, match=match) as caught:
        driver.run(handshake(make(**overrides)))
    return caught.value


UNBINDABLE = [
    (sasl(*BOTH), "channel binding required, but SSL not in use"),
    (sasl("SCRAM-SHA-256"), "channel binding required, but SSL not in use"),
    (CLEARTEXT, "channel binding required but not supported by server's authentication request"),
    (MD5, "channel binding required but not supported by server's authentication request"),
    (WELCOME, "channel binding required, but server authenticated client without channel binding"),
]


def end_point() -> bytes:
    return hashlib.sha384(ECDSA_SHA384).digest()


# The answer to SSLRequest ------------------------------------------------------------------------------------------


def test_tls_begins_after_s() -> None:
    """Nothing else is sent before."""
    driver = talk(WELCOME)
    established = driver.run(handshake(make()))
    assert established.facts == driver.facts.to_facts()
    assert established.verified is TlsVerify.FULL
    assert established.negotiation == "postgres"
    assert driver.log[:4] == ["Connect", "Send", "Receive", "StartTls"]
    assert driver.sent[0] == ssl_request()


def test_n_is_an_error_if_tls_is_required() -> None:
    driver = Driver([[b"N"]])
    failure = refused(driver, TlsRefused, "server does not support SSL, but SSL was required")
    assert "Set sslmode=disable or prefer" in str(failure)
    assert driver.sent == [ssl_request()]


@pytest.mark.parametrize("overrides", [PREFER, FALLBACK])
def test_n_continues_without_tls_if_the_mode_allows_it(overrides: dict[str, Any]) -> None:
    """The connection is the same."""
    driver = Driver([[b"N", WELCOME]])
    established = driver.run(handshake(make(**overrides)))
    assert (established.facts, established.negotiation, established.verified) == (None, None, TlsVerify.NONE)
    assert len(driver.connects) == 1


@pytest.mark.parametrize("overrides", [{}, PREFER])
@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (b"S\x16", ProtocolError, "received unencrypted data after SSL response"),
        (b"N" + OK, ProtocolError, "received unencrypted data after SSL response"),
        (b"SS", ProtocolError, "received unencrypted data after SSL response"),
        (error("XX000", "do as I say"), TlsError, "server sent an error response during SSL exchange"),
        (b"E", TlsError, "server sent an error response during SSL exchange"),
        (b"H", TlsError, "received invalid response to SSL negotiation: H"),
        (b"HTTP/1.1 400", TlsError, "received invalid response to SSL negotiation: H"),
        (b"\x00", TlsError, "received invalid response to SSL negotiation"),
        (b"s", TlsError, "received invalid response to SSL negotiation"),
        (b"n", TlsError, "received invalid response to SSL negotiation"),
        (b"R", TlsError, "received invalid response to SSL negotiation"),
        (b"", Closed, "server closed the connection unexpectedly"),
    ],
)
def test_other_answer_to_sslrequest_is_refused(
    overrides: dict[str, Any], answer: bytes, kind: type[Error], text: str
) -> None:
    driver = Driver([[answer]])
    failure = refused(driver, kind, text, **overrides)
    assert not isinstance(failure, TlsRefused)
    assert "do as I say" not in str(failure)  # CVE-2024-10977
    assert driver.sent == [ssl_request()]
    assert len(driver.connects) == 1


@pytest.mark.parametrize("mode", ["prefer", "require"])
@given(answer=st.binary(max_size=40))
def test_only_n_leads_to_a_startup_message_without_tls(mode: str, answer: bytes) -> None:
    driver = Driver([[answer, WELCOME]], facts=TlsError("handshake failed"))
    try:
        driver.run(handshake(make(tls_mode=mode)))
    except Error:
        assert driver.sent == [ssl_request()]
    else:
        assert (mode, answer) == ("prefer", b"N")


@pytest.mark.parametrize(
    "failure",
    [TlsError("handshake failed"), CertificateError("expired", reason="expired"), TimeoutError("timeout expired")],
)
@pytest.mark.parametrize("overrides", [{}, PREFER])
def test_failed_tls_handshake_is_an_error(overrides: dict[str, Any], failure: Error) -> None:
    """`TlsMode.PREFER` does not continue without TLS."""
    driver = talk(facts=failure)
    with pytest.raises(type(failure)) as caught:
        driver.run(handshake(make(**overrides)))
    assert caught.value is failure
    assert driver.sent == [ssl_request()]
    assert len(driver.connects) == 1


# Without TLS -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [{"tls_mode": "disable"}, {"host": "/run/postgresql"}, {"host": "@babar"}])
def test_tls_is_not_requested_with_disable_and_unix_sockets(overrides: dict[str, Any]) -> None:
    driver = Driver([[WELCOME]])
    assert driver.run(handshake(make(**overrides))).facts is None
    assert driver.sent[0][4:8] == b"\x00\x03\x00\x00"
    assert driver.connects[0].is_unix_socket == ("host" in overrides)


def test_hostaddr_is_connected_to_and_host_is_verified() -> None:
    """With `hostaddr`, a socket directory in `host` is not used."""
    driver = talk(WELCOME)
    driver.run(handshake(make(hostaddr="192.0.2.7")))
    assert driver.connects == [Host("db.example.com", 5432, "192.0.2.7")]
    assert driver.tls[0].server_hostname == "db.example.com"
    assert not make(host="/run/postgresql", hostaddr="192.0.2.7").targets[0].is_unix_socket


# A second connection -----------------------------------------------------------------------------------------------


def test_each_mode_has_its_attempts_in_order() -> None:
    assert attempts(make(tls_mode="disable")) == (Attempt.PLAIN,)
    assert attempts(make(tls_mode="allow")) == (Attempt.PLAIN, Attempt.TLS)
    assert attempts(make(tls_mode="prefer")) == (Attempt.TLS_OR_PLAIN,)
    assert attempts(make(**FALLBACK)) == (Attempt.TLS_OR_PLAIN, Attempt.PLAIN)
    assert attempts(make(tls_mode="require")) == (Attempt.TLS,)
    assert attempts(make(host="/tmp", **FALLBACK)) == (Attempt.PLAIN,)  # noqa: S108 - no file is written


@pytest.mark.parametrize(
    ("answers", "facts"),
    [
        ([b"S"], TlsError("handshake failed")),
        ([b"S"], CertificateError("untrusted", reason="untrusted")),
        ([b"S"], Facts(alpn="h2")),
        ([b"S", error("28000")], None),
        ([b"S\x16"], None),
        ([b"SR\0\0\0\x08\0\0\0\0"], None),
        ([b"SSH-2.0-OpenSSH_9.9\r\n"], None),
        ([b"S"], ProtocolError("raised by the driver")),
        ([b"S"], IoError("reset")),
        ([b"S"], Closed("reset")),
    ],
)
def test_prefer_with_fallback_continues_without_tls_on_a_new_connection(
    answers: list[Answer], facts: Facts | Error | None
) -> None:
    """This is `sslmode=prefer` of libpq. The TLS attempt failed, or the server refused it."""
    driver = Driver([answers, [WELCOME]], facts=facts or Facts())
    established = driver.run(handshake(make(**FALLBACK)))
    assert established.facts is None
    assert len(driver.connects) == 2
    assert driver.sent[0] == ssl_request()
    assert driver.sent.count(ssl_request()) == 1


@pytest.mark.parametrize("overrides", [FALLBACK, ALLOW])
@pytest.mark.parametrize(
    "answers",
    [
        [b"N\x16", b"x"],
        [b"?"],
        [Closed("gone")],
        [b""],
        [TimeoutError("timeout expired")],
        [IoError("broken")],
        [b"S", b"HTTP/1.1"],
        [b"S", request(13)],
        [b"S", WELCOME[:9] + error("57P01")],
        [b"S", WELCOME[:9] + frame(b"?")],
    ],
)
def test_other_failures_are_not_followed_by_a_second_connection(
    overrides: dict[str, Any], answers: list[Answer]
) -> None:
    answers = answers[1:] if overrides is ALLOW and answers[0] == b"S" else answers
    driver = Driver([answers, [WELCOME]])
    with pytest.raises(Error):
        driver.run(handshake(make(**overrides)))
    assert len(driver.connects) == 1


def test_error_response_to_sslrequest_is_not_followed_by_a_second_connection() -> None:
    """The error is unauthenticated."""
    driver = Driver([[error("XX000")], [WELCOME]])
    refused(driver, TlsError, "server sent an error response during SSL exchange", **FALLBACK)
    assert len(driver.connects) == 1


def test_wrong_server_signature_is_not_followed_by_a_second_connection() -> None:
    peer = ScramPeer(PASSWORD, bindings={"tls-server-end-point": b""})

    def wrong_signature(sent: bytes) -> bytes:
        return request(12, b"v=" + b"A" * 43 + b"=")

    for overrides in (FALLBACK, ALLOW):
        offer, first, _ = ScramPeer(PASSWORD, offered=("SCRAM-SHA-256",)).script
        driver = Driver(
            [
                [b"N", offer, first, wrong_signature] if overrides is FALLBACK else [offer, first, wrong_signature],
                [WELCOME],
            ]
        )
        refused(driver, ServerSignatureError, "incorrect server signature", **overrides)
        assert len(driver.connects) == 1
    assert peer.client_final == b""


def test_refused_channel_binding_is_not_followed_by_a_second_connection() -> None:
    """It indicates a man in the middle, who could read a connection without TLS."""
    for offered, last in ((("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), 1), (("SCRAM-SHA-256",), 0)):
        offer, first, _ = ScramPeer(PASSWORD, offered=offered).script
        answers: list[Answer] = [b"S", offer, first, error("28000")] if last else [b"S", offer, error("28000")]
        if last:
            answers[2] = lambda sent: request(11, b"r=" + sent.rpartition(b"r=")[2] + b"x,s=c2FsdA==,i=1")
        driver = Driver([answers, [WELCOME]])
        refused(driver, ChannelBindingRefused, "no", **FALLBACK)
        assert len(driver.connects) == 1


def test_fallback_does_not_evade_channel_binding() -> None:
    for answer, text in UNBINDABLE:
        driver = Driver([[b"S"], [answer]], facts=TlsError("handshake failed"))
        refused(driver, ChannelBindingError, text, **FALLBACK, channel_binding="require")
        assert len(driver.sent) == 2  # SSLRequest and StartupMessage


def test_sslmode_allow_satisfies_channel_binding_require_only_with_tls() -> None:
    peer = ScramPeer(PASSWORD, bindings={"tls-server-end-point": end_point()})
    driver = Driver([[error("28000", "no encryption")], [b"S", *peer.script]])
    established = driver.run(handshake(make(**ALLOW, channel_binding="require")))
    assert established.authenticated.channel_binding_type == "tls-server-end-point"
    for answer, text in UNBINDABLE:
        driver = Driver([[answer]])
        refused(driver, ChannelBindingError, text, **ALLOW, channel_binding="require")
        assert len(driver.connects) == 1


def test_n_does_not_evade_channel_binding() -> None:
    for answer, text in UNBINDABLE:
        driver = Driver([[b"N", answer]])
        refused(driver, ChannelBindingError, text, **PREFER, channel_binding="require")
        assert len(driver.sent) == 2


@pytest.mark.parametrize("overrides", [FALLBACK, ALLOW])
def test_starting_server_is_not_followed_by_a_second_connection(overrides: dict[str, Any]) -> None:
    answers = [error("57P03", "starting up")]
    driver = Driver([[b"S", *answers] if overrides is FALLBACK else answers, [WELCOME]])
    refused(driver, ServerError, "starting up", **overrides)
    assert len(driver.connects) == 1


def test_refusal_after_n_is_not_followed_by_a_second_connection() -> None:
    driver = Driver([[b"N", error("28000", "no entry")], [WELCOME]])
    failure = refused(driver, ServerError, "no entry", **FALLBACK)
    assert len(driver.connects) == 1
    assert failure.earlier == ()


def test_late_refusal_of_the_client_certificate_does_not_fall_back() -> None:
    """TLS 1.3 servers report it only after the handshake."""
    driver = Driver([[b"S", ClientCertificateError("not accepted")], [WELCOME]])
    refused(driver, ClientCertificateError, "not accepted", **FALLBACK)
    assert len(driver.connects) == 1


def test_refusal_after_authentication_lists_the_first_attempt() -> None:
    driver = Driver([[error("28000", "no encryption")], [b"S", OK + error("3D000", "no such database")]])
    failure = refused(driver, ServerError, "no such database", **ALLOW)
    assert [attempt.message for attempt in failure.attempts] == ["no encryption", "no such database"]


def test_fallback_does_not_send_a_cleartext_password() -> None:
    driver = Driver([[b"S"], [CLEARTEXT, OK]], facts=TlsError("handshake failed"))
    refused(driver, AuthError, "server requested a cleartext password", **FALLBACK)
    assert PASSWORD.encode() not in driver.all_sent


def test_last_error_is_raised_and_lists_the_one_before() -> None:
    driver = Driver([[b"S"], [error("28000", "no entry")]], facts=TlsError("handshake failed"))
    failure = refused(driver, ServerError, "no entry", **FALLBACK)
    (earlier,) = failure.earlier
    assert isinstance(earlier, TlsError)
    assert failure.attempts == (earlier, failure)
    assert str(failure).index("handshake failed") < str(failure).index("no entry")


def test_sslmode_allow_uses_tls_only_after_a_refusal() -> None:
    driver = Driver([[WELCOME]])
    assert driver.run(handshake(make(**ALLOW))).facts is None
    assert ssl_request() not in driver.sent
    driver = Driver([[error("28000")], [b"S", WELCOME]])
    assert driver.run(handshake(make(**ALLOW))).facts == driver.facts.to_facts()
    assert driver.log.index("StartTls") > driver.log.index("Connect", 1)
    driver = Driver([[error("28000")], [b"N", WELCOME]])
    refused(driver, TlsRefused, "server does not support SSL", **ALLOW)


def test_unreachable_host_is_tried_once() -> None:
    driver = Driver([], refused={0: IoError("refused")})
    refused(driver, IoError, "refused", **FALLBACK)
    assert len(driver.connects) == 1


# Direct TLS and ALPN -----------------------------------------------------------------------------------------------


def test_direct_negotiation_sends_nothing_before_tls() -> None:
    driver = Driver([[WELCOME]])
    established = driver.run(handshake(make(tls_negotiation="direct")))
    assert established.negotiation == "direct"
    assert driver.log[:2] == ["Connect", "StartTls"]
    assert ssl_request() not in driver.sent


@pytest.mark.parametrize(
    ("negotiation", "selected", "text"),
    [
        ("direct", "postgresql", None),
        ("direct", None, "SSL connection was established without ALPN protocol negotiation extension"),
        ("direct", "h2", "unexpected ALPN protocol 'h2'"),
        ("postgres", "postgresql", None),
        ("postgres", None, None),
        ("postgres", "http/1.1", "unexpected ALPN protocol 'http/1.1'"),
        ("postgres", "", "unexpected ALPN protocol ''"),
    ],
)
def test_direct_tls_requires_alpn_and_other_protocols_are_refused(
    negotiation: str, selected: str | None, text: str | None
) -> None:
    """After SSLRequest, ALPN is optional."""
    answers: list[Answer] = [WELCOME] if negotiation == "direct" else [b"S", WELCOME]
    driver = Driver([answers], facts=Facts(alpn=selected))
    if text is None:
        assert driver.run(handshake(make(tls_negotiation=negotiation))).facts.alpn == selected
    else:
        refused(driver, TlsError, text, tls_negotiation=negotiation)
        assert all(data == ssl_request() for data in driver.sent)


# Names and parameters ----------------------------------------------------------------------------------------------


def test_backend_receives_the_configured_tls_parameters() -> None:
    """ALPN is offered with both kinds of negotiation."""
    driver = talk(WELCOME)
    roots = {"tls_root_cert_path": "/roots.pem", "tls_default_roots": False}
    config = make(tls_verify="ca", tls_min_version="TLSv1.3", tls_max_version="TLSv1.3", **roots)
    driver.run(handshake(config))
    parameters = driver.tls[0].parameters
    assert parameters == config.tls_parameters
    assert (parameters.verify, parameters.root_cert_path, parameters.default_roots) == (
        TlsVerify.CA,
        "/roots.pem",
        False,
    )
    assert (parameters.min_version, parameters.max_version) == (TlsVersion.TLSV1_3, TlsVersion.TLSV1_3)
    assert parameters.alpn == ("postgresql",)
    assert hash(parameters) == hash(config.tls_parameters)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({}, "db.example.com"),
        ({"tls_server_name": "other.example"}, "other.example"),
        ({"hostaddr": "192.0.2.7"}, "db.example.com"),
        ({"host": "bücher.example"}, "xn--bcher-kva.example"),
        ({"host": "2001:db8::1"}, "2001:db8::1"),
        ({"host": "fe80::1%eth0"}, "fe80::1"),
    ],
)
def test_server_name_is_host_or_tls_server_name(overrides: dict[str, Any], name: str) -> None:
    """Names that are not ASCII are converted to A-labels."""
    assert server_name(make(**overrides)) == name


@pytest.mark.parametrize("name", ["é..example", "é" * 70, "\ud800.example"])
def test_invalid_server_name_is_a_config_error(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a host name"):
        server_name(make(tls_server_name=name))


# Cancel ------------------------------------------------------------------------------------------------------------

TARGET = Host("db.example.com", 5432, "192.0.2.8")


@pytest.mark.parametrize(
    ("overrides", "tls", "answers", "log"),
    [
        ({}, True, [b"S"], ["Connect", "Send", "Receive", "StartTls", "Send", "Receive"]),
        ({"tls_negotiation": "direct"}, True, [], ["Connect", "StartTls", "Send", "Receive"]),
        (PREFER, False, [], ["Connect", "Send", "Receive"]),
        (PREFER, False, [b"?"], ["Connect", "Send", "Receive"]),
    ],
)
def test_cancel_request_uses_tls_if_the_session_does(
    overrides: dict[str, Any], tls: bool, answers: list[Answer], log: list[str]
) -> None:
    """It goes to the server that runs the query. An answer is ignored."""
    driver = Driver([answers])
    driver.run(cancel(make(**overrides), TARGET, 4711, b"key!", tls=tls))
    assert driver.connects == [TARGET]
    assert driver.sent[-1] == cancel_request(4711, b"key!")
    assert driver.log == log


@pytest.mark.parametrize("answer", [b"N", b"E", b"S\x16", b""])
@pytest.mark.parametrize("mode", list(TlsMode))
def test_cancel_key_of_a_tls_session_is_not_sent_without_tls(mode: TlsMode, answer: bytes) -> None:
    driver = Driver([[answer]])
    with pytest.raises(Error):
        driver.run(cancel(make(tls_mode=mode), TARGET, 4711, b"key!", tls=True))
    assert b"key!" not in driver.all_sent


def test_cancel_needs_no_close_notify() -> None:
    driver = talk(Closed("closed without close_notify"))
    driver.run(cancel(make(), TARGET, 4711, b"key!", tls=True))
    assert driver.sent[-1] == cancel_request(4711, b"key!")
