"""If the policy allows only one mechanism, SCRAM begins with the StartupMessage."""

from __future__ import annotations

from typing import Any

import pytest

from babar_tls.errors import (
    AuthError,
    ChannelBindingError,
    ChannelBindingUnsupported,
    Error,
    ProtocolError,
    ServerError,
    UnsupportedAuth,
)
from babar_tls.protocol.handshake import handshake

from .configs import PASSWORD, make
from .script import BOTH, CLEARTEXT, ED25519, MD5, WELCOME, Driver, Facts, ScramPeer, error, sasl, talk

ONLY = [
    ("channel_binding required", {"channel_binding": "require"}, "p"),
    ("both", {"channel_binding": "require", "require_auth": "scram-sha-256"}, "p"),
    ("only SCRAM, without binding", {"channel_binding": "disable", "require_auth": "scram-sha-256"}, "n"),
    ("only SCRAM, without TLS", {"tls_mode": "disable", "require_auth": "scram-sha-256"}, "n"),
]


def peer(flag: str, **options: Any) -> ScramPeer:
    """Return a server with or without channel binding."""
    from babar_tls.protocol.channel_binding import tls_server_end_point

    data = {"tls-server-end-point": tls_server_end_point(Facts().peer_certificate)}
    if flag == "p":
        return ScramPeer(PASSWORD, bindings=data, **options)
    return ScramPeer(PASSWORD, offered=("SCRAM-SHA-256",), bindings=None, **options)


def driver(overrides: dict[str, Any], *answers: Any, facts: Facts | None = None) -> Driver:
    """Return a driver with or without TLS."""
    return Driver([list(answers)]) if overrides.get("tls_mode") == "disable" else talk(*answers, facts=facts)


@pytest.mark.parametrize(("overrides", "flag"), [(o, f) for _, o, f in ONLY], ids=[name for name, _, _ in ONLY])
def test_startup_and_client_first_message_are_sent_together(overrides: dict[str, Any], flag: str) -> None:
    """This saves one wait."""
    server = peer(flag)
    client = driver(overrides, *server.script)
    established = client.run(handshake(make(**overrides)))
    assert established.authenticated.gs2_flag == flag
    startup = next(data for data in client.sent if b"user\0app" in data)
    assert b"SCRAM-SHA-256" in startup
    assert PASSWORD.encode() not in client.all_sent
    assert server.client_first.startswith(flag.encode())
    separate = driver(overrides, *peer(flag).script)
    separate.run(handshake(make(**overrides, pipelining=False)))
    assert len(separate.sent) == len(client.sent) + 1
    assert separate.waits == client.waits


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"require_auth": "scram-sha-256"},  # the server's list decides about channel binding
        {"require_auth": "scram-sha-256,md5", "channel_binding": "disable"},
        {"require_auth": "!password", "channel_binding": "disable"},
        {"channel_binding": "require", "require_auth": "md5"},
        {"channel_binding": "require", "password": None},
        {"channel_binding": "require", "pipelining": False},
    ],
)
def test_startup_message_is_sent_separately_if_several_answers_are_possible(overrides: dict[str, Any]) -> None:
    """The same holds if no answer is possible."""
    client = talk(sasl(*BOTH), WELCOME)
    with pytest.raises(Error):
        client.run(handshake(make(**overrides)))
    assert b"user\0app" in client.sent[1]
    assert b"SCRAM" not in client.sent[1]


def test_missing_end_point_hash_is_an_error_after_the_sasl_request() -> None:
    """The server may refuse the connection for another reason."""
    client = talk(error("28000", "no pg_hba.conf entry"), facts=Facts(peer_certificate=ED25519))
    with pytest.raises(ServerError, match=r"no pg_hba\.conf entry"):
        client.run(handshake(make(channel_binding="require")))
    client = talk(sasl(*BOTH), facts=Facts(peer_certificate=ED25519))
    with pytest.raises(ChannelBindingUnsupported, match="Ed25519"):
        client.run(handshake(make(channel_binding="require")))
    assert b"SCRAM" not in client.all_sent


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (CLEARTEXT, (ChannelBindingError, UnsupportedAuth)),
        (MD5, (ChannelBindingError, UnsupportedAuth)),
        (WELCOME, (ChannelBindingError, UnsupportedAuth)),
        (sasl("SCRAM-SHA-512"), (ChannelBindingError, UnsupportedAuth)),
        (sasl(), (ChannelBindingError, UnsupportedAuth)),
        (error("57P03"), (ServerError,)),
        (b"R\0\0\0\x0c\0\0\0\x0br=x,", (ProtocolError, AuthError)),  # a challenge without a SASL request
    ],
)
@pytest.mark.parametrize(("overrides", "flag"), [(o, f) for _, o, f in ONLY], ids=[name for name, _, _ in ONLY])
def test_other_answers_are_refused_as_without_pipelining(
    overrides: dict[str, Any], flag: str, answer: bytes, kind: tuple[type[Error], ...]
) -> None:
    """No secret is sent."""
    outcomes = []
    for pipelining in (True, False):
        client = driver(overrides, answer, WELCOME)
        with pytest.raises(kind) as caught:
            client.run(handshake(make(**overrides, pipelining=pipelining)))
        outcomes.append((type(caught.value), caught.value.message))
        assert PASSWORD.encode() not in client.all_sent
        assert not client.derived
    assert outcomes[0] == outcomes[1]


def test_pipelined_scram_is_aborted_if_the_server_offers_only_plus() -> None:
    overrides = {"channel_binding": "disable", "require_auth": "scram-sha-256"}
    client = talk(sasl("SCRAM-SHA-256-PLUS"), WELCOME)
    with pytest.raises(UnsupportedAuth, match="offers only SCRAM-SHA-256-PLUS"):
        client.run(handshake(make(**overrides)))


def test_pipelining_works_with_configured_scram_keys() -> None:
    client = talk(sasl(*BOTH), WELCOME)
    with pytest.raises(ChannelBindingError):
        client.run(
            handshake(
                make(channel_binding="require", password=None, scram_client_key=b"k" * 32, scram_server_key=b"s" * 32)
            )
        )
    assert b"SCRAM-SHA-256-PLUS" in client.sent[1]
