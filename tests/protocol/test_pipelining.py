"""Where policy leaves one mechanism, SCRAM begins with the StartupMessage; nothing else changes."""

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
    ("scram alone, unbound", {"channel_binding": "disable", "require_auth": "scram-sha-256"}, "n"),
    ("scram alone, plain", {"tls_mode": "disable", "require_auth": "scram-sha-256"}, "n"),
]


def peer(flag: str, **options: Any) -> ScramPeer:
    """A server that binds, or that does not."""
    from babar_tls.protocol.channel_binding import tls_server_end_point

    data = {"tls-server-end-point": tls_server_end_point(Facts().peer_certificate)}
    if flag == "p":
        return ScramPeer(PASSWORD, bindings=data, **options)
    return ScramPeer(PASSWORD, offered=("SCRAM-SHA-256",), bindings=None, **options)


def driver(overrides: dict[str, Any], *answers: Any, facts: Facts | None = None) -> Driver:
    """With or without TLS."""
    return Driver([list(answers)]) if overrides.get("tls_mode") == "disable" else talk(*answers, facts=facts)


@pytest.mark.parametrize(("overrides", "flag"), [(o, f) for _, o, f in ONLY], ids=[name for name, _, _ in ONLY])
def test_one_flight(overrides: dict[str, Any], flag: str) -> None:
    """StartupMessage and client-first are one write, and there is one wait less."""
    server = peer(flag)
    world = driver(overrides, *server.script)
    established = world.run(handshake(make(**overrides)))
    assert established.authenticated.gs2_flag == flag
    startup = next(data for data in world.sent if b"user\0app" in data)
    assert b"SCRAM-SHA-256" in startup
    assert PASSWORD.encode() not in world.all_sent
    assert server.client_first.startswith(flag.encode())
    separate = driver(overrides, *peer(flag).script)
    separate.run(handshake(make(**overrides, pipelining=False)))
    assert len(separate.sent) == len(world.sent) + 1
    assert separate.waits == world.waits


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"require_auth": "scram-sha-256"},  # bound or not: the server's list decides
        {"require_auth": "scram-sha-256,md5", "channel_binding": "disable"},
        {"require_auth": "!password", "channel_binding": "disable"},
        {"channel_binding": "require", "require_auth": "md5"},
        {"channel_binding": "require", "password": None},
        {"channel_binding": "require", "pipelining": False},
    ],
)
def test_two_flights(overrides: dict[str, Any]) -> None:
    """Where more than one answer is possible, or none is, the StartupMessage goes alone."""
    world = talk(sasl(*BOTH), WELCOME)
    with pytest.raises(Error):
        world.run(handshake(make(**overrides)))
    assert b"user\0app" in world.sent[1]
    assert b"SCRAM" not in world.sent[1]


def test_what_cannot_be_bound_is_said_when_it_is_asked_for() -> None:
    """A certificate without a hash is no reason to speak before the server: it may refuse for another."""
    world = talk(error("28000", "no pg_hba.conf entry"), facts=Facts(peer_certificate=ED25519))
    with pytest.raises(ServerError, match=r"no pg_hba\.conf entry"):
        world.run(handshake(make(channel_binding="require")))
    world = talk(sasl(*BOTH), facts=Facts(peer_certificate=ED25519))
    with pytest.raises(ChannelBindingUnsupported, match="Ed25519"):
        world.run(handshake(make(channel_binding="require")))
    assert b"SCRAM" not in world.all_sent


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (CLEARTEXT, (ChannelBindingError, UnsupportedAuth)),
        (MD5, (ChannelBindingError, UnsupportedAuth)),
        (WELCOME, (ChannelBindingError, UnsupportedAuth)),
        (sasl("SCRAM-SHA-512"), (ChannelBindingError, UnsupportedAuth)),
        (sasl(), (ChannelBindingError, UnsupportedAuth)),
        (error("57P03"), (ServerError,)),
        (b"R\0\0\0\x0c\0\0\0\x0br=x,", (ProtocolError, AuthError)),  # a challenge that nobody announced
    ],
)
@pytest.mark.parametrize(("overrides", "flag"), [(o, f) for _, o, f in ONLY], ids=[name for name, _, _ in ONLY])
def test_every_other_answer(overrides: dict[str, Any], flag: str, answer: bytes, kind: tuple[type[Error], ...]) -> None:
    """What the server may answer is as limited as without pipelining, and nothing secret follows."""
    outcomes = []
    for pipelining in (True, False):
        world = driver(overrides, answer, WELCOME)
        with pytest.raises(kind) as caught:
            world.run(handshake(make(**overrides, pipelining=pipelining)))
        outcomes.append((type(caught.value), caught.value.message))
        assert PASSWORD.encode() not in world.all_sent
        assert not world.derived
    assert outcomes[0] == outcomes[1]


def test_a_server_that_offers_plus_alone() -> None:
    """Unbound SCRAM that was begun is not gone on with where the server wants it bound."""
    overrides = {"channel_binding": "disable", "require_auth": "scram-sha-256"}
    world = talk(sasl("SCRAM-SHA-256-PLUS"), WELCOME)
    with pytest.raises(UnsupportedAuth, match="offers only SCRAM-SHA-256-PLUS"):
        world.run(handshake(make(**overrides)))


def test_given_keys_need_no_password() -> None:
    """Keys in place of a password begin SCRAM just as well."""
    world = talk(sasl(*BOTH), WELCOME)
    with pytest.raises(ChannelBindingError):
        world.run(
            handshake(
                make(channel_binding="require", password=None, scram_client_key=b"k" * 32, scram_server_key=b"s" * 32)
            )
        )
    assert b"SCRAM-SHA-256-PLUS" in world.sent[1]
