"""Sockets as both drivers use them: addresses, options, peers, waits, and the operating system's errors."""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import re
import select
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, TypeAlias

from ..diagnostics.escaping import visible
from ..errors import AuthError, Closed, ConfigError, IoError, Unreachable
from ..x509.idna import as_address, ascii_name

if TYPE_CHECKING:
    from ..config import Config
    from ..config.host import Host
    from .interruption import Interruption

#: One entry of the result of `socket.getaddrinfo`.
AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]

#: The size of `sun_path` in bytes, including the terminating NUL.
_SUN_PATH = 104 if sys.platform == "darwin" or "bsd" in sys.platform else 108
#: The TCP options that this system has, and their fields of `Config`. As in libpq, a missing option is not set.
_TCP_OPTIONS = [
    (getattr(socket, option), name)
    for option, name in (
        ("TCP_KEEPIDLE", "keepalives_idle"),
        ("TCP_KEEPALIVE", "keepalives_idle"),  # the name on macOS
        ("TCP_KEEPINTVL", "keepalives_interval"),
        ("TCP_KEEPCNT", "keepalives_count"),
        ("TCP_USER_TIMEOUT", "tcp_user_timeout"),
    )
    if hasattr(socket, option)
]


def literal_address(endpoint: Host) -> AddressInfo | None:
    """Return the endpoint's address, or None if it must be looked up."""
    text = endpoint.hostaddr or endpoint.host
    try:
        socket.inet_pton(socket.AF_INET, text)  # much faster than `ipaddress`
        return socket.AF_INET, socket.SOCK_STREAM, 0, "", (text, endpoint.port)
    except (OSError, ValueError):
        pass
    address = as_address(text)
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    zone = address.scope_id or ""
    scope = int(zone) if zone.isascii() and zone.isdigit() else 0
    if address.scope_id and not scope:
        return None  # the name of an interface, whose number getaddrinfo finds
    return socket.AF_INET6, socket.SOCK_STREAM, 0, "", (text.partition("%")[0], endpoint.port, 0, scope)


def unix_address(endpoint: Host) -> AddressInfo:
    """Return the address of a Unix-domain socket.

    Raises:
        Unreachable: The path is longer than the system allows.
        IoError: This platform, or this Python, does not support Unix-domain sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise IoError(
            "Unix-domain sockets are not supported on this platform", remedy="Connect by TCP: host=localhost."
        )
    longest = _SUN_PATH - 1
    if len(os.fsencode(endpoint.socket_path)) > longest:
        raise Unreachable(
            f'Unix-domain socket path "{endpoint.shown_path}" is too long (maximum {longest} bytes)',
            remedy="Set host to a shorter directory; the server listens in its unix_socket_directories.",
            errno=errno.ENAMETOOLONG,
        )
    return socket.AF_UNIX, socket.SOCK_STREAM, 0, "", endpoint.socket_path  # type: ignore[return-value]  # these addresses are strings


def configure(sock: socket.socket, config: Config) -> None:
    """Set TCP_NODELAY (because each flight is one write), keepalives and the user timeout on a new TCP socket."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if config.keepalives:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, name in _TCP_OPTIONS:
        value = getattr(config, name)
        if value is not None and (config.keepalives or name == "tcp_user_timeout"):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def check_peer(sock: socket.socket, config: Config) -> None:
    """Check that the server at a Unix-domain socket runs as the required user.

    Raises:
        AuthError: It runs as another user.
        ConfigError: This platform does not report the user.
    """
    if config.require_peer is None or not config.targets[0].is_unix_socket:
        return
    if not hasattr(socket, "SO_PEERCRED"):
        raise ConfigError("requirepeer is not supported on this platform", remedy="Remove require_peer (requirepeer).")
    import pwd  # noqa: PLC0415 - POSIX only

    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        actual = pwd.getpwuid(uid).pw_name
    except KeyError:
        actual = str(uid)
    if actual != config.require_peer:
        raise AuthError(
            f'requirepeer specifies "{config.require_peer}", but actual peer user name is "{actual}"',
            remedy="Another user's process listens on that socket. Identify it before you trust it.",
        )


def wait_for(sock: socket.socket, *, write: bool = False, seconds: float | None = None) -> bool:
    """Wait until the socket is readable, or writable if `write` is set; return False after `seconds`."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLOUT if write else select.POLLIN)
        return bool(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))
    # Windows reports a failed connect among the exceptional conditions.
    return any(select.select([] if write else [sock], [sock] if write else [], [sock], seconds))


def look_up(
    endpoint: Host, seconds: float | None, interruption: Interruption, *, here: bool = True
) -> list[AddressInfo] | None:
    """Return the addresses of the endpoint's name, or None after `seconds` or an interruption.

    ``getaddrinfo`` cannot be interrupted. So it runs in a daemon thread, which may keep running after this returns. If
    no thread can be started and `here` is set, it runs in the calling thread, and `seconds` does not limit it.

    Raises:
        Unreachable: The name has no address.
        IoError: No thread can be started, and `here` is not set.
    """
    outcome: list[list[AddressInfo] | BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.append(_addresses(endpoint))
        except BaseException as error:
            outcome.append(error)
        finally:
            done.set()

    try:
        threading.Thread(target=work, name="babar-tls getaddrinfo", daemon=True).start()
    except RuntimeError as exc:  # a limit of threads or of memory, or the interpreter is about to end
        if here:
            return _addresses(endpoint)
        raise IoError("cannot start a thread to look up the host name") from exc
    with interruption.waking(done.set):
        done.wait(seconds)
    if not outcome:
        return None
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _addresses(endpoint: Host) -> list[AddressInfo]:
    text = endpoint.hostaddr or endpoint.host
    name = text if as_address(text) is not None else ascii_name(text)  # getaddrinfo would convert it by IDNA 2003
    try:
        found = socket.getaddrinfo(name, endpoint.port, type=socket.SOCK_STREAM)
        if not found:
            raise OSError("the name has no address")
    except (OSError, UnicodeError) as exc:
        raise Unreachable(
            f'could not translate host name "{visible(text)}" to address: {getattr(exc, "strerror", None) or exc}',
            remedy=_unknown_name_remedy(text),
            errno=getattr(exc, "errno", None),
        ) from exc
    return found  # type: ignore[return-value]  # the address tuples vary with the family


def _unknown_name_remedy(name: str) -> str:
    if "://" in name or " " in name:
        return "host must be only the name of the server."
    if re.search(":[0-9]*$", name):
        return "Set the port separately: port=5432."
    return "Check the spelling, and that this machine's DNS resolves the name."


def shown_address(address: tuple[object, ...]) -> str:
    """Return the address as text, including the zone that a link-local address needs."""
    zone = f"%{address[3]}" if len(address) == 4 and address[3] else ""
    return f"{address[0]}{zone}"


def connect_error(exc: OSError, endpoint: Host) -> Unreachable:
    """Return the error for an address to which no connection could be opened."""
    if endpoint.is_unix_socket:
        remedy = "Is the server running locally and accepting connections on that socket?"
    else:
        remedy = "Is the server running on that host and accepting TCP/IP connections?"
    return Unreachable(os.strerror(exc.errno) if exc.errno else str(exc), remedy=remedy, errno=exc.errno)


def stream_error(exc: OSError) -> IoError:
    """Return the error for a connection that broke."""
    if isinstance(exc, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        error = Closed(
            f"server closed the connection unexpectedly ({exc.strerror or exc})",
            remedy="The server, or a network device, closed the connection. See the server's log for the reason.",
        )
        error.errno = exc.errno
        return error
    return IoError(
        f"could not exchange data with server: {exc.strerror or exc}",
        remedy="The server, or a network device, closed the connection. See the server's log for the reason.",
        errno=exc.errno,
    )
