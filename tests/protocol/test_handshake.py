"""A complete handshake with recorded bytes, and properties that hold for every sequence of server messages."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babar_tls.crypto import scram_keys
from babar_tls.errors import (
    AuthError,
    CertificateError,
    Closed,
    Error,
    IoError,
    ProtocolError,
    ServerError,
    TimeoutError,
    TlsError,
)
from babar_tls.protocol import scram
from babar_tls.protocol.authentication import md5_digest
from babar_tls.protocol.channel_binding import tls_server_end_point
from babar_tls.protocol.handshake import Established, handshake
from babar_tls.protocol.messages import frame, ssl_request
from babar_tls.protocol.requests import Connect, Derive, Fill, Phase, Receive, Send, StartTls

from .configs import PASSWORD, make
from .script import (
    BOTH,
    CLEARTEXT,
    ECDSA_SHA384,
    ED25519,
    MD5,
    OK,
    READY,
    WELCOME,
    Answer,
    Driver,
    Facts,
    ScramPeer,
    error,
    put,
    request,
    sasl,
    split,
    status,
    talk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Recorded from PostgreSQL 17.10, role "app" with password "pencil", over TLS 1.3 with this certificate.
CERTIFICATE = base64.b64decode(
    "MIICBDCCAaqgAwIBAgIUcAsS/kcY/ru8arpI8Jih02n9LA8wCgYIKoZIzj0EAwIwQTEaMBgGA1UECgwRYmFiYXItdGxzIHRlc3RpbmcxIzAh"
    "BgNVBAMMGmJhYmFyLXRscyB0ZXN0IENBIDdjMzRhZDQ2MB4XDTI2MTEyMTEzMTkyMloXDTI3MTEyMTEzMTkyMlowHDEaMBgGA1UECgwRYmFi"
    "YXItdGxzIHRlc3RpbmcwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS28N43jY4Y5qNWqK0fxbvodowj7d8wccAe9ezxjXy2qq+G5pUYQQod"
    "Lbu5DSrXOnCZy0Othek5o0qVqJ3xhbbQo4GkMIGhMB0GA1UdDgQWBBRn0Gx1OHPoHs2pjSaejnII6vO0cDAMBgNVHRMBAf8EAjAAMA4GA1Ud"
    "DwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAsBgNVHREEJTAjgglsb2NhbGhvc3SHBH8AAAGHEAAAAAAAAAAAAAAAAAAAAAEwHwYD"
    "VR0jBBgwFoAUirq9r1wLg0teGxRBiFNtjgjRcSkwCgYIKoZIzj0EAwIDSAAwRQIgZUWfmUG+eoXdoGaXsxd/ojmyP3n7+iT8UkBu2IM6MYYC"
    "IQCjBtTIZxjs/bEq5/fm9USGvt7vnKmvw1FaxL03OHMIQg=="
)
NONCE = b"rOprNGfwEbeRWgbNEkqO8901"
SERVER = [
    "53",
    "520000002a0000000a534352414d2d5348412d3235362d504c555300534352414d2d5348412d3235360000",
    "520000005c0000000b723d724f70724e476677456265525767624e456b714f383930314a4a39752f6c36355775694855426b647a76504978"
    "4f6d572c733d62573443716e345462594a43747146535243454d43513d3d2c693d34303936",
    "52000000360000000c763d4a444c4e7943454c476d745742766c4f476f50456f357869515938666f67736c3736354443305070684e4d"
    "3d5200000008000000005300000017696e5f686f745f7374616e646279006f6666005300000019696e74656765725f6461746574696d"
    "6573006f6e00530000001154696d655a6f6e6500474d5400530000001b496e74657276616c5374796c6500706f737467726573005300"
    "00001569735f737570657275736572006f66660053000000166170706c69636174696f6e5f6e616d650000530000002664656661756c"
    "745f7472616e73616374696f6e5f726561645f6f6e6c79006f666600530000001a736372616d5f697465726174696f6e730034303936"
    "005300000017446174655374796c650049534f2c204d44590053000000237374616e646172645f636f6e666f726d696e675f73747269"
    "6e6773006f6e00530000001e73657373696f6e5f617574686f72697a6174696f6e00617070005300000019636c69656e745f656e636f"
    "64696e6700555446380053000000197365727665725f76657273696f6e0031372e31300053000000197365727665725f656e636f6469"
    "6e670055544638004b0000000c00003e86ff6069945a0000000549",
]
CLIENT = [
    "0000000804d2162f",
    "0000003900030000636c69656e745f656e636f64696e67005554463800757365720061707000646174616261736500706f73746772657300"
    "00",
    "7000000050534352414d2d5348412d3235362d504c55530000000035703d746c732d7365727665722d656e642d706f696e742c2c6e3d2c72"
    "3d724f70724e476677456265525767624e456b714f38393031",
    "70000000b4633d6344313062484d7463325679646d56794c5756755a43317762326c75644377734b4935586c5a2f6e4b354d7142374c"
    "6f36504b5879516441566e554336616443502b46456a32636b38394d3d2c723d724f70724e476677456265525767624e456b714f3839"
    "30314a4a39752f6c36355775694855426b647a765049784f6d572c703d666437584d4a3673784830657472546946617a516f345a4644"
    "65726d46673834477a556172726f7567596b3d",
]


@pytest.mark.parametrize("pipelining", [False, True])
def test_recorded_session_is_reproduced(monkeypatch: pytest.MonkeyPatch, pipelining: bool) -> None:
    """The client sends the recorded messages, with the nonce of the recording.

    With pipelining, two of them are sent at once.
    """
    monkeypatch.setattr(scram, "make_nonce", lambda: NONCE)
    config = make(user="app", database="postgres", password="pencil", channel_binding="require", pipelining=pipelining)
    received = iter(SERVER)
    server_answers = []
    exchange = handshake(config)
    item = next(exchange)
    established = None
    for _ in range(100):
        result: Any = None
        if isinstance(item, Send):
            server_answers.append(item.data.hex())
        elif isinstance(item, Receive):
            result = bytes.fromhex(next(received))
        elif isinstance(item, Fill):
            result = put(item, bytes.fromhex(next(received)))
        elif isinstance(item, StartTls):
            result = Facts(peer_certificate=CERTIFICATE)
        elif isinstance(item, Derive):
            result = scram_keys(item.password, item.salt, item.iterations)
        else:
            assert isinstance(item, Connect)
        try:
            item = exchange.send(result)
        except StopIteration as stop:
            established = stop.value
            break
    request, startup, first, final = CLIENT
    assert server_answers == ([request, startup + first, final] if pipelining else CLIENT)
    assert isinstance(established, Established)
    assert established.process_id == 0x3E86
    assert established.secret_key == bytes.fromhex("ff606994")
    assert established.parameters["server_version"] == "17.10"
    assert established.parameters["session_authorization"] == "app"
    assert len(established.parameters) == 14
    assert established.authenticated.channel_binding_hash == "sha256"
    assert established.reader.pending == b""


@given(st.lists(st.integers(0, 700)), st.lists(st.integers(0, 300)))
def test_fragmentation_does_not_change_the_result(first: list[int], second: list[int]) -> None:
    peer = ScramPeer(PASSWORD, bindings=BINDINGS)
    fragments: list[bytes] = []

    def refill(make_bytes: Callable[[bytes], bytes], cuts: list[int]) -> Answer:
        def answer(sent: bytes) -> bytes:
            pieces = split(make_bytes(sent), cuts)
            fragments.extend(pieces[1:])
            return pieces[0]

        return answer

    class Fragmenting(Driver):
        def _receive(self) -> bytes:
            return fragments.pop(0) if fragments else super()._receive()

    answers: list[Answer] = [b"S", *split(peer.offer, second), refill(peer.first, first), refill(peer.welcome, first)]
    established = Fragmenting([answers]).run(handshake(make(channel_binding="require")))
    assert established.parameters == {"server_version": "17.10"}
    assert (established.process_id, established.secret_key) == (4711, b"key!")


def test_requests_have_the_current_phase() -> None:
    exchange = handshake(make())
    seen = []
    answers = iter([b"S", WELCOME[:9], WELCOME[9:]])
    item = next(exchange)
    with pytest.raises(StopIteration):  # noqa: PT012 - the loop ends when the exchange does
        while True:
            seen.append(getattr(item, "phase", None))
            if isinstance(item, Fill):
                item = exchange.send(put(item, next(answers)))
            else:
                item = exchange.send(next(answers) if isinstance(item, Receive) else Facts())
    assert seen == [None, Phase.NEGOTIATE, Phase.NEGOTIATE, None, Phase.AUTH, Phase.AUTH, Phase.READY]


# After AuthenticationOk --------------------------------------------------------------------------------------------


def test_bytes_after_ready_for_query_are_kept_without_limits() -> None:
    late = frame(b"A", b"\0\0\0\1channel\0payload\0")
    established = talk(WELCOME + late).run(handshake(make()))
    assert established.reader.pending == late
    assert established.reader.next_message() == (b"A", late[5:])


def test_long_cancel_key_is_kept() -> None:
    config = make(max_protocol_version="3.2")
    established = talk(OK + frame(b"K", b"\0\0\0\1" + b"k" * 256) + READY).run(handshake(config))
    assert established.secret_key == b"k" * 256


def test_missing_cancel_key_is_empty() -> None:
    """Poolers may send none."""
    established = talk(OK + READY).run(handshake(make()))
    assert (established.process_id, established.secret_key) == (0, b"")


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (error("3D000", 'database "x" does not exist'), ServerError, 'database "x" does not exist'),
        (error("42501"), ServerError, "no"),
        (error("28000"), AuthError, "no"),
        (request(0), ProtocolError, "sent b'R' before ReadyForQuery"),
        (CLEARTEXT, ProtocolError, "sent b'R' before ReadyForQuery"),
        (frame(b"D"), ProtocolError, "expected authentication request"),
        (frame(b"v", b""), ProtocolError, "sent b'v' before ReadyForQuery"),
        (frame(b"S", b"name"), ProtocolError, "malformed ParameterStatus"),
        (frame(b"K", b"1"), ProtocolError, "malformed BackendKeyData"),
        (frame(b"Z"), ProtocolError, "malformed ReadyForQuery"),
        (frame(b"Z", b"?"), ProtocolError, "malformed ReadyForQuery"),
        (b"", Closed, "server closed the connection unexpectedly"),
    ],
)
def test_invalid_message_before_ready_for_query_is_refused(answer: bytes, kind: type[Error], text: str) -> None:
    """Parameters, a key, notices and errors are valid."""
    driver = talk(OK, answer)
    with pytest.raises(kind, match=text):
        driver.run(handshake(make()))
    assert driver.sent[2:] == []


NOTICES = error("00000", "x" * 5000, kind=b"N")


@pytest.mark.parametrize(
    ("before", "flood"),
    [(b"", NOTICES), (b"", frame(b"N", b"\0")), (OK, NOTICES), (OK, frame(b"N", b"\0")), (OK, status("n", "v" * 5000))],
)
def test_bytes_and_messages_before_ready_are_limited(before: bytes, flood: bytes) -> None:
    driver = talk(before + flood, *[flood * 13] * 2000)
    with pytest.raises(ProtocolError, match="before it was ready"):
        driver.run(handshake(make()))
    assert driver.waits < 200


def test_single_bytes_do_not_cause_more_messages() -> None:
    driver = talk(*(bytes([byte]) for byte in WELCOME))
    assert driver.run(handshake(make())).parameters
    assert len(driver.sent) == 2


# Any sequence of server messages -----------------------------------------------------------------------------------

BINDINGS = {"tls-server-end-point": tls_server_end_point(ECDSA_SHA384)}
Maker: TypeAlias = "Callable[[ScramPeer], Answer]"


def checked(answer: Callable[[bytes], bytes]) -> Answer:
    """Return the peer's answer, or an invalid message if the client's last message does not fit."""

    def safe(sent: bytes) -> bytes:
        try:
            return answer(sent)
        except (Error, AttributeError, UnicodeDecodeError):
            return request(11, b"nonsense")

    return safe


FIXED: list[Answer] = [
    b"S",
    b"N",
    b"E",
    b"",
    OK,
    WELCOME,
    CLEARTEXT,
    MD5,
    READY,
    request(7),
    request(9),
    request(13),
    sasl(*BOTH),
    sasl("SCRAM-SHA-256"),
    sasl("OAUTHBEARER"),
    sasl(),
    request(12, b"v=" + base64.b64encode(bytes(32))),
    request(12, b"e=other-error"),
    request(11, b"r=,s=,i="),
    status("a", "b"),
    error("28000"),
    error("28P01"),
    error("57P03"),
    error("00000", kind=b"N"),
    frame(b"K", struct.pack("!I", 1) + b"key!"),
    frame(b"v", b"\0" * 8),
    TlsError("broken"),
    IoError("broken"),
    Closed("gone"),
    TimeoutError("timeout expired"),
]
MAKERS: list[Maker] = [
    lambda peer: peer.offer,
    lambda peer: checked(peer.first),
    lambda peer: checked(peer.final),
    lambda peer: checked(peer.welcome),
    lambda peer: checked(lambda sent: peer.first(sent) + OK),
    lambda peer: checked(lambda sent: peer.offer + peer.first(sent)),
]
answers = st.one_of(
    st.sampled_from(FIXED).map(lambda answer: lambda _: answer),
    st.sampled_from(MAKERS),
    st.tuples(st.integers(0, 13), st.binary(max_size=30)).map(lambda pair: lambda _: request(*pair)),
    st.tuples(st.sampled_from([b"R", b"E", b"N", b"S", b"K", b"Z", b"v"]), st.binary(max_size=30)).map(
        lambda pair: lambda _: frame(*pair)
    ),
    st.binary(max_size=20).map(lambda data: lambda _: data),
)


def fixed(*server_answers: Answer) -> list[Maker]:
    return [lambda _, answer=answer: answer for answer in server_answers]  # type: ignore[misc]  # the default binds


# Valid beginnings, so that later states are reached.
BEGINNINGS: list[list[Maker]] = [
    fixed(b"S"),
    fixed(b"S", CLEARTEXT),
    fixed(b"S", MD5),
    fixed(CLEARTEXT),
    fixed(b"N", CLEARTEXT),
    fixed(b"S", OK),
    [*fixed(b"S"), *MAKERS[:1]],
    [*fixed(b"S"), *MAKERS[:2]],
    [*fixed(b"S"), *MAKERS[:3]],
    MAKERS[:2],
    MAKERS[:3],
]
conversations = st.one_of(
    st.lists(answers, max_size=9),
    st.builds(
        lambda beginning, middle, end: beginning + middle + end,
        st.sampled_from(BEGINNINGS),
        st.lists(answers, max_size=2),
        st.sampled_from([[], fixed(WELCOME), [MAKERS[3]]]),
    ),
)
modes = st.sampled_from(
    [
        {"tls_mode": "disable"},
        {"tls_mode": "allow"},
        {"tls_mode": "prefer"},
        {"tls_mode": "prefer", "tls_fallback": True},
        {"tls_mode": "require"},
        {"tls_mode": "require"},
        {"tls_mode": "require", "tls_negotiation": "direct"},
    ]
)
handshakes = st.sampled_from(
    [
        Facts(),
        Facts(),
        Facts(alpn=None),
        Facts(alpn="h2"),
        Facts(peer_certificate=ED25519),
        Facts(peer_certificate=b""),
        TlsError("broken"),
        CertificateError("expired", reason="expired"),
    ]
)


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(conversations, min_size=1, max_size=2),
    modes,
    st.sampled_from(["full", "ca", "none"]),
    st.sampled_from(["disable", "prefer", "prefer", "require"]),
    st.sampled_from([None, None, "password", "md5", "scram-sha-256", "none", "!password", "!md5", "scram-sha-256,md5"]),
    handshakes,
)
def test_any_server_messages_give_an_allowed_session_or_an_error(  # noqa: PLR0917 - hypothesis passes the arguments
    server_answers: list[list[Maker]],
    mode: dict[str, Any],
    verify: str,
    binding: str,
    require_auth: str | None,
    facts: Facts | Error,
) -> None:
    """Secrets are sent only where the policy allows it."""
    if binding == "require" and mode["tls_mode"] == "disable":
        binding = "prefer"
    config = make(**mode, tls_verify=verify, channel_binding=binding, require_auth=require_auth)
    scripts = []
    for conversation in server_answers:
        peer = ScramPeer(PASSWORD, bindings=BINDINGS)
        scripts.append([make_answer(peer) for make_answer in conversation])
    driver = Driver(scripts, facts=facts)
    established, shown = None, ""
    try:
        established = driver.run(handshake(config))
    except Error as failure:
        shown = f"{failure!s} {failure!r} {failure.__cause__!r}"
    assert PASSWORD not in shown
    assert require_auth == "password" or PASSWORD.encode() not in b"".join(driver.sent_plain)
    allowed = config.allowed_auth
    cleartext_allowed = require_auth == "password" or (
        verify == "full" and "StartTls" in driver.log and "password" in (allowed or {"password"})
    )
    if binding == "require" or not cleartext_allowed:
        assert PASSWORD.encode() not in driver.all_sent
    if binding == "require" or (allowed is not None and "md5" not in allowed):
        assert md5_digest(b"app", PASSWORD.encode(), b"salt") not in driver.all_sent
    if allowed is not None and "scram-sha-256" not in allowed:
        assert b"SCRAM-SHA-256" not in driver.all_sent
    if mode["tls_mode"] == "require":
        assert "StartTls" in driver.log or all(data == ssl_request() for data in driver.sent)
    if established is not None:
        authenticated = established.authenticated
        is_scram = authenticated.method.startswith("scram")
        assert authenticated.server_authenticated == is_scram
        assert allowed is None or authenticated.method.removesuffix("-plus") in allowed
        assert binding != "require" or (is_scram and authenticated.channel_binding_type == "tls-server-end-point")
        assert mode["tls_mode"] != "require" or established.facts is not None
        assert established.authenticated.channel_binding_hash in (None, "sha384")


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_an_error(data: bytes) -> None:
    """The client sends at most SSLRequest and a StartupMessage."""
    for answers_ in ([data], [b"S", data], [b"S", OK + data]):
        driver = Driver([answers_])
        try:
            driver.run(handshake(make()))
        except Error:
            pass
        assert len(driver.sent) <= 2
