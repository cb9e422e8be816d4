"""SCRAM-SHA-256 as in RFC 5802 and RFC 7677, on both sides."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.errors import AuthError, ProtocolError, ServerSignatureError
from babar_tls.protocol.scram import (
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
    ScramClient,
    ScramServer,
    hmac_sha256,
    keys_from_salted_password,
    make_nonce,
    parse_server_first,
)

if TYPE_CHECKING:
    from babar_tls.protocol.requests import ScramKeys

# The example of RFC 7677 §3. PostgreSQL differs only by its empty user name.
RFC_NONCE = b"rOprNGfwEbeRWgbNEkqO"
RFC_SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
RFC_WITHOUT_PROOF = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
RFC_PROOF = b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
RFC_SIGNATURE = b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

SALT = b"0123456789abcdef"
CLIENT_NONCE = b"fyko+d2lbbFgONRv9qkxdawL"
BINDING = {"tls-server-end-point": b"hash of the certificate"}


def derive(password: bytes = b"pencil", salt: bytes = SALT, iterations: int = 7) -> ScramKeys:
    return keys_from_salted_password(hashlib.pbkdf2_hmac("sha256", password, salt, iterations))


def server_first(
    nonce: bytes = CLIENT_NONCE + b"3rfcNHYJY1ZVvWVs7j", salt: bytes = b"MDEyMw==", i: bytes = b"7"
) -> bytes:
    return b"r=" + nonce + b",s=" + salt + b",i=" + i


def pair(flag: str = "n", *, bound: bool = False) -> tuple[ScramClient, ScramServer, str]:
    plus = flag.startswith("p=")
    client = ScramClient(flag, BINDING["tls-server-end-point"] if plus else b"", nonce=CLIENT_NONCE)
    server = ScramServer(derive(), SALT, 7, channel_binding=BINDING if bound else None)
    return client, server, SCRAM_SHA_256_PLUS if plus else SCRAM_SHA_256


def challenged() -> ScramClient:
    """Return a client that has sent its proof."""
    client, server, mechanism = pair()
    client.receive_server_first(server.server_first_message(mechanism, client.client_first_message()))
    client.client_final_message(derive())
    return client


# The example of RFC 7677 -------------------------------------------------------------------------------------------


def test_keys_proof_and_signature_are_those_of_rfc_7677() -> None:
    keys = derive(b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    auth_message = b"n=user,r=" + RFC_NONCE + b"," + RFC_SERVER_FIRST + b"," + RFC_WITHOUT_PROOF
    signature = hmac_sha256(keys.stored_key, auth_message)
    proof = bytes(a ^ b for a, b in zip(keys.client_key, signature, strict=True))
    assert base64.b64encode(proof) == RFC_PROOF
    assert base64.b64encode(hmac_sha256(keys.server_key, auth_message)) == RFC_SIGNATURE
    assert keys.stored_key == hashlib.sha256(keys.client_key).digest()


class NamedClient(ScramClient):
    """A client that sends a user name, for servers other than PostgreSQL."""

    def __init__(self, flag: str, data: bytes = b"", *, nonce: bytes | None = None) -> None:
        super().__init__(flag, data, nonce=nonce)
        self._client_first_message_bare = b"n=user,r=" + self._nonce


def test_client_messages_are_those_of_rfc_7677() -> None:
    """The user name is that of the example."""
    client = NamedClient("n", nonce=RFC_NONCE)
    assert client.client_first_message() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    challenge = client.receive_server_first(RFC_SERVER_FIRST)
    assert (challenge.salt, challenge.iterations) == (base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    keys = derive(b"pencil", challenge.salt, challenge.iterations)
    assert client.client_final_message(keys) == RFC_WITHOUT_PROOF + b",p=" + RFC_PROOF
    client.receive_server_final(b"v=" + RFC_SIGNATURE)


def test_server_messages_are_those_of_rfc_7677() -> None:
    keys = derive(b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    server_nonce = RFC_SERVER_FIRST[2 + len(RFC_NONCE) :].split(b",")[0]
    server = ScramServer(keys, base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096, nonce=server_nonce)
    assert server.server_first_message(SCRAM_SHA_256, b"n,,n=user,r=" + RFC_NONCE) == RFC_SERVER_FIRST
    assert server.server_final_message(RFC_WITHOUT_PROOF + b",p=" + RFC_PROOF) == b"v=" + RFC_SIGNATURE


def test_client_sends_an_empty_user_name() -> None:
    """PostgreSQL uses the user of the StartupMessage."""
    assert ScramClient("n", nonce=b"abc").client_first_message() == b"n,,n=,r=abc"


def test_nonces_are_unique_and_printable() -> None:
    """They have 18 random bytes and no comma."""
    nonces = {make_nonce() for _ in range(1000)}
    assert len(nonces) == 1000
    assert all(len(base64.b64decode(nonce)) >= 18 and b"," not in nonce for nonce in nonces)


# Both sides --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "bound", "cbind_input"),
    [
        ("n", False, b"n,,"),
        ("n", True, b"n,,"),
        ("y", False, b"y,,"),
        ("p=tls-server-end-point", True, b"p=tls-server-end-point,,hash of the certificate"),
    ],
)
def test_client_logs_in_to_server(flag: str, bound: bool, cbind_input: bytes) -> None:
    """``c=`` repeats the gs2-header, followed by the binding data."""
    client, server, mechanism = pair(flag, bound=bound)
    first = client.client_first_message()
    assert first.startswith(flag.encode() + b",,")
    client.receive_server_first(server.server_first_message(mechanism, first))
    final = client.client_final_message(derive())
    assert final.startswith(b"c=" + base64.b64encode(cbind_input) + b",r=")
    client.receive_server_final(server.server_final_message(final))


def test_proof_of_another_password_is_refused() -> None:
    client, server, mechanism = pair()
    client.receive_server_first(server.server_first_message(mechanism, client.client_first_message()))
    with pytest.raises(AuthError, match="password authentication failed"):
        server.server_final_message(client.client_final_message(derive(b"pencils")))


def test_y_flag_is_refused_by_a_server_with_channel_binding() -> None:
    """It indicates a downgrade attack (RFC 5802 §6)."""
    client, server, mechanism = pair("y", bound=True)
    with pytest.raises(AuthError, match="channel binding negotiation error"):
        server.server_first_message(mechanism, client.client_first_message())


def test_binding_data_of_another_channel_is_refused() -> None:
    client = ScramClient("p=tls-server-end-point", b"hash of another certificate")
    server = ScramServer(derive(), SALT, 7, channel_binding=BINDING)
    client.receive_server_first(server.server_first_message(SCRAM_SHA_256_PLUS, client.client_first_message()))
    with pytest.raises(AuthError, match="channel binding check failed"):
        server.server_final_message(client.client_final_message(derive()))


def test_server_offers_plus_only_with_channel_binding() -> None:
    assert ScramServer(derive(), SALT, 7).mechanisms == ("SCRAM-SHA-256",)
    assert pair(bound=True)[1].mechanisms == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        (SCRAM_SHA_256, b""),
        (SCRAM_SHA_256, b"n,n=,r=abc"),
        (SCRAM_SHA_256, b"n,a=root,n=,r=abc"),
        (SCRAM_SHA_256, b"x,,n=,r=abc"),
        (SCRAM_SHA_256, b"N,,n=,r=abc"),
        (SCRAM_SHA_256, b"p=tls-server-end-point,,n=,r=abc"),
        (SCRAM_SHA_256_PLUS, b"n,,n=,r=abc"),
        (SCRAM_SHA_256_PLUS, b"y,,n=,r=abc"),
        (SCRAM_SHA_256_PLUS, b"p=tls-unique,,n=,r=abc"),
        (SCRAM_SHA_256_PLUS, b"p=\xff,,n=,r=abc"),
        (SCRAM_SHA_256, b"n,,r=abc"),
        (SCRAM_SHA_256, b"n,,n="),
        (SCRAM_SHA_256, b"n,,n=,r="),
        (SCRAM_SHA_256, b"n,,n=,r=a b"),
        (SCRAM_SHA_256, b"n,,m=x,n=,r=abc"),
        (SCRAM_SHA_256, b"n,,n=,m=x,r=abc"),
    ],
)
def test_malformed_client_first_message_is_refused(mechanism: str, message: bytes) -> None:
    server = ScramServer(derive(), SALT, 7, channel_binding=BINDING)
    with pytest.raises(ProtocolError):
        server.server_first_message(mechanism, message)


# Messages to the client --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "attribute missing"),
        (b"m=mandatory," + server_first(), "mandatory extension"),
        (server_first() + b",m=mandatory", "garbage"),
        (server_first(nonce=b""), "invalid nonce"),
        (server_first(nonce=CLIENT_NONCE), "nonce mismatch"),
        (server_first(nonce=CLIENT_NONCE[:-1]), "nonce mismatch"),
        (server_first(nonce=b"x" + CLIENT_NONCE), "nonce mismatch"),
        (server_first(nonce=CLIENT_NONCE.lower() + b"more"), "nonce mismatch"),
        (server_first(nonce=CLIENT_NONCE + b" "), "invalid nonce"),
        (server_first(nonce=CLIENT_NONCE + b"\0"), "invalid nonce"),
        (server_first(nonce=CLIENT_NONCE + b"\n"), "invalid nonce"),
        (server_first(nonce=CLIENT_NONCE + b"\xc3\xa9"), "invalid nonce"),
        (server_first(salt=b""), "empty salt"),
        (server_first(salt=b"MDEyMw"), "invalid salt"),
        (server_first(salt=b"MDEy Mw=="), "invalid salt"),
        (server_first(salt=b"MDEyMw==\n"), "invalid salt"),
        (server_first(salt=b"MDEyMw==="), "invalid salt"),
        (server_first(salt=b"MDEy=="), "invalid salt"),
        (server_first(salt=b"MDEy===="), "invalid salt"),
        (server_first(salt=b"MDEyMw==MDEyMw=="), "invalid salt"),
        (server_first(salt=b"===="), "invalid salt"),
        (server_first(salt=b"MDEy-_=="), "invalid salt"),
        (server_first(salt=b"M"), "invalid salt"),
        (server_first(salt=b"\xff\xff\xff\xff"), "invalid salt"),
        (server_first(i=b""), "iteration count"),
        (server_first(i=b"0"), "iteration count"),
        (server_first(i=b"00"), "iteration count"),
        (server_first(i=b"01"), "iteration count"),
        (server_first(i=b"-1"), "iteration count"),
        (server_first(i=b"+1"), "iteration count"),
        (server_first(i=b" 1"), "iteration count"),
        (server_first(i=b"1\n"), "iteration count"),
        (server_first(i=b"1e9"), "iteration count"),
        (server_first(i=b"0x10"), "iteration count"),
        (server_first(i=b"4_096"), "iteration count"),
        (server_first(i="٤".encode()), "iteration count"),
        (server_first(i=b"9" * 11), "iteration count"),
        (server_first(i=b"9" * 60000), "iteration count"),
        (server_first().replace(b",i=7", b""), "attribute missing"),
        (server_first().replace(b",s=MDEyMw==", b""), "attribute missing"),
        (b"s=MDEyMw==,r=" + CLIENT_NONCE + b"more,i=7", 'attribute "r" expected'),
        (b"r=" + CLIENT_NONCE + b"more,i=7,s=MDEyMw==", 'attribute "s" expected'),
        (b"R=" + CLIENT_NONCE + b"more,s=MDEyMw==,i=7", 'attribute "r" expected'),
        (b" " + server_first(), 'attribute "r" expected'),
        (b"," + server_first(), 'attribute "r" expected'),
        (server_first() + b",", "garbage"),
        (server_first() + b",,", "garbage"),
        (server_first() + b",x", "garbage"),
        (server_first() + b",1=x", "garbage"),
        (server_first() + b"\0", "iteration count"),
    ],
)
def test_malformed_server_first_message_is_refused_with_the_reason(message: bytes, reason: str) -> None:
    client = ScramClient("n", nonce=CLIENT_NONCE)
    with pytest.raises(ProtocolError, match=reason):
        client.receive_server_first(message)


def test_optional_extensions_are_accepted_and_signed() -> None:
    client, server, mechanism = pair()
    message = server.server_first_message(mechanism, client.client_first_message()) + b",x=1,Y=a=b"
    assert client.receive_server_first(message).iterations == 7
    with pytest.raises(AuthError):  # the server's auth_message does not have them
        server.server_final_message(client.client_final_message(derive()))


@pytest.mark.parametrize("iterations", [1, 4095, 4096, 10_000_000, 9_999_999_999])
def test_parser_accepts_any_iteration_count(iterations: int) -> None:
    """The limits are policy, not grammar."""
    assert parse_server_first(server_first(i=b"%d" % iterations)).iterations == iterations


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"v",
        b"v=",
        b"v=AAAA",
        b"v=" + base64.b64encode(bytes(31)),
        b"v=" + base64.b64encode(bytes(33)),
        b"v=" + base64.b64encode(bytes(32)) + b",",
        b"v=" + base64.b64encode(bytes(32)) + b",x",
        b"v=" + base64.b64encode(bytes(32)) + b",m=1",
        b"v=" + base64.b64encode(bytes(32)) + b"\0",
        b"v=" + base64.b64encode(bytes(32))[:-1],
        b"v=" + base64.urlsafe_b64encode(b"\xff" * 32),
        b"x=1,v=" + base64.b64encode(bytes(32)),
        b"V=" + base64.b64encode(bytes(32)),
        b"E=other-error",
        b" e=other-error",
    ],
)
def test_malformed_server_final_message_is_refused(message: bytes) -> None:
    """It has a signature of 32 bytes, or an error."""
    with pytest.raises(ProtocolError, match="malformed SCRAM message"):
        challenged().receive_server_final(message)


@given(st.binary(min_size=32, max_size=32))
def test_wrong_server_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(ServerSignatureError, match="incorrect server signature"):
        challenged().receive_server_final(b"v=" + base64.b64encode(signature))


def test_extensions_of_the_server_final_message_are_ignored() -> None:
    client, server, mechanism = pair()
    client.receive_server_first(server.server_first_message(mechanism, client.client_first_message()))
    message = server.server_final_message(client.client_final_message(derive()))
    client.receive_server_final(message + b",x=1,Y=a=b")
    with pytest.raises(ServerSignatureError):
        client.receive_server_final(b"v=" + base64.b64encode(bytes(32)) + b",x=1")


SERVER_ERRORS = [
    (b"e=invalid-proof", "invalid-proof"),
    (b"e=Wrong password", "Wrong password"),
    (b"e=a,x=1", "a"),
    (b"e=", "unspecified"),
    ("e=пароль не подходит".encode(), "пароль не подходит"),
    (b"e=\xff", "\ufffd"),
    (b"e=\x1b[2J\r\nLOG:  forged", r"\x1b[2J\r\nLOG:  forged"),
    ("e=\u202eabc\u2028".encode(), r"\u202eabc\u2028"),
    (b"e=" + b"x" * 1_000, "x" * 500 + "... (500 more characters)"),
]


@pytest.mark.parametrize(("message", "shown"), SERVER_ERRORS)
def test_server_error_is_an_authentication_error_with_its_text(message: bytes, shown: str) -> None:
    with pytest.raises(AuthError) as final:
        challenged().receive_server_final(message)
    with pytest.raises(AuthError) as first:
        ScramClient("n", nonce=CLIENT_NONCE).receive_server_first(message)
    for caught in (final, first):
        assert type(caught.value) is AuthError
        assert caught.value.message == f"error received from server in SCRAM exchange: {shown}"


# Another implementation --------------------------------------------------------------------------------------------

END_POINT = ("tls-server-end-point", b"hash of the certificate")


@pytest.mark.parametrize("plus", [False, True])
def test_client_logs_in_to_scramp(plus: bool) -> None:
    scramp = pytest.importorskip("scramp", reason="scramp is not installed")
    mechanism = scramp.ScramMechanism(SCRAM_SHA_256_PLUS if plus else SCRAM_SHA_256)
    info = mechanism.make_auth_info("pencil", iteration_count=4096)
    server = mechanism.make_server(lambda _user: info, channel_binding=END_POINT if plus else None)
    client = NamedClient("p=tls-server-end-point" if plus else "n", END_POINT[1] if plus else b"")
    server.set_client_first(client.client_first_message().decode())
    challenge = client.receive_server_first(server.get_server_first().encode())
    final = client.client_final_message(derive(b"pencil", challenge.salt, challenge.iterations))
    server.set_client_final(final.decode())
    client.receive_server_final(server.get_server_final().encode())


@pytest.mark.parametrize("plus", [False, True])
def test_scramp_logs_in_to_server(plus: bool) -> None:
    """Scramp verifies the server's signature."""
    scramp = pytest.importorskip("scramp", reason="scramp is not installed")
    mechanisms = [SCRAM_SHA_256_PLUS] if plus else [SCRAM_SHA_256]
    client = scramp.ScramClient(mechanisms, "user", "pencil", channel_binding=END_POINT if plus else None)
    server = ScramServer(derive(iterations=4096), SALT, 4096, channel_binding=BINDING if plus else None)
    first = server.server_first_message(mechanisms[0], client.get_client_first().encode())
    client.set_server_first(first.decode())
    client.set_server_final(server.server_final_message(client.get_client_final().encode()).decode())


def test_scramp_refuses_the_proof_of_another_password() -> None:
    scramp = pytest.importorskip("scramp", reason="scramp is not installed")
    mechanism = scramp.ScramMechanism(SCRAM_SHA_256)
    info = mechanism.make_auth_info("pencil", iteration_count=4096)
    server = mechanism.make_server(lambda _user: info)
    client = NamedClient("n")
    server.set_client_first(client.client_first_message().decode())
    challenge = client.receive_server_first(server.get_server_first().encode())
    with pytest.raises(scramp.ScramException):
        server.set_client_final(client.client_final_message(derive(b"no", challenge.salt, 4096)).decode())
