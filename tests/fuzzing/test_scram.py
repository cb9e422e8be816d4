"""SCRAM: an exchange with a changed message ends in an `Error` on either side."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st

from babar_tls.errors import AuthError, Error, ProtocolError
from babar_tls.protocol import scram
from babar_tls.protocol.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClient, ScramServer, ServerFirst

from .mutations import mutated
from .profile import corpus, failure, fuzz

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = corpus("scram")

SALT = b"0123456789abcdef"
CLIENT_NONCE = b"fyko+d2lbbFgONRv9qkxdawL"
SERVER_NONCE = b"3rfcNHYJY1ZVvWVs7j"
BINDING = {"tls-server-end-point": b"hash of the certificate"}
KEYS = scram.keys_from_salted_password(hashlib.pbkdf2_hmac("sha256", b"pencil", SALT, 7))
FLAGS = ("n", "y", "p=tls-server-end-point")

#: RFC 5802 §7, without extensions. The salt of PostgreSQL is never empty.
SERVER_FIRST = re.compile(
    rb"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,9})((?:,[A-Za-z]=.*)?)", re.DOTALL
)
SERVER_FINAL = re.compile(rb"v=([A-Za-z0-9+/]{43}=)((?:,[A-Za-z]=.*)?)", re.DOTALL)


def peers(flag: str) -> tuple[ScramClient, ScramServer, str]:
    plus = flag.startswith("p=")
    client = ScramClient(flag, BINDING["tls-server-end-point"] if plus else b"", nonce=CLIENT_NONCE)
    server = ScramServer(KEYS, SALT, 7, channel_binding=BINDING if plus else None, nonce=SERVER_NONCE)
    return client, server, SCRAM_SHA_256_PLUS if plus else SCRAM_SHA_256


def exchange(flag: str, relay: Callable[[bytes], bytes] = bytes) -> None:
    """Run an exchange in which each message passes through `relay`."""
    client, server, mechanism = peers(flag)
    client.receive_server_first(relay(server.server_first_message(mechanism, relay(client.client_first_message()))))
    client.receive_server_final(relay(server.server_final_message(relay(client.client_final_message(KEYS)))))


def recorded(flag: str) -> list[bytes]:
    """Return the four messages of a successful exchange."""
    found: list[bytes] = []

    def relay(message: bytes) -> bytes:
        found.append(message)
        return message

    exchange(flag, relay)
    return found


EXCHANGES = {flag: recorded(flag) for flag in FLAGS}
MESSAGES = [message for messages in EXCHANGES.values() for message in messages]
VALUES = st.sampled_from(
    [
        b"",
        b"0",
        b"1",
        b"-1",
        b"+7",
        b"07",
        b"9999999999",
        b"99999999999",
        b"biws",
        b"====",
        b"MDEyMw",
        b"MDEyMw==",
        b"MDEyMx==",
        b"MDEy Mw==",
        b"MDEy-_==",
        CLIENT_NONCE,
        CLIENT_NONCE + SERVER_NONCE,
        base64.b64encode(bytes(32)),
        base64.b64encode(bytes(33)),
        b"other-error",
        b"\xc3\xa4",
        b"\xff",
        b"\0",
    ]
) | st.binary(max_size=12)


@st.composite
def rearranged(draw: st.DrawFn, message: bytes) -> bytes:
    """Change whole attributes of a message: exchange, remove, repeat or insert them, or replace a value."""
    parts = message.split(b",")
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(parts) - 1))
        change = draw(st.sampled_from(("exchange", "remove", "repeat", "insert", "value", "name")))
        if change == "exchange":
            other = draw(st.integers(0, len(parts) - 1))
            parts[at], parts[other] = parts[other], parts[at]
        elif change == "remove" and len(parts) > 1:
            del parts[at]
        elif change == "repeat":
            parts.insert(at, parts[at])
        elif change == "value":
            parts[at] = parts[at][:2] + draw(VALUES)
        elif change == "name":
            parts[at] = (
                draw(st.sampled_from([b"m", b"r", b"s", b"i", b"v", b"e", b"R", b"p", b"c", b"1"])) + parts[at][1:]
            )
        else:
            parts.insert(at, draw(st.sampled_from([b"m=1", b"x=1", b"x=", b"", b"a=root", b"r=x", b"e=no", b"x"])))
    return b",".join(parts)


def changed(message: bytes) -> st.SearchStrategy[bytes]:
    return rearranged(message) | mutated([message, *MESSAGES], max_changes=3)


def proof_or_signature(message: bytes) -> bytes:
    """Return the message with its last base64 value decoded, because the last character has unused bits."""
    start, equals, value = message.rpartition(b"p=" if b",p=" in message else b"v=")
    try:
        return start + equals + base64.b64decode(value, validate=True)
    except binascii.Error:
        return message


@fuzz(2, data=st.data(), flag=st.sampled_from(FLAGS), victim=st.integers(0, 3))
def test_changed_message_never_leads_to_a_login(data: st.DataObject, flag: str, victim: int) -> None:
    passed = 0
    original = message = b""

    def relay(sent: bytes) -> bytes:
        nonlocal passed, original, message
        passed += 1
        if passed - 1 != victim:
            return sent
        original, message = sent, data.draw(changed(sent))
        return message

    try:
        exchange(flag, relay)
    except Error:
        return
    if (final := SERVER_FINAL.fullmatch(message)) is not None and are_optional(final[2]):
        message = b"v=" + final[1]  # extensions are not covered by the signature
    assert proof_or_signature(message) == proof_or_signature(original)


@fuzz(2, data=st.data())
def test_challenge_is_accepted_only_in_the_form_of_the_rfc(data: st.DataObject) -> None:
    """All challenges of this form are accepted."""
    check_server_first(data.draw(changed(EXCHANGES["n"][1])))


def are_optional(extensions: bytes) -> bool:
    """Return True if a client ignores each of the extensions, which begin with a comma."""
    return all(part[1:2] == b"=" and part[:1].isalpha() and part[:1] != b"m" for part in extensions.split(b",")[1:])


def check_shown(error: Error) -> None:
    """Assert that the server's text in the message is escaped and bounded."""
    assert len(error.message) < 5_100  # 500 characters, each of them escaped
    assert all(char.isprintable() or unicodedata.category(char) == "Zs" for char in error.message)


def check_server_first(message: bytes) -> None:
    client = ScramClient("n", nonce=CLIENT_NONCE)
    try:
        challenge: ServerFirst | None = client.receive_server_first(message)
    except AuthError as error:
        assert message.startswith(b"e=")
        check_shown(error)
        challenge = None
    except ProtocolError:
        challenge = None
    match = SERVER_FIRST.fullmatch(message)
    valid = (
        match is not None
        and len(match[2]) % 4 == 0
        and are_optional(match[4])
        and match[1].startswith(CLIENT_NONCE)
        and match[1] != CLIENT_NONCE
    )
    assert (challenge is not None) == valid
    if challenge is not None and match is not None:
        assert challenge == (match[1], base64.b64decode(match[2]), int(match[3]))
        proof = client.client_final_message(KEYS)
        assert proof.startswith(b"c=biws,r=" + match[1] + b",p=")


@fuzz(2, data=st.data(), flag=st.sampled_from(FLAGS))
def test_login_succeeds_only_with_the_signature_of_the_exchange(data: st.DataObject, flag: str) -> None:
    check_server_final(data.draw(changed(EXCHANGES[flag][3])), flag)


def check_server_final(message: bytes, flag: str) -> None:
    first, challenge, final, correct = EXCHANGES[flag]
    client, _, _ = peers(flag)
    assert client.client_first_message() == first
    client.receive_server_first(challenge)
    assert client.client_final_message(KEYS) == final
    refusal: Error | None = None
    try:
        client.receive_server_final(message)
    except (AuthError, ProtocolError) as exc:
        refusal = exc
    if refusal is not None:
        assert "error received" not in refusal.message or message.startswith(b"e=")
        check_shown(refusal)
    else:
        auth_message = b",".join([first.split(b",", 2)[2], challenge, final.rpartition(b",")[0]])
        signature = hmac.new(KEYS.server_key, auth_message, hashlib.sha256).digest()
        match = SERVER_FINAL.fullmatch(message)
        assert match is not None
        assert are_optional(match[2])
        assert base64.b64decode(match[1]) == signature == base64.b64decode(correct[2:])


@fuzz(2, data=st.data(), flag=st.sampled_from(FLAGS), advertised=st.booleans(), plus=st.booleans())
def test_server_accepts_only_the_proof_of_its_exchange(
    data: st.DataObject, flag: str, advertised: bool, plus: bool
) -> None:
    first = data.draw(st.just(EXCHANGES[flag][0]) | changed(EXCHANGES[flag][0]))
    final = data.draw(st.just(EXCHANGES[flag][2]) | changed(EXCHANGES[flag][2]))
    check_server(first, final, advertised=advertised, plus=plus)


def check_server(first: bytes, final: bytes, *, advertised: bool, plus: bool) -> None:
    server = ScramServer(KEYS, SALT, 7, channel_binding=BINDING if advertised else None, nonce=SERVER_NONCE)
    try:
        challenge = server.server_first_message(SCRAM_SHA_256_PLUS if plus else SCRAM_SHA_256, first)
        server.server_final_message(final)
    except Error:
        return
    header, _, bare = first.partition(b",,")
    assert header in ((b"p=tls-server-end-point",) if plus else (b"n",) if advertised else (b"n", b"y"))
    binding = BINDING["tls-server-end-point"] if plus else b""
    without_proof, _, proof = final.rpartition(b",p=")
    channel, _, nonce = without_proof.partition(b",r=")
    assert base64.b64decode(channel[2:], validate=True) == header + b",," + binding
    assert challenge.startswith(b"r=" + nonce + b",s=")
    auth_message = b",".join([bare, challenge, without_proof])
    signature = hmac.new(KEYS.stored_key, auth_message, hashlib.sha256).digest()
    expected = bytes(a ^ b for a, b in zip(KEYS.client_key, signature, strict=True))
    assert base64.b64decode(proof, validate=True) == expected


@pytest.mark.parametrize("name", CORPUS)
def test_stored_messages_are_handled_in_each_position(name: str) -> None:
    message = CORPUS[name]
    check_server_first(message)
    for flag in FLAGS:
        check_server_final(message, flag)
        first, _, final, _ = EXCHANGES[flag]
        for advertised in (False, True):
            for plus in (False, True):
                check_server(message, final, advertised=advertised, plus=plus)
                check_server(first, message, advertised=advertised, plus=plus)


def test_comparison_that_accepts_everything_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scram.hmac, "compare_digest", lambda _left, _right: True)
    for test in (
        test_changed_message_never_leads_to_a_login,
        test_login_succeeds_only_with_the_signature_of_the_exchange,
        test_server_accepts_only_the_proof_of_its_exchange,
    ):
        assert isinstance(failure(test), AssertionError)


def test_lenient_base64_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scram, "_base64", lambda data, _what: base64.b64decode(data + b"==="))
    test = test_challenge_is_accepted_only_in_the_form_of_the_rfc
    assert failure(test) is not None


def test_nonce_without_an_extension_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = ScramClient.receive_server_first

    def broken(self: ScramClient, message: bytes) -> ServerFirst:
        self._nonce = message[2:6]
        return correct(self, message)

    monkeypatch.setattr(ScramClient, "receive_server_first", broken)
    test = test_challenge_is_accepted_only_in_the_form_of_the_rfc
    assert isinstance(failure(test), AssertionError)
