"""Offers of a single key-exchange group that the client chooses neither fail nor weaken a connect."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from babar_tls import (
    AsyncSession,
    CertificateError,
    Config,
    Error,
    Host,
    TimeoutError,
    TlsError,
    TlsMode,
    TlsVerify,
)
from babar_tls.backends import get_backend, offer_of
from babar_tls.testing import ScriptedServer
from babar_tls.testing._tls_contexts import SSL_REQUEST
from babar_tls.tls import bounded_cache
from babar_tls.tls.hello import client_offer
from babar_tls.tls.key_share_cache import KeyShareCache, Server, key_share_cache

from .scripts import connect, failure, receive_until_closed, send_ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import CertificateAuthority, ScriptedPeer, ServerCertificate

#: Alerts: handshake_failure, illegal_parameter, decode_error, protocol_version, insufficient_security, internal_error.
ALERTS = (40, 47, 50, 70, 71, 80)


@pytest.fixture(params=["stdlib", "openssl"])
def backend(request: pytest.FixtureRequest) -> str:
    """Return a backend that can offer a single group."""
    return request.param


def hello_of(peer: ScriptedPeer) -> bytes:
    """Return the ClientHello without consuming it."""
    size = 5
    while True:
        data = peer.socket.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)
        end = 5 + int.from_bytes(data[3:5], "big")
        if len(data) == end:
            return data
        size = end


class GroupServer:
    """A server that handles hellos with a single group in its own way, and accepts all others.

    Attributes:
        offers: The groups of each hello.
        narrow: Handles a hello with a single group; `None` accepts it.
    """

    def __init__(
        self, certificate: ServerCertificate, group: str, narrow: Callable[[ScriptedPeer], object] | None = None
    ) -> None:
        self.offers: list[tuple[str, ...]] = []
        self.narrow = narrow
        self.reached = threading.Event()
        self.options: dict[str, object] = {"group": group} if group else {}
        self._certificate = certificate

    def __call__(self, peer: ScriptedPeer) -> None:
        if peer.socket.recv(1, socket.MSG_PEEK) != b"\x16":
            assert peer.receive_startup() == SSL_REQUEST
            peer.send(b"S")
        self.offers.append(client_offer(hello_of(peer)).groups)
        self.reached.set()
        if self.narrow is not None and len(self.offers[-1]) == 1:
            self.narrow(peer)
            return
        try:
            peer.start_tls(self._certificate, **self.options)
        except ssl.SSLError:
            return  # no common group, or the client refuses the certificate
        peer.receive_startup()
        send_ready(peer)
        receive_until_closed(peer)


def alert(number: int) -> Callable[[ScriptedPeer], None]:
    def send(peer: ScriptedPeer) -> None:
        peer.receive()
        peer.send(b"\x15\x03\x03\0\x02\x02" + bytes((number,)))

    return send


def end(peer: ScriptedPeer) -> None:
    peer.receive()


def reset(peer: ScriptedPeer) -> None:
    peer.reset()


def nonsense(peer: ScriptedPeer) -> None:
    peer.receive()
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


REFUSALS = {
    **{f"alert {number}": alert(number) for number in ALERTS},
    "end": end,
    "reset": reset,
    "nonsense": nonsense,
}


def trusting(config: Config, server: ScriptedServer, backend: str, **changes: object) -> Config:
    """A configuration for a server that requires no password."""
    return config.replace(port=server.port, tls_backend=backend, password=None, **changes)


@pytest.mark.parametrize("group", ["prime256v1", "secp384r1"])
def test_unverified_connect_does_not_narrow_verified_ones(
    config: Config, backend: str, certificate: ServerCertificate, group: str
) -> None:
    group_server = GroupServer(certificate, group)
    with ScriptedServer(group_server) as server:
        verified = trusting(config, server, backend)
        unverified = verified.replace(tls_verify=TlsVerify.NONE)
        for _ in range(2):
            connect(unverified, "blocking")
        seen, group_server.offers = group_server.offers[-1], []
        connect(verified, "blocking")
    everything = offer_of(get_backend(backend)).groups
    assert seen == group_server.offers[-1] or group == "prime256v1"
    if backend == "openssl":  # which has post-quantum groups
        assert group_server.offers == [everything]
    else:
        assert group_server.offers[-1] in (everything, ("secp256r1",))


def test_unverified_connect_never_loses_post_quantum_groups(config: Config, certificate: ServerCertificate) -> None:
    group_server = GroupServer(certificate, "prime256v1")
    with ScriptedServer(group_server) as server:
        unverified = trusting(config, server, "openssl", tls_verify=TlsVerify.NONE)
        for _ in range(3):
            connect(unverified, "blocking")
    assert set(group_server.offers) == {offer_of(get_backend("openssl")).groups}


def test_other_trust_settings_and_names_do_not_share_groups(
    config: Config, backend: str, certificate: ServerCertificate, authority: CertificateAuthority, tmp_path: object
) -> None:
    group_server = GroupServer(certificate, "secp384r1")
    other = f"{tmp_path}/other.crt"
    authority.write(other)
    with ScriptedServer(group_server) as server:
        verified = trusting(config, server, backend)
        for _ in range(2):
            connect(verified, "blocking")
        assert group_server.offers[-1] == ("secp384r1",)
        for changes in (
            {"tls_root_cert_path": other},
            {"tls_verify": TlsVerify.CA},
            {"tls_server_name": "localhost"},
            {"host": "localhost", "hostaddr": "127.0.0.1"},
            {"tls_min_version": "TLSv1.3"},
        ):
            connect(verified.replace(**changes), "blocking")
            assert group_server.offers[-1] != ("secp384r1",), changes


def test_group_of_a_refused_session_is_not_learned(
    config: Config, backend: str, certificate: ServerCertificate
) -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.accept_tls(certificate, group="secp384r1")
        peer.receive_startup()
        peer.send_message(b"E", b"SFATAL\0C28000\0Mno\0\0")

    with ScriptedServer(script) as server:
        for _ in range(2):
            with pytest.raises(Error):
                connect(trusting(config, server, backend), "blocking")
    assert len(key_share_cache._selected) == 0


@pytest.mark.parametrize("second", ["refused", "reset"])
def test_first_failure_is_reported_if_the_repetition_cannot_connect(
    config: Config, style: str, certificate: ServerCertificate, second: str
) -> None:
    def refuse(peer: ScriptedPeer) -> None:
        lost.set()
        if second == "refused":
            server._listener.shutdown(socket.SHUT_RDWR)
            server._listener.close()
        alert(40)(peer)

    def script(peer: ScriptedPeer) -> None:
        (reset if lost.is_set() else group_server)(peer)

    lost = threading.Event()
    group_server = GroupServer(certificate, "secp384r1")
    other = GroupServer(certificate, "secp384r1")
    with ScriptedServer(script) as server, ScriptedServer(other) as other_server:
        wanted = trusting(config, server, "stdlib")
        for _ in range(2):
            connect(wanted, style)
        assert len(group_server.offers[-1]) == 1
        group_server.narrow = refuse
        hosts = (Host(config.host, server.port), Host(config.host, other_server.port))
        with pytest.raises(TlsError) as caught:
            connect(wanted.replace(hosts=hosts), style)
    assert caught.value.alert == "handshake_failure"
    assert caught.value.attempts == (caught.value,)
    assert other.offers == []


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_refused_narrow_offer_is_repeated_with_all_groups(
    *, config: Config, style: str, backend: str, certificate: ServerCertificate, refusal: str, negotiation: str
) -> None:
    group_server = GroupServer(certificate, "secp384r1")
    everything = offer_of(get_backend(backend)).groups
    with ScriptedServer(group_server) as server:
        wanted = trusting(config, server, backend, tls_negotiation=negotiation)
        for _ in range(2):
            connect(wanted, style)
        assert group_server.offers[-1] == ("secp384r1",)
        group_server.narrow, group_server.offers = REFUSALS[refusal], []
        connect(wanted, style)
        assert group_server.offers == [("secp384r1",), everything]
        connect(wanted, style)  # the group was forgotten and learned again
    assert server.errors == []


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refused_first_guess_is_repeated_with_all_groups(
    config: Config, style: str, certificate: ServerCertificate, refusal: str
) -> None:
    group_server = GroupServer(certificate, "", REFUSALS[refusal])
    everything = offer_of(get_backend("stdlib")).groups
    with ScriptedServer(group_server) as server:
        for _ in range(2):
            connect(trusting(config, server, "stdlib"), style)
        assert group_server.offers == [("secp256r1",), everything, everything]


@pytest.mark.parametrize("group", ["X448", "ffdhe2048", "ffdhe8192", "X25519", "secp521r1", "prime256v1"])
def test_server_with_any_single_group_accepts_each_connect(
    config: Config, style: str, backend: str, certificate: ServerCertificate, group: str
) -> None:
    offered = offer_of(get_backend(backend)).groups
    if group.lower().replace("prime256v1", "secp256r1") not in offered:
        pytest.skip("the backend does not have the group")
    group_server = GroupServer(certificate, group)
    with ScriptedServer(group_server) as server:
        for _ in range(3):
            connect(trusting(config, server, backend), style)
        assert server.connections <= 4


def test_tls_12_certificate_outside_the_narrow_offer_is_accepted(
    config: Config, style: str, backend: str, authority: CertificateAuthority
) -> None:
    group_server = GroupServer(authority.issue("127.0.0.1", key="p384"), "")
    group_server.options = {"maximum_version": ssl.TLSVersion.TLSv1_2}
    with ScriptedServer(group_server) as server:
        for _ in range(2):
            connect(trusting(config, server, backend), style)


@pytest.mark.parametrize("group", ["SecP256r1MLKEM768", "curveSM2", "0x1234", "brainpoolP256r1", "rot13"])
def test_group_that_a_backend_cannot_select_is_not_learned(config: Config, backend: str, group: str) -> None:
    cache = KeyShareCache()
    server = Server(get_backend(backend), "server", "localhost", config.tls_parameters, ())
    cache.learn(server, group)
    assert cache.parameters(server).groups in ((), ("secp256r1",))


def test_refused_configured_groups_are_not_repeated(
    config: Config, style: str, backend: str, certificate: ServerCertificate
) -> None:
    group_server = GroupServer(certificate, "", alert(40))
    with ScriptedServer(group_server) as server:
        failure(trusting(config, server, backend, tls_groups=("secp384r1",)), style, TlsError)
        assert group_server.offers == [("secp384r1",)]


def test_refusal_of_all_groups_is_not_repeated(config: Config, style: str, certificate: ServerCertificate) -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(b"S")
        alert(40)(peer)

    with ScriptedServer(script) as server:
        for expected in (2, 3):
            error = failure(trusting(config, server, "stdlib"), style, TlsError)
            assert error.alert == "handshake_failure"
            assert server.connections == expected


def test_timeout_is_not_repeated(config: Config, style: str, certificate: ServerCertificate) -> None:
    group_server = GroupServer(certificate, "", receive_until_closed)
    with ScriptedServer(group_server) as server:
        failure(trusting(config, server, "stdlib", connect_timeout=0.5), style, TimeoutError)
        assert group_server.offers == [("secp256r1",)]


def test_deadline_covers_the_second_attempt(config: Config, style: str) -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(b"S")
        if len(client_offer(hello_of(peer)).groups) > 1:
            receive_until_closed(peer)

    with ScriptedServer(script) as server:
        failure(trusting(config, server, "stdlib", connect_timeout=0.5), style, TimeoutError)
        assert server.connections == 2


def test_cancelled_attempt_is_not_repeated(config: Config, certificate: ServerCertificate) -> None:
    group_server = GroupServer(certificate, "", receive_until_closed)

    async def run(server: ScriptedServer) -> None:
        task = asyncio.create_task(AsyncSession.connect(trusting(config, server, "stdlib")))
        assert await asyncio.to_thread(group_server.reached.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ScriptedServer(group_server) as server:
        asyncio.run(run(server))
        assert server.connections == 1


@pytest.mark.parametrize("second", [b"N", b"E", b"", b"SR\0\0\0\x08\0\0\0\0", b"H"])
@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.PREFER])
def test_other_answer_to_the_repeated_request_is_refused(
    config: Config, style: str, second: bytes, mode: TlsMode
) -> None:
    received = []

    def script(peer: ScriptedPeer) -> None:
        received.append(peer.receive_startup())
        if len(received) == 1:
            peer.send(b"S")
            alert(40)(peer)
        else:
            peer.send(second)
            if second:
                received.append(receive_until_closed(peer))

    with ScriptedServer(script) as server:
        error = failure(trusting(config, server, "stdlib", tls_mode=mode), style, TlsError)
        assert error.alert == "handshake_failure"
    assert received[:2] == [SSL_REQUEST, SSL_REQUEST]
    assert received[2:] in ([], [b""])


def test_refused_tls_13_certificate_is_not_repeated(
    config: Config, style: str, backend: str, authority: CertificateAuthority
) -> None:
    group_server = GroupServer(authority.issue("other.example"), "")
    with ScriptedServer(group_server) as server:
        failure(trusting(config, server, backend), style, CertificateError)
        assert server.connections == 1


def test_flood_is_not_repeated(config: Config, style: str) -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(b"S")
        peer.receive()
        record = b"\x16\x03\x03\x40\0" + b"\x0b\x00\xff\xff".ljust(1 << 14, b"x")
        for _ in range(200):
            peer.send(record)

    with ScriptedServer(script) as server:
        with pytest.raises(Error):
            connect(trusting(config, server, "stdlib"), style)
        assert server.connections <= 2


@pytest.mark.parametrize("endless", [False, True])
def test_cache_is_bounded_and_failures_evict_no_groups(config: Config, *, endless: bool) -> None:
    cache = KeyShareCache(capacity=4)
    parameters = config.tls_parameters
    backend = get_backend("openssl")
    known = Server(backend, "known", "localhost", parameters, ())
    cache.learn(known, "secp384r1")
    for number in range(100):
        other = Server(backend, f"other {number}", "localhost", parameters, ())
        cache.forget(other)
        if endless:
            cache.learn(other, "secp384r1")
    assert len(cache._selected) <= 4
    assert len(cache._refused) <= 4
    assert cache.parameters(known).groups == (() if endless else ("secp384r1",))


def test_selected_group_is_offered_for_ten_minutes(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = KeyShareCache()
    server = Server(get_backend("openssl"), "server", "localhost", config.tls_parameters, ())
    cache.learn(server, "secp384r1")
    learned = time.time()
    for seconds, is_remembered in ((0, True), (590, True), (600, False)):
        monkeypatch.setattr(bounded_cache, "time", lambda now=learned + seconds: now)
        assert (cache.parameters(server).groups == ("secp384r1",)) is is_remembered
