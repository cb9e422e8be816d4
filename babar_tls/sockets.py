"""Sockets, as both drivers use them: addresses, options, who is at the other end, and the operating system's errors."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, TypeAlias

from .errors import AuthError, Closed, ConfigError, IoError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Config
    from .protocol.requests import Endpoint

#: What `socket.getaddrinfo` returns, one entry of it.
AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]

_KEEPIDLE: int | None = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # on macOS the second
_KEEPINTVL: int | None = getattr(socket, "TCP_KEEPINTVL", None)
_KEEPCNT: int | None = getattr(socket, "TCP_KEEPCNT", None)
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


def literal_address(endpoint: Endpoint) -> AddressInfo | None:
    """The endpoint's address, if nothing has to be looked up."""
    text = endpoint.hostaddr or endpoint.host
    try:
        socket.inet_pton(socket.AF_INET, text)  # a fraction of what `ipaddress` takes
        return socket.AF_INET, socket.SOCK_STREAM, 0, "", (text, endpoint.port)
    except (OSError, ValueError):
        pass
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    zone = address.scope_id or ""
    scope = int(zone) if zone.isascii() and zone.isdigit() else 0
    if address.scope_id and not scope:
        return None  # an interface's name: getaddrinfo knows its number
    return socket.AF_INET6, socket.SOCK_STREAM, 0, "", (text.partition("%")[0], endpoint.port, 0, scope)


def unix_address(endpoint: Endpoint) -> AddressInfo:
    """The address of a Unix-domain socket.

    Raises:
        IoError: This platform, or this Python, has none.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise IoError(
            "Unix-domain sockets are not supported on this platform", remedy="Connect by TCP: host=localhost."
        )
    return socket.AF_UNIX, socket.SOCK_STREAM, 0, "", endpoint.socket_path  # type: ignore[return-value]  # an address of its own kind


def configure(sock: socket.socket, config: Config) -> None:
    """Options of a fresh TCP socket: no Nagle, because a flight is one write, keepalives, and how long to wait."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if config.keepalives:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        _set_option(sock, _KEEPIDLE, config.keepalives_idle)
        _set_option(sock, _KEEPINTVL, config.keepalives_interval)
        _set_option(sock, _KEEPCNT, config.keepalives_count)
    _set_option(sock, _USER_TIMEOUT, config.tcp_user_timeout)


def _set_option(sock: socket.socket, option: int | None, value: int | None) -> None:
    """A TCP option; where this system does not have it, as in libpq, nothing happens."""
    if value is not None and option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def check_peer(sock: socket.socket, config: Config) -> None:
    """Does the server at a Unix-domain socket run as the user that it has to?

    Raises:
        AuthError: It does not.
        ConfigError: This platform cannot tell.
    """
    if config.require_peer is None or not config.is_unix_socket:
        return
    if not hasattr(socket, "SO_PEERCRED"):
        raise ConfigError("requirepeer is not supported on this platform", remedy="Drop require_peer (requirepeer).")
    import pwd  # noqa: PLC0415 - POSIX only

    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        actual = pwd.getpwuid(uid).pw_name
    except KeyError:
        actual = str(uid)
    if actual != config.require_peer:
        raise AuthError(
            f'requirepeer specifies "{config.require_peer}", but actual peer user name is "{actual}"',
            remedy="Another user's process listens on that socket: find out which, before you trust it.",
        )


def look_up(endpoint: Endpoint, deliver: Callable[[list[AddressInfo] | IoError], None]) -> threading.Thread:
    """`getaddrinfo` in a thread of its own, which nobody waits for: it cannot be interrupted, only left behind.

    Args:
        endpoint: Whose name to look up.
        deliver: Called in that thread with the addresses, or with what went wrong.
    """

    def work() -> None:
        try:
            found = socket.getaddrinfo(endpoint.hostaddr or endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            deliver(found or resolve_error(OSError("the name has no address"), endpoint))  # type: ignore[arg-type]  # its tuples vary
        except UnicodeError as exc:
            deliver(resolve_error(OSError(str(exc)), endpoint))
        except OSError as exc:
            deliver(resolve_error(exc, endpoint))

    thread = threading.Thread(target=work, name="babar-tls getaddrinfo", daemon=True)
    thread.start()
    return thread


def shown_address(address: tuple[object, ...]) -> str:
    """The address in words, its zone included: without that a link-local one cannot be connected to again."""
    zone = f"%{address[3]}" if len(address) == 4 and address[3] else ""
    return f"{address[0]}{zone}"


def connect_error(exc: OSError, endpoint: Endpoint) -> Unreachable:
    """The error for an address that does not answer."""
    if endpoint.is_unix_socket:
        remedy = "Is the server running locally and accepting connections on that socket?"
    else:
        remedy = "Is the server running on that host and accepting TCP/IP connections?"
    # asyncio puts words of its own into strerror
    return Unreachable(os.strerror(exc.errno) if exc.errno else str(exc), remedy=remedy, errno=exc.errno)


def resolve_error(exc: OSError, endpoint: Endpoint) -> Unreachable:
    """The error for a name that has no address."""
    name = endpoint.hostaddr or endpoint.host
    return Unreachable(
        f'could not translate host name "{name}" to address: {exc.strerror or exc}',
        remedy="Check the spelling, and that this machine's DNS knows the name.",
        errno=exc.errno,
    )


def stream_error(exc: OSError) -> IoError:
    """The error for a connection that broke."""
    if isinstance(exc, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        error = Closed(
            f"server closed the connection unexpectedly ({exc.strerror or exc})",
            remedy="The server or something on the way broke it off; the server's log may say why.",
        )
        error.errno = exc.errno
        return error
    return IoError(
        f"could not exchange data with server: {exc.strerror or exc}",
        remedy="The server or something on the way closed the connection; the server's log may say why.",
        errno=exc.errno,
    )
