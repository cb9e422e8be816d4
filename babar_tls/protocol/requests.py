"""The interface between the protocol and the drivers, which do its input and output.

`handshake(config)` is a generator. It yields the requests below, and the driver sends it their results; it returns
`Established`. The *driver* owns the socket, the clock, the threads and the deadline, and does not depend on the
protocol. The whole contract:

===============  ====================================================  ============================================
request          action of the driver                                  result
===============  ====================================================  ============================================
`Connect`        closes the present connection, if any, and opens one  `None`
                 to the endpoint
`Send`           writes the data, through TLS if TLS has started; it   `None`
                 may delay this until the next `Receive`
`Receive`        waits until some bytes have arrived                   the bytes; ``b""`` if the server has closed
`Fill`           waits until some bytes have arrived and writes them   their number; 0 if the server has closed
                 into the inbox, as far as there is space
`StartTls`       starts TLS on the connection and completes the        `TlsFacts`
                 handshake
`Derive`         derives the SCRAM keys (PBKDF2), or gets them from    `ScramKeys`
                 its cache
`CancelRunning`  delivers a cancel request on another connection       `None`
===============  ====================================================  ============================================

A session uses `Send`, `Fill` and `CancelRunning` only. The driver *throws* the error of a failed request *into* the
generator, because only the generator decides whether another attempt follows. An error that the generator raises ends
the connect, and the driver closes the connection. The `phase` of a request is for timings and timeout texts.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from ..errors import Closed

if TYPE_CHECKING:
    from ..config import Config
    from ..config.host import Host
    from ..tls.parameters import TlsParameters


class Phase(Enum):
    """The phases of a connect; the values are the keys of `SecurityReport.timings`."""

    PASSWORD = "password"  # noqa: S105 - the name of a phase
    RESOLVE = "resolve"
    TCP = "tcp"
    NEGOTIATE = "negotiate"
    TLS = "tls"
    AUTH = "auth"
    READY = "ready"
    QUERY = "query"


@dataclass(frozen=True)
class ScramKeys:
    """The keys of a SCRAM password (RFC 5802 §3), 32 bytes each. They are as secret as the password.

    Attributes:
        client_key: ClientKey, with which a client proves that it has the password.
        stored_key: The hash of ClientKey, with which a server verifies the proof.
        server_key: ServerKey, with which a server proves that it has the verifier of the password.
    """

    client_key: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Connect:
    """Open a connection."""

    endpoint: Host


@dataclass(frozen=True)
class Send:
    """Write bytes, and log `warning` if there is one."""

    data: bytes = field(repr=False)
    phase: Phase
    warning: str | None = None


@dataclass(frozen=True)
class Receive:
    """Wait for bytes."""

    phase: Phase


class Inbox(Protocol):
    """A buffer that the driver writes to directly, which saves a copy; `MessageReader` is one."""

    # The methods are documented in `MessageReader`.

    def space(self) -> memoryview: ...  # noqa: D102 - documented in `MessageReader`
    def received(self, count: int) -> None: ...  # noqa: D102 - documented in `MessageReader`


@dataclass(frozen=True)
class Fill:
    """Wait for bytes, and write them into the inbox."""

    inbox: Inbox = field(repr=False)
    phase: Phase


@dataclass(frozen=True)
class StartTls:
    """Start TLS on the open connection.

    Attributes:
        parameters: The requirements on the TLS connection.
        server_hostname: The name to verify and to send as SNI.
        binding_type: The type of channel binding data to return in `TlsFacts.binding_data`.
    """

    parameters: TlsParameters
    server_hostname: str
    binding_type: str | None = None


@dataclass(frozen=True)
class Derive:
    """Derive the SCRAM keys with PBKDF2-HMAC-SHA-256; `password` is the output of SASLprep."""

    password: bytes = field(repr=False)
    salt: bytes
    iterations: int


@dataclass(frozen=True)
class CancelRunning:
    """Send a cancel request for the session's query on a separate connection; over TLS if the session uses TLS."""

    config: Config
    where: Host
    process_id: int
    secret_key: bytes = field(repr=False)
    tls: bool


Request: TypeAlias = "Connect | Send | Receive | Fill | StartTls | Derive | CancelRunning"
_T = TypeVar("_T")
#: A generator that yields requests and returns a `_T`.
Exchange: TypeAlias = Generator[Request, Any, _T]


def receive(phase: Phase) -> Exchange[bytes]:
    """Wait for at least one byte.

    Raises:
        Closed: The server closed the connection.
    """
    data: bytes = yield Receive(phase)
    if not data:
        raise _closed()
    return data


def fill(inbox: Inbox, phase: Phase) -> Exchange[None]:
    """Wait until there are more bytes in the inbox.

    Raises:
        Closed: The server closed the connection.
    """
    if not (yield Fill(inbox, phase)):
        raise _closed()


def _closed() -> Closed:
    return Closed(
        "server closed the connection unexpectedly",
        remedy="The server may have crashed, have no free connection, or not be a PostgreSQL server. See its log.",
    )
