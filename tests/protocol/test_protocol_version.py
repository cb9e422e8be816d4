"""The version of the protocol: the request, and the server's NegotiateProtocolVersion."""

from __future__ import annotations

import re
import struct
from typing import Any

import pytest

from babar_tls.config import Config
from babar_tls.errors import ConfigError, Error, ProtocolError, ServerError
from babar_tls.protocol.handshake import Established, cancel, handshake
from babar_tls.protocol.messages import frame

from .configs import PASSWORD, make
from .script import CLEARTEXT, OK, READY, WELCOME, Answer, Driver, ScramPeer, error, talk

V3_0, V3_2 = 0x30000, 0x30002
NEWER = {"max_protocol_version": "3.2"}
ONLY_NEWER = {"min_protocol_version": "3.2", "max_protocol_version": "latest"}
INVALID = "received invalid protocol negotiation message: "


def negotiation(version: int, *names: str, count: int | None = None) -> bytes:
    header = struct.pack("!ii", version, len(names) if count is None else count)
    return frame(b"v", header + "".join(f"{name}\0" for name in names).encode())


def key_data(length: int) -> bytes:
    return frame(b"K", struct.pack("!I", 4711) + b"k" * length)


def established(*answers: Answer, startup: tuple[tuple[str, str], ...] = (), **fields: Any) -> Established:
    return talk(*answers).run(handshake(make(**fields), startup=startup))


def refused(text: str, *answers: Answer, kind: type[Error] = ProtocolError, **fields: Any) -> Error:
    with pytest.raises(kind, match=re.escape(text)) as caught:
        established(*answers, **fields)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({}, V3_0),
        ({"max_protocol_version": "3.0"}, V3_0),
        (NEWER, V3_2),
        ({"max_protocol_version": "latest"}, V3_2),
        (ONLY_NEWER, V3_2),
    ],
)
def test_startup_message_requests_the_maximum_version(fields: dict[str, str], version: int) -> None:
    driver = talk(WELCOME)
    result = driver.run(handshake(make(**fields)))
    assert struct.unpack_from("!I", driver.sent[1], 4) == (version,)
    assert result.protocol_version == ("3.2" if version == V3_2 else "3.0")


def test_minimum_above_the_maximum_is_refused() -> None:
    with pytest.raises(ConfigError, match='"min_protocol_version" is greater than "max_protocol_version"'):
        make(min_protocol_version="3.2")
    assert make(**ONLY_NEWER).min_protocol_version.number == V3_2


@pytest.mark.parametrize("version", ["3.1", "3", 3.2, None])
def test_unknown_version_is_refused(version: Any) -> None:
    with pytest.raises(ConfigError, match="invalid max_protocol_version value"):
        Config(max_protocol_version=version)


def test_server_may_select_the_older_version() -> None:
    result = established(negotiation(V3_0) + OK + key_data(4) + READY, **NEWER)
    assert (result.protocol_version, result.secret_key, result.unsupported_options) == ("3.0", b"kkkk", ())


def test_server_may_refuse_a_requested_option() -> None:
    options = (("_pq_.a", "1"), ("_pq_.b", "1"))
    result = established(negotiation(V3_0, "_pq_.b") + WELCOME, startup=options)
    assert (result.protocol_version, result.unsupported_options) == ("3.0", ("_pq_.b",))
    result = established(negotiation(V3_2, "_pq_.b", "_pq_.a") + OK + key_data(256) + READY, startup=options, **NEWER)
    assert (result.protocol_version, result.unsupported_options) == ("3.2", ("_pq_.b", "_pq_.a"))


def test_version_below_the_minimum_is_refused() -> None:
    text = 'server only supports protocol version 3.0, but "min_protocol_version" was set to 3.2'
    caught = refused(text, negotiation(V3_0) + WELCOME, **ONLY_NEWER)
    assert "PostgreSQL 18" in str(caught.remedy)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (negotiation(V3_2), "server negotiated but asks for no changes"),
        (negotiation(0x30003), "server requested downgrade to a higher-numbered version"),
        (negotiation(0x20000), "server requested downgrade to pre-3.0 protocol version"),
        (negotiation(0x30001), "server requested downgrade to non-existent 3.1 protocol version"),
        (negotiation(V3_0, count=-1), "server reported negative number of unsupported parameters"),
        (negotiation(V3_0, "x"), 'server reported unsupported parameter name without a "_pq_." prefix ("x")'),
        (negotiation(V3_0, "_pq_.x"), 'server reported an unsupported parameter that was not requested ("_pq_.x")'),
        (negotiation(V3_0, "_pq_.é\n"), "server reported an unsupported parameter that was not requested"),
        (
            negotiation(V3_0, "_pq_.a", "_pq_.a"),
            'server reported an unsupported parameter that was not requested ("_pq_.a")',
        ),
        (negotiation(V3_0, count=1), "message too short"),
        (negotiation(V3_0, "_pq_.a", count=2), "message too short"),
        (frame(b"v", b"\0\3\0\0\0\0\0"), "message too short"),
    ],
)
def test_invalid_negotiation_is_refused(message: bytes, text: str) -> None:
    caught = refused(INVALID + text, message + WELCOME, startup=(("_pq_.a", ""),), **NEWER)
    assert "proxy changes the StartupMessage" in str(caught.remedy)


def test_negotiation_with_trailing_data_is_refused() -> None:
    refused(INVALID[:-2], negotiation(V3_0, "_pq_.a", count=0) + WELCOME, **NEWER)


def test_negotiation_of_the_only_possible_version_is_refused() -> None:
    refused(f"{INVALID}server negotiated but asks for no changes", negotiation(V3_0) + WELCOME)
    refused(f"{INVALID}server requested downgrade to a higher-numbered version", negotiation(V3_2) + WELCOME)


def test_second_negotiation_is_refused() -> None:
    refused("received duplicate protocol negotiation message", negotiation(V3_0) * 2 + WELCOME, **NEWER)


def test_negotiation_after_an_authentication_request_is_refused() -> None:
    text = "received a protocol negotiation message after an authentication request"
    refused(text, CLEARTEXT, negotiation(V3_0) + WELCOME, **NEWER)


def test_negotiation_after_authentication_is_refused() -> None:
    refused("the server sent b'v' before ReadyForQuery", OK + negotiation(V3_0), **NEWER)


def test_negotiation_precedes_a_pipelined_exchange() -> None:
    peer = ScramPeer(PASSWORD, offered=("SCRAM-SHA-256",))
    driver = Driver([[lambda sent: negotiation(V3_0) + peer.offer + peer.first(sent), peer.welcome]])
    result = driver.run(handshake(make(require_auth="scram-sha-256", tls_mode="disable", **NEWER)))
    assert (result.protocol_version, result.authenticated.method) == ("3.0", "scram-sha-256")


def test_long_key_after_a_downgrade_is_refused() -> None:
    text = "cancel key with length 32 not allowed in protocol version 3.0 (must be 4 bytes)"
    refused(text, negotiation(V3_0) + OK + key_data(32) + READY, **NEWER)


def test_cancel_request_contains_the_long_key() -> None:
    config = make(tls_mode="disable")
    driver = talk(b"")
    key = bytes(range(256))
    driver.run(cancel(config, config.targets[0], 4711, key, tls=False))
    assert driver.sent == [struct.pack("!III", 12 + 256, 80877102, 4711) + key]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("0A000", "unsupported frontend protocol 3.2: server supports 2.0 to 3.0"),
        ("08P01", "bad packet header: '0000004000030002'"),  # PgBouncer 1.18
    ],
)
def test_server_without_negotiation_gets_a_remedy(code: str, text: str) -> None:
    caught = refused(text, error(code, text), kind=ServerError, **NEWER)
    assert "max_protocol_version=3.0" in str(caught.remedy)
