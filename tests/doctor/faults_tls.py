"""Faults of the TLS handshake: versions, algorithms, ALPN, and channel binding."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from babar_tls.doctor.causes import Cause

from .fault import ALL_BACKENDS, Fault
from .fault_world import NAME, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer

    from .fault_world import Arena

_SSL_REQUEST_LENGTH = 8
_CLIENT_HELLO = b"\x16"  # the type of its record
_NO_APPLICATION_PROTOCOL = bytes.fromhex("1503030002" + "0278")  # RFC 7301 §3.2
#: A ServerHello (RFC 5246 §7.4.1.3) of TLS 1.0 with an empty session and TLS_RSA_WITH_AES_128_CBC_SHA.
_HELLO_OF_TLS_1_0 = bytes.fromhex("160301002a" + "02000026" + "0301" + "5a" * 32 + "00" + "002f" + "00")


def _old_versions(arena: Arena) -> str:
    options = {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    return arena.conninfo(arena.present(arena.world.good, **options))


def _old_hello(arena: Arena) -> str:
    def script(peer: ScriptedPeer) -> None:
        if peer.receive(1) != _CLIENT_HELLO:
            peer.receive_exactly(_SSL_REQUEST_LENGTH - 1)
            peer.send(b"S")
        if peer.receive():
            peer.send(_HELLO_OF_TLS_1_0)
            receive_until_closed(peer)

    return arena.conninfo(arena.listen(script))


def _no_common_cipher(arena: Arena) -> str:
    certificate = arena.world.root.issue(NAME, key="rsa2048")
    return arena.conninfo(
        arena.present(certificate, ciphers="NULL-SHA256:@SECLEVEL=0", maximum_version=ssl.TLSVersion.TLSv1_2)
    )


def _cbc_only(arena: Arena) -> str:
    return arena.conninfo(
        arena.present(arena.world.good, ciphers="ECDHE-ECDSA-AES128-SHA256", maximum_version=ssl.TLSVersion.TLSv1_2)
    )


def _other_group(arena: Arena) -> str:
    return arena.conninfo(arena.present(arena.world.good, group="secp521r1"))


def _https_directly(arena: Arena) -> str:
    def script(peer: ScriptedPeer) -> None:
        peer.start_tls(arena.world.good, alpn_protocols=("http/1.1",))
        receive_until_closed(peer)

    return arena.conninfo(arena.listen(script), sslnegotiation="direct")


def _requires_client_certificate(version: ssl.TLSVersion) -> Callable[[Arena], str]:
    """Return a function that starts a server that requires a client certificate during the handshake."""
    return lambda arena: arena.conninfo(
        arena.present(arena.world.good, client_ca_pem=arena.world.client_root.certificate_pem, maximum_version=version)
    )


def _without_alpn(arena: Arena) -> str:
    return arena.conninfo(arena.present(arena.world.good, alpn_protocols=()), sslnegotiation="direct")


def _refuses_alpn(arena: Arena) -> str:
    def script(peer: ScriptedPeer) -> None:
        peer.receive()
        peer.send(_NO_APPLICATION_PROTOCOL)

    return arena.conninfo(arena.listen(script), sslnegotiation="direct")


def _closes_direct_tls(arena: Arena) -> str:
    def script(peer: ScriptedPeer) -> None:
        if peer.socket.recv(1, socket.MSG_PEEK) == _CLIENT_HELLO:
            peer.receive()
        else:
            peer.accept_tls(arena.world.good)
            receive_until_closed(peer)

    return arena.conninfo(arena.listen(script), sslnegotiation="direct")


def _fails_after_hello(arena: Arena) -> str:
    def script(peer: ScriptedPeer) -> None:
        if peer.receive(1) != _CLIENT_HELLO:
            peer.receive_exactly(_SSL_REQUEST_LENGTH - 1)
            peer.send(b"S")
            peer.receive()

    return arena.conninfo(arena.listen(script))


FAULTS = [
    Fault(
        name="without_tls",
        description="the server has TLS switched off",
        arrange=lambda arena: arena.conninfo(arena.world.plain_server.port),
        cause=Cause.TLS_NOT_OFFERED,
        stage="offer",
        advice="Enable TLS on the server (ssl = on)",
    ),
    Fault(
        name="old_tls_versions",
        description="the server supports only TLS 1.0 and 1.1",
        arrange=_old_versions,
        cause=Cause.TLS_VERSION,
        stage="handshake",
        advice="The server needs TLS 1.2 or later",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="old_server_hello",
        description="the server selects TLS 1.0, although the client does not offer it",
        arrange=_old_hello,
        cause=Cause.TLS_VERSION,
        stage="handshake",
        advice="The server needs TLS 1.2 or later",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="newest_version_too_old",
        description="the server requires TLS 1.3, and `ssl_max_protocol_version` is TLS 1.2",
        arrange=lambda arena: arena.conninfo(
            arena.present(arena.world.good, minimum_version=ssl.TLSVersion.TLSv1_3), ssl_max_protocol_version="TLSv1.2"
        ),
        cause=Cause.TLS_VERSION,
        stage="handshake",
        advice="Remove ssl_max_protocol_version (tls_max_version)",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="oldest_version_too_new",
        description="the server supports only TLS 1.2, and `ssl_min_protocol_version` is TLS 1.3",
        arrange=lambda arena: arena.conninfo(
            arena.present(arena.world.good, maximum_version=ssl.TLSVersion.TLSv1_2), ssl_min_protocol_version="TLSv1.3"
        ),
        cause=Cause.TLS_VERSION,
        stage="handshake",
        advice="Remove ssl_min_protocol_version (tls_min_version)",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="no_common_cipher",
        description="the server supports only cipher suites without encryption",
        arrange=_no_common_cipher,
        cause=Cause.TLS_ALGORITHMS,
        stage="handshake",
        advice="ssl_ciphers and ssl_groups (ssl_ecdh_curve) on the server, tls_ciphers and tls_groups here",
        backends=("stdlib", "openssl"),
    ),
    Fault(
        name="no_cipher_of_rustls",
        description="the server supports only cipher suites with CBC, and the backend is `rustls`",
        arrange=_cbc_only,
        cause=Cause.TLS_ALGORITHMS,
        stage="handshake",
        advice="These backends succeed: stdlib … (tls_backend)",
        backends=("rustls",),
    ),
    Fault(
        name="no_group_of_rustls",
        description="the server supports only the key-exchange group P-521, and the backend is `rustls`",
        arrange=_other_group,
        cause=Cause.TLS_ALGORITHMS,
        stage="handshake",
        advice="These backends succeed: stdlib … (tls_backend)",
        backends=("rustls",),
    ),
    Fault(
        name="client_certificate_in_tls_1_2",
        description="a proxy requires a client certificate in TLS 1.2, and none is configured",
        arrange=_requires_client_certificate(ssl.TLSVersion.TLSv1_2),
        cause=Cause.CLIENT_CERTIFICATE_REQUIRED,
        stage="handshake",
        advice="sslcert",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="client_certificate_in_tls_1_3",
        description="a proxy requires a client certificate in TLS 1.3, and none is configured",
        arrange=_requires_client_certificate(ssl.TLSVersion.TLSv1_3),
        cause=Cause.CLIENT_CERTIFICATE_REQUIRED,
        stage="authentication-offer",
        advice="sslcert",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="https_directly",
        description="an HTTPS server uses the port (`sslnegotiation=direct`)",
        arrange=_https_directly,
        cause=Cause.ALPN,
        stage="offer",
        advice="port",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="load_balancer_without_alpn",
        description="a load balancer terminates direct TLS without ALPN (`sslnegotiation=direct`)",
        arrange=_without_alpn,
        cause=Cause.ALPN,
        stage="offer",
        advice="sslnegotiation=postgres uses SSLRequest",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="alpn_refused",
        description="a load balancer refuses the ALPN of direct TLS (`sslnegotiation=direct`)",
        arrange=_refuses_alpn,
        cause=Cause.ALPN,
        stage="offer",
        advice="add 'postgresql' to the ALPN protocols that the proxy accepts, or connect to PostgreSQL directly",
    ),
    Fault(
        name="direct_tls_closed",
        description="the server, or a load balancer, closes connections that begin with TLS (`sslnegotiation=direct`)",
        arrange=_closes_direct_tls,
        cause=Cause.ALPN,
        stage="offer",
        advice="sslnegotiation=postgres uses SSLRequest",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="handshake_closed",
        description="the peer closes the connection during the TLS handshake",
        arrange=_fails_after_hello,
        cause=Cause.TLS_FAILED,
        stage="handshake",
        advice="See the server's log for the reason",
        backends=ALL_BACKENDS,
    ),
]
