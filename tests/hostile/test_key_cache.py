"""SCRAM keys are cached only for servers that have proven to have the verifier."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AuthError, Config, Error, ServerSignatureError, TlsMode
from babar_tls._native import functions
from babar_tls.net.key_cache import key_cache
from babar_tls.testing import ScriptedServer

from .scripts import FATAL, connect, log_in, offer_scram, receive_until_closed, request, send_ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, int]]:
    """Return the salts and iteration counts of all derivations of this test in this process's client."""
    seen: list[tuple[bytes, int]] = []
    real = functions.pbkdf2_hmac_sha256

    def counting(password: bytes, salt: bytes, iterations: int, **options: Any) -> Any:
        if "seconds" in options:  # by the client, which has a deadline; the scripts' server has none
            seen.append((salt, iterations))
        return real(password, salt, iterations, **options)

    monkeypatch.setattr(functions, "pbkdf2_hmac_sha256", counting)
    return seen


def honest(peer: ScriptedPeer) -> None:
    log_in(peer)
    receive_until_closed(peer)


def challenge(peer: ScriptedPeer, salt: bytes) -> None:
    _, first = offer_scram(peer, b"SCRAM-SHA-256")
    nonce = first.partition(b"r=")[2]
    peer.send_message(b"R", request(11, b"r=" + nonce + b"x,s=" + base64.b64encode(salt) + b",i=1"))
    peer.receive_message()


def refusing(peer: ScriptedPeer, salt: bytes) -> None:
    challenge(peer, salt)
    peer.send_message(b"E", FATAL)
    receive_until_closed(peer)


def with_a_wrong_signature(peer: ScriptedPeer, salt: bytes) -> None:
    challenge(peer, salt)
    peer.send_message(b"R", request(12, b"v=" + base64.b64encode(bytes(32))))
    receive_until_closed(peer)


def without_a_signature(peer: ScriptedPeer, salt: bytes) -> None:
    challenge(peer, salt)
    send_ready(peer)
    receive_until_closed(peer)


@pytest.mark.parametrize(
    ("attack", "kind"),
    [
        (refusing, AuthError),
        (with_a_wrong_signature, ServerSignatureError),
        (without_a_signature, AuthError),
        (challenge, Error),
    ],
)
def test_failed_logins_do_not_evict_the_keys_of_honest_servers(
    config: Config,
    style: str,
    derived: list[tuple[bytes, int]],
    attack: Callable[[ScriptedPeer, bytes], None],
    kind: type[Error],
) -> None:
    count = 0

    def dishonest(peer: ScriptedPeer) -> None:
        nonlocal count
        count += 1
        attack(peer, count.to_bytes(16, "big"))

    plain = config.replace(tls_mode=TlsMode.DISABLE)
    with ScriptedServer(honest) as server, ScriptedServer(dishonest) as attacker:
        connect(plain.replace(port=server.port), style)
        connect(plain.replace(port=server.port), style)
        assert len(derived) == 1  # the second login used the cache
        for _ in range(key_cache._keys.capacity + 4):
            with pytest.raises(kind):
                connect(plain.replace(port=attacker.port), style)
        assert len(derived) == 1 + key_cache._keys.capacity + 4
        connect(plain.replace(port=server.port), style)
    assert len(derived) == 1 + key_cache._keys.capacity + 4
    assert len(key_cache._keys) == 1
