"""The seam between the protocol and the drivers, which do its input and output.

`handshake(config)` is a generator. It yields one of the requests below and is sent the result; it ends by returning
`Established`. The *driver* owns the socket, the clock, the threads and the deadline, and knows nothing of PostgreSQL.
The whole contract:

===============  ====================================================  ============================================
request          the driver                                            and sends back
===============  ====================================================  ============================================
`Connect`        closes the connection that it has, if any, and        `None`
                 opens one to the endpoint
`Send`           writes the data, through TLS if TLS has begun; it     `None`
                 may wait until the next `Receive` to do so
`Receive`        waits until some bytes have arrived                   the bytes; ``b""`` when the server has closed
`Fill`           waits until some bytes have arrived and puts them     their number; 0 when the server has closed
                 into the inbox, as far as there is space
`StartTls`       wraps the connection in its TLS library and           `TlsFacts`
                 completes the handshake
`Derive`         derives the SCRAM keys (PBKDF2), or finds them in     `ScramKeys`
                 its cache
`CancelRunning`  delivers a cancel request on another connection       `None`
===============  ====================================================  ============================================

A session uses `Send`, `Fill` and `CancelRunning` only. A failure of the driver is *thrown into* the generator at the
request that failed, as an `Error`, because only the generator decides whether another attempt follows. What the
generator raises ends the connect, and the driver then closes what is open. Requests carry `phase`, for timings and for
the texts of timeouts.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from ..diagnostics.escaping import visible
from ..errors import Closed

if TYPE_CHECKING:
    from ..config import Config
    from ..tls.parameters import TlsParameters

_SHOWN = 300  # characters of a host or of a path in a message


class Phase(Enum):
    """Where the time goes; the values are the keys of `SecurityReport.timings`."""

    RESOLVE = "resolve"
    TCP = "tcp"
    NEGOTIATE = "negotiate"
    TLS = "tls"
    AUTH = "auth"
    READY = "ready"
    QUERY = "query"


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens: a TCP host and port, or a socket file."""

    host: str
    port: int
    hostaddr: str | None = None
    is_unix_socket: bool = False

    @property
    def socket_path(self) -> str:
        """The socket file's path; in the abstract namespace it begins with a zero byte."""
        path = f"{self.host}/.s.PGSQL.{self.port}"
        return "\0" + path[1:] if path.startswith("@") else path

    @property
    def shown_path(self) -> str:
        """The socket file's path for messages, where an abstract name begins with ``@``."""
        return visible(f"{self.host}/.s.PGSQL.{self.port}", limit=_SHOWN)

    def describe(self, address: str | None = None) -> str:
        """As libpq's messages name it; `address` is the one connected to, where a name was looked up."""
        if self.is_unix_socket:
            return f'server on socket "{self.shown_path}"'
        address = address or self.hostaddr
        shown = f" ({address})" if address and address != self.host else ""
        return f'server at "{visible(self.host, limit=_SHOWN)}"{shown}, port {self.port}'


@dataclass(frozen=True)
class ScramKeys:
    """What a SCRAM password becomes (RFC 5802 §3); 32 bytes each, and as secret as the password."""

    client_key: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Connect:
    """Open a connection."""

    endpoint: Endpoint


@dataclass(frozen=True)
class Send:
    """Write bytes; `warning`, if there is one, is for the log."""

    data: bytes = field(repr=False)
    phase: Phase
    warning: str | None = None


@dataclass(frozen=True)
class Receive:
    """Wait for bytes."""

    phase: Phase


class Inbox(Protocol):
    """Where bulk goes without a copy in between; `MessageReader` is one."""

    def space(self) -> memoryview: ...  # noqa: D102
    def received(self, count: int) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Fill:
    """Wait for bytes, of which there may be many."""

    inbox: Inbox = field(repr=False)
    phase: Phase


@dataclass(frozen=True)
class StartTls:
    """Begin TLS on the open connection.

    Attributes:
        parameters: What to verify and what to offer.
        server_hostname: The name to verify and to send as SNI.
        binding_type: The channel binding data that `TlsFacts.binding_data` shall be, if only the TLS library has it.
    """

    parameters: TlsParameters
    server_hostname: str
    binding_type: str | None = None


@dataclass(frozen=True)
class Derive:
    """PBKDF2-HMAC-SHA-256 and the SCRAM keys; `password` is what SASLprep left of it."""

    password: bytes = field(repr=False)
    salt: bytes
    iterations: int


@dataclass(frozen=True)
class CancelRunning:
    """Ask the server, on a connection of its own, to cancel what the session runs; over TLS if the session uses it."""

    config: Config
    where: Endpoint
    process_id: int
    secret_key: bytes = field(repr=False)
    tls: bool


Request: TypeAlias = "Connect | Send | Receive | Fill | StartTls | Derive | CancelRunning"
_T = TypeVar("_T")
#: A piece of protocol that ends in a `_T`.
Exchange: TypeAlias = Generator[Request, Any, _T]


def receive(phase: Phase) -> Exchange[bytes]:
    """Wait for at least one byte.

    Raises:
        Closed: The server closed the connection.
    """
    data: bytes = yield Receive(phase)
    if not data:
        raise _gone()
    return data


def fill(inbox: Inbox, phase: Phase) -> Exchange[None]:
    """Wait until something more is in the inbox.

    Raises:
        Closed: The server closed the connection.
    """
    if not (yield Fill(inbox, phase)):
        raise _gone()


def _gone() -> Closed:
    return Closed(
        "server closed the connection unexpectedly",
        remedy="The server may have crashed, be out of connections, or be no PostgreSQL; its log knows.",
    )
