"""Plain text follows a server's ``N`` and nothing else, and a second connection what libpq lets one follow."""

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


def test_yes() -> None:
    """After ``S`` TLS begins, and only then is anything said."""
    driver = talk(WELCOME)
    established = driver.run(handshake(make()))
    assert established.facts == driver.facts.to_facts()
    assert established.verified is TlsVerify.FULL
    assert established.negotiation == "postgres"
    assert driver.log[:4] == ["Connect", "Send", "Receive", "StartTls"]
    assert driver.sent[0] == ssl_request()


def test_no_is_an_error() -> None:
    """``N`` ends the connection where TLS is required, with the way out."""
    driver = Driver([[b"N"]])
    failure = refused(driver, TlsRefused, "server does not support SSL, but SSL was required")
    assert "Set sslmode=disable or prefer" in str(failure)
    assert driver.sent == [ssl_request()]


@pytest.mark.parametrize("overrides", [PREFER, FALLBACK])
def test_no_is_plain(overrides: dict[str, Any]) -> None:
    """After ``N`` the modes that allow it go on in plain text, on the same connection."""
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
def test_any_other_answer(overrides: dict[str, Any], answer: bytes, kind: type[Error], text: str) -> None:
    """Whatever is neither ``S`` nor ``N``, alone, is an error and never plain text."""
    driver = Driver([[answer]])
    failure = refused(driver, kind, text, **overrides)
    assert not isinstance(failure, TlsRefused)
    assert "do as I say" not in str(failure)  # CVE-2024-10977
    assert driver.sent == [ssl_request()]
    assert len(driver.connects) == 1


@pytest.mark.parametrize("mode", ["prefer", "require"])
@given(answer=st.binary(max_size=40))
def test_arbitrary_answers(mode: str, answer: bytes) -> None:
    """No answer but ``N`` leads to a StartupMessage without TLS."""
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
def test_tls_that_fails(overrides: dict[str, Any], failure: Error) -> None:
    """A handshake that fails is an error; `TlsMode.PREFER` does not take it for a server without TLS."""
    driver = talk(facts=failure)
    with pytest.raises(type(failure)) as caught:
        driver.run(handshake(make(**overrides)))
    assert caught.value is failure
    assert driver.sent == [ssl_request()]
    assert len(driver.connects) == 1


# Where there is no TLS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [{"tls_mode": "disable"}, {"host": "/run/postgresql"}, {"host": "@babar"}])
def test_never_asked(overrides: dict[str, Any]) -> None:
    """`TlsMode.DISABLE` and Unix-domain sockets never ask for TLS."""
    driver = Driver([[WELCOME]])
    assert driver.run(handshake(make(**overrides))).facts is None
    assert driver.sent[0][4:8] == b"\x00\x03\x00\x00"
    assert driver.connects[0].is_unix_socket == ("host" in overrides)


def test_hostaddr_is_where_to_connect() -> None:
    """`hostaddr` is connected to, with TLS even beside a socket directory, and `host` is verified."""
    driver = talk(WELCOME)
    driver.run(handshake(make(hostaddr="192.0.2.7")))
    assert driver.connects == [Host("db.example.com", 5432, "192.0.2.7")]
    assert driver.tls[0].server_hostname == "db.example.com"
    assert not make(host="/run/postgresql", hostaddr="192.0.2.7").targets[0].is_unix_socket


# A second connection -----------------------------------------------------------------------------------------------


def test_attempts() -> None:
    """The attempts that each mode may make, in their order."""
    assert attempts(make(tls_mode="disable")) == (Attempt.PLAIN,)
    assert attempts(make(tls_mode="allow")) == (Attempt.PLAIN, Attempt.TLS)
    assert attempts(make(tls_mode="prefer")) == (Attempt.TLS_OR_PLAIN,)
    assert attempts(make(**FALLBACK)) == (Attempt.TLS_OR_PLAIN, Attempt.PLAIN)
    assert attempts(make(tls_mode="require")) == (Attempt.TLS,)
    assert attempts(make(host="/tmp", **FALLBACK)) == (Attempt.PLAIN,)  # noqa: S108 - nothing is written there


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
        ([b"S"], ProtocolError("what a driver may throw")),
        ([b"S"], IoError("reset")),
        ([b"S"], Closed("reset")),
    ],
)
def test_fallback_after(answers: list[Answer], facts: Facts | Error | None) -> None:
    """Libpq's ``prefer`` follows a TLS attempt that failed, or that the server refused, with a plain one."""
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
def test_no_second_connection_after(overrides: dict[str, Any], answers: list[Answer]) -> None:
    """Nonsense, a broken network, policy and what comes after AuthenticationOk end the matter."""
    answers = answers[1:] if overrides is ALLOW and answers[0] == b"S" else answers
    driver = Driver([answers, [WELCOME]])
    with pytest.raises(Error):
        driver.run(handshake(make(**overrides)))
    assert len(driver.connects) == 1


def test_no_second_connection_after_an_error_in_place_of_an_answer() -> None:
    """Anybody can say ``E`` to SSLRequest: it is no reason to go on in plain text."""
    driver = Driver([[error("XX000")], [WELCOME]])
    refused(driver, TlsError, "server sent an error response during SSL exchange", **FALLBACK)
    assert len(driver.connects) == 1


def test_no_second_connection_after_an_impostor() -> None:
    """A server that could not prove itself is not asked again with less security."""
    peer = ScramPeer(PASSWORD, bindings={"tls-server-end-point": b""})

    def lie(sent: bytes) -> bytes:
        return request(12, b"v=" + b"A" * 43 + b"=")

    for overrides in (FALLBACK, ALLOW):
        offer, first, _ = ScramPeer(PASSWORD, offered=("SCRAM-SHA-256",)).script
        driver = Driver([[b"N", offer, first, lie] if overrides is FALLBACK else [offer, first, lie], [WELCOME]])
        refused(driver, ServerSignatureError, "incorrect server signature", **overrides)
        assert len(driver.connects) == 1
    assert peer.client_final == b""


def test_no_second_connection_after_a_broken_binding() -> None:
    """A server that proves a man in the middle is not followed by plain text, which he could read."""
    for offered, last in ((("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), 1), (("SCRAM-SHA-256",), 0)):
        offer, first, _ = ScramPeer(PASSWORD, offered=offered).script
        answers: list[Answer] = [b"S", offer, first, error("28000")] if last else [b"S", offer, error("28000")]
        if last:
            answers[2] = lambda sent: request(11, b"r=" + sent.rpartition(b"r=")[2] + b"x,s=c2FsdA==,i=1")
        driver = Driver([answers, [WELCOME]])
        refused(driver, ChannelBindingRefused, "no", **FALLBACK)
        assert len(driver.connects) == 1


def test_fallback_does_not_evade_channel_binding() -> None:
    """``channel_binding=require`` is not satisfied by the plain attempt, whatever the server asks for there."""
    for answer, text in UNBINDABLE:
        driver = Driver([[b"S"], [answer]], facts=TlsError("handshake failed"))
        refused(driver, ChannelBindingError, text, **FALLBACK, channel_binding="require")
        assert len(driver.sent) == 2  # SSLRequest and StartupMessage


def test_allow_can_bind_in_its_second_attempt() -> None:
    """``sslmode=allow`` with ``channel_binding=require`` logs in where the server wants TLS, and there alone."""
    peer = ScramPeer(PASSWORD, bindings={"tls-server-end-point": end_point()})
    driver = Driver([[error("28000", "no encryption")], [b"S", *peer.script]])
    established = driver.run(handshake(make(**ALLOW, channel_binding="require")))
    assert established.authenticated.channel_binding_type == "tls-server-end-point"
    for answer, text in UNBINDABLE:
        driver = Driver([[answer]])
        refused(driver, ChannelBindingError, text, **ALLOW, channel_binding="require")
        assert len(driver.connects) == 1


def test_prefer_does_not_evade_channel_binding() -> None:
    """The same goes for plain text after ``N``."""
    for answer, text in UNBINDABLE:
        driver = Driver([[b"N", answer]])
        refused(driver, ChannelBindingError, text, **PREFER, channel_binding="require")
        assert len(driver.sent) == 2


@pytest.mark.parametrize("overrides", [FALLBACK, ALLOW])
def test_a_server_that_is_not_ready_is_not_asked_again(overrides: dict[str, Any]) -> None:
    """A server that is starting up would not be ready for another kind of connection either."""
    answers = [error("57P03", "starting up")]
    driver = Driver([[b"S", *answers] if overrides is FALLBACK else answers, [WELCOME]])
    refused(driver, ServerError, "starting up", **overrides)
    assert len(driver.connects) == 1


def test_after_no_there_is_nothing_to_fall_back_to() -> None:
    """A server without TLS that refuses is not asked the same again."""
    driver = Driver([[b"N", error("28000", "no entry")], [WELCOME]])
    failure = refused(driver, ServerError, "no entry", **FALLBACK)
    assert len(driver.connects) == 1
    assert failure.earlier == ()


def test_a_certificate_of_ours_that_is_rejected_late() -> None:
    """TLS 1.3 tells only after the handshake that our certificate will not do: no reason to go on in plain text."""
    driver = Driver([[b"S", ClientCertificateError("not accepted")], [WELCOME]])
    refused(driver, ClientCertificateError, "not accepted", **FALLBACK)
    assert len(driver.connects) == 1


def test_a_refusal_after_authentication_lists_the_first_attempt() -> None:
    """What went before is in the error, however late that comes."""
    driver = Driver([[error("28000", "no encryption")], [b"S", OK + error("3D000", "no such database")]])
    failure = refused(driver, ServerError, "no such database", **ALLOW)
    assert [attempt.message for attempt in failure.attempts] == ["no encryption", "no such database"]


def test_fallback_gives_no_cleartext_password() -> None:
    """A plain attempt after a failed verified one does not give the password away."""
    driver = Driver([[b"S"], [CLEARTEXT, OK]], facts=TlsError("handshake failed"))
    refused(driver, AuthError, "server requested a cleartext password", **FALLBACK)
    assert PASSWORD.encode() not in driver.all_sent


def test_the_last_error_counts() -> None:
    """When every attempt fails the last one's error is raised, and it lists the one before."""
    driver = Driver([[b"S"], [error("28000", "no entry")]], facts=TlsError("handshake failed"))
    failure = refused(driver, ServerError, "no entry", **FALLBACK)
    (earlier,) = failure.earlier
    assert isinstance(earlier, TlsError)
    assert failure.attempts == (earlier, failure)
    assert str(failure).index("handshake failed") < str(failure).index("no entry")


def test_allow() -> None:
    """Libpq's ``allow`` is plain first, and TLS where the server refuses that."""
    driver = Driver([[WELCOME]])
    assert driver.run(handshake(make(**ALLOW))).facts is None
    assert ssl_request() not in driver.sent
    driver = Driver([[error("28000")], [b"S", WELCOME]])
    assert driver.run(handshake(make(**ALLOW))).facts == driver.facts.to_facts()
    assert driver.log.index("StartTls") > driver.log.index("Connect", 1)
    driver = Driver([[error("28000")], [b"N", WELCOME]])
    refused(driver, TlsRefused, "server does not support SSL", **ALLOW)


def test_a_connection_that_cannot_be_made() -> None:
    """A host that cannot be reached is not asked twice."""
    driver = Driver([], refused={0: IoError("refused")})
    refused(driver, IoError, "refused", **FALLBACK)
    assert len(driver.connects) == 1


# Direct TLS and ALPN -----------------------------------------------------------------------------------------------


def test_direct() -> None:
    """Direct negotiation sends nothing before TLS."""
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
def test_alpn(negotiation: str, selected: str | None, text: str | None) -> None:
    """Direct TLS needs ``postgresql`` selected; after SSLRequest nothing may be, and another protocol never."""
    answers: list[Answer] = [WELCOME] if negotiation == "direct" else [b"S", WELCOME]
    driver = Driver([answers], facts=Facts(alpn=selected))
    if text is None:
        assert driver.run(handshake(make(tls_negotiation=negotiation))).facts.alpn == selected
    else:
        refused(driver, TlsError, text, tls_negotiation=negotiation)
        assert all(data == ssl_request() for data in driver.sent)


# Names and parameters ----------------------------------------------------------------------------------------------


def test_tls_parameters() -> None:
    """The engine is told what the configuration says; ALPN is offered in either negotiation."""
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
def test_server_name(overrides: dict[str, Any], name: str) -> None:
    """The name to verify is `host`, or `tls_server_name`, with A-labels for what is not ASCII."""
    assert server_name(make(**overrides)) == name


@pytest.mark.parametrize("name", ["é..example", "é" * 70, "\ud800.example"])
def test_no_server_name(name: str) -> None:
    """What cannot be a host name is an error of the configuration's."""
    with pytest.raises(ConfigError, match="is not a host name"):
        server_name(make(tls_server_name=name))


# Cancel ------------------------------------------------------------------------------------------------------------

THERE = Host("db.example.com", 5432, "192.0.2.8")


@pytest.mark.parametrize(
    ("overrides", "tls", "answers", "log"),
    [
        ({}, True, [b"S"], ["Connect", "Send", "Receive", "StartTls", "Send", "Receive"]),
        ({"tls_negotiation": "direct"}, True, [], ["Connect", "StartTls", "Send", "Receive"]),
        (PREFER, False, [], ["Connect", "Send", "Receive"]),
        (PREFER, False, [b"?"], ["Connect", "Send", "Receive"]),
    ],
)
def test_cancel(overrides: dict[str, Any], tls: bool, answers: list[Answer], log: list[str]) -> None:
    """A cancel request goes to the server that runs the query, over TLS if the session has it; an answer is ignored."""
    driver = Driver([answers])
    driver.run(cancel(make(**overrides), THERE, 4711, b"key!", tls=tls))
    assert driver.connects == [THERE]
    assert driver.sent[-1] == cancel_request(4711, b"key!")
    assert driver.log == log


@pytest.mark.parametrize("answer", [b"N", b"E", b"S\x16", b""])
@pytest.mark.parametrize("mode", list(TlsMode))
def test_cancel_does_not_fall_back(mode: TlsMode, answer: bytes) -> None:
    """The key of a session over TLS is never sent in plain text."""
    driver = Driver([[answer]])
    with pytest.raises(Error):
        driver.run(cancel(make(tls_mode=mode), THERE, 4711, b"key!", tls=True))
    assert b"key!" not in driver.all_sent


def test_cancel_needs_no_goodbye() -> None:
    """A server that closes without TLS's goodbye has still been told."""
    driver = talk(Closed("closed without close_notify"))
    driver.run(cancel(make(), THERE, 4711, b"key!", tls=True))
    assert driver.sent[-1] == cancel_request(4711, b"key!")
