"""Faults of names, addresses and ports, and peers that are not PostgreSQL."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from babar_tls.doctor.causes import Cause
from babar_tls.testing._full_queue import full_queue

from .fault import Fault
from .fault_world import SHORT_TIMEOUT, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer

    from .fault_world import Arena

_HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SSH = b"SSH-2.0-OpenSSH_9.9\r\n"
_UNEXPECTED_MESSAGE = bytes.fromhex("15030100020228")  # handshake_failure, as a TLS server sends it for an SSLRequest


def _after_request(answer: bytes) -> Callable[[ScriptedPeer], None]:
    """Return a script that answers the first packet, and then disconnects."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive()
        peer.send(answer)

    return script


class _QuietHandler(BaseHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Write no log."""


def _waiting_http_server(arena: Arena) -> str:
    arena.overrides["connect_timeout"] = 2.0  # the server responds after half of it
    server = ThreadingHTTPServer(("127.0.0.1", 0), _QuietHandler)
    arena.defer(server.server_close)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    arena.defer(thread.join)
    arena.defer(server.shutdown)
    return arena.conninfo(server.server_port)


def _banner(banner: bytes) -> Callable[[ScriptedPeer], None]:
    """Return a script that sends its banner first, as SSH, mail and FTP servers do."""

    def script(peer: ScriptedPeer) -> None:
        peer.send(banner)
        receive_until_closed(peer)

    return script


def _resolve(arena: Arena, answer: Callable[[], list[str]]) -> None:
    """Replace the name service: `answer` returns the IPv4 addresses of every name, or raises an exception."""

    def getaddrinfo(_host: object, port: object, *_arguments: object, **_options: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(str(port or 0)))) for each in answer()]

    arena.monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def _unknown_name(arena: Arena) -> str:
    def answer() -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    _resolve(arena, answer)
    return arena.conninfo(5432, host="db.invalid", hostaddr=None)


def _name_service_fails(arena: Arena) -> str:
    def answer() -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    _resolve(arena, answer)
    return arena.conninfo(5432, host="db.invalid", hostaddr=None)


def _some_addresses_refuse(arena: Arena) -> str:
    port = arena.world.server.port
    _resolve(arena, lambda: ["127.0.0.3", "127.0.0.1"])
    return arena.conninfo(port, hostaddr=None)


def _firewall(arena: Arena) -> str:
    arena.overrides["connect_timeout"] = SHORT_TIMEOUT
    address, port = arena.enter(full_queue())
    return arena.conninfo(port, hostaddr=address)


def _missing_socket(arena: Arena) -> str:
    return arena.conninfo(5432, host=arena.missing_folder(), hostaddr=None, sslmode="disable")


def _silent(arena: Arena) -> str:
    arena.overrides["connect_timeout"] = SHORT_TIMEOUT
    return arena.conninfo(arena.listen(receive_until_closed))


def _injected(peer: ScriptedPeer) -> None:
    if peer.receive()[:1] != b"\x16":
        peer.send(b"S" + b"R\0\0\0\x08\0\0\0\0")
        receive_until_closed(peer)


def _not_postgres_after_tls(arena: Arena) -> str:
    def script(peer: ScriptedPeer) -> None:
        peer.receive()
        peer.send(_HTTP)

    return arena.conninfo(arena.listen(script, tls=arena.world.good))


def _garbage_in_login(arena: Arena) -> str:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"D", b"\0\0")
        receive_until_closed(peer)

    return arena.conninfo(arena.listen(script, tls=arena.world.good))


def _closes_in_login(arena: Arena) -> str:
    return arena.conninfo(arena.listen(lambda peer: peer.receive_startup(), tls=arena.world.good))


FAULTS = [
    Fault(
        name="closed_port",
        description="the port is wrong: no process listens on it",
        arrange=lambda arena: arena.conninfo(arena.closed_port()),
        cause=Cause.CONNECTION_REFUSED,
        stage="tcp",
        advice="Check the port, that the server runs, and its listen_addresses",
    ),
    Fault(
        name="no_route",
        description="the network has no route to the address",
        # TCP cannot connect to a multicast address.
        arrange=lambda arena: arena.conninfo(5432, hostaddr="224.0.0.1"),
        cause=Cause.UNREACHABLE,
        stage="tcp",
        advice="Check the network and the VPN",
    ),
    Fault(
        name="missing_socket",
        description="the directory of the Unix-domain socket is wrong",
        arrange=_missing_socket,
        cause=Cause.UNREACHABLE,
        stage="tcp",
        advice="Check that the server runs, and that host is one of its unix_socket_directories",
    ),
    Fault(
        name="firewall",
        description="a firewall drops the packets",
        arrange=_firewall,
        cause=Cause.NO_RESPONSE,
        stage="tcp",
        advice="Check the address, the rules of the firewall or security group, and whether a VPN is needed",
    ),
    Fault(
        name="unknown_name",
        description="the host name does not exist",
        arrange=_unknown_name,
        cause=Cause.UNKNOWN_HOST,
        stage="dns",
        advice="Check the spelling, and that this machine's DNS resolves the name",
    ),
    Fault(
        name="name_service",
        description="the name service is not available",
        arrange=_name_service_fails,
        cause=Cause.NAME_SERVICE,
        stage="dns",
        advice="Check the network and the resolver",
    ),
    Fault(
        name="some_addresses",
        description="one of the addresses of the name does not accept connections",
        arrange=_some_addresses_refuse,
        cause=Cause.SOME_ADDRESSES_FAIL,
        stage="tcp",
        advice="Make the server listen on all addresses of the name (listen_addresses)",
        is_fault=False,
    ),
    Fault(
        name="http_server",
        description="an HTTP server uses the port",
        arrange=lambda arena: arena.conninfo(arena.listen(_after_request(_HTTP))),
        cause=Cause.OTHER_SERVICE,
        stage="offer",
        advice="Set host and port to those of the PostgreSQL server",
    ),
    Fault(
        name="waiting_http_server",
        description="an HTTP server that waits for a whole line uses the port",
        arrange=_waiting_http_server,
        cause=Cause.OTHER_SERVICE,
        stage="offer",
        advice="Set host and port to those of the PostgreSQL server",
    ),
    Fault(
        name="ssh_server",
        description="an SSH server uses the port",
        arrange=lambda arena: arena.conninfo(arena.listen(_banner(_SSH))),
        cause=Cause.OTHER_SERVICE,
        stage="offer",
        advice="Set host and port to those of the PostgreSQL server",
    ),
    Fault(
        name="https_server",
        description="a server that requires TLS from the first byte uses the port",
        arrange=lambda arena: arena.conninfo(arena.listen(_after_request(_UNEXPECTED_MESSAGE))),
        cause=Cause.OTHER_SERVICE,
        stage="offer",
        advice="Set sslnegotiation=direct if this is a proxy for PostgreSQL",
    ),
    Fault(
        name="silent_service",
        description="the service accepts connections, and does not respond",
        arrange=_silent,
        cause=Cause.SILENT_SERVICE,
        stage="offer",
        advice="Another service may use this port … Check host and port",
    ),
    Fault(
        name="closing_service",
        description="a load balancer without a server behind it closes the connections",
        arrange=lambda arena: arena.conninfo(arena.listen(lambda peer: peer.receive())),
        cause=Cause.SILENT_SERVICE,
        stage="offer",
        advice="may accept connections while the server behind it does not run … Check that, and host and port",
    ),
    Fault(
        name="plain_text_injected",
        description="plain text follows the response to SSLRequest",
        arrange=lambda arena: arena.conninfo(arena.listen(_injected)),
        cause=Cause.PLAIN_TEXT_INJECTED,
        stage="offer",
        advice="The cause is a man in the middle, or a proxy that does not support SSLRequest",
    ),
    Fault(
        name="http_inside_tls",
        description="a proxy terminates TLS, and an HTTP server is behind it",
        arrange=_not_postgres_after_tls,
        cause=Cause.OTHER_SERVICE,
        stage="authentication-offer",
        advice="set host and port to those of the PostgreSQL server",
    ),
    Fault(
        name="protocol_violation",
        description="the server sends a row before the client is authenticated",
        arrange=_garbage_in_login,
        cause=Cause.PROTOCOL,
        stage="authentication-offer",
        advice="Check that this is the port of a PostgreSQL server",
    ),
    Fault(
        name="closed_in_login",
        description="the server closes the connection during the login",
        arrange=_closes_in_login,
        cause=Cause.OTHER,
        stage="authentication-offer",
        advice="See the server's log for the reason",
    ),
]
