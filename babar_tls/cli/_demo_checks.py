"""What the demonstration does, and what it finds out; nothing here prints."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from ..aio import AsyncSession
from ..config import ChannelBinding
from ..errors import CertificateError, ChannelBindingRefused, Error
from ..session import Session
from ..testing import CertificateAuthority, TlsInterceptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..config import Config
    from ..security import SecurityReport
    from ..testing import PostgresServer


#: The name that the demo's server has a certificate for; nobody looks it up.
SERVER_NAME = "db.example.com"
STYLES = ("blocking", "asyncio")
ROUNDS = 20

_WRONG_NAME = "db.wrong.example"
_OVERHEARD = "select 'something confidential'"
_VIEW_QUERY = "select ssl, version, cipher, bits from pg_stat_ssl where pid = pg_backend_pid()"


class ServerView(NamedTuple):
    """What pg_stat_ssl says of a connection."""

    ssl: bool
    version: str | None
    cipher: str | None
    bits: int | None


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One engine, used in one style: both ends' accounts of the same connection, or why there is none."""

    backend: str
    style: str
    security: SecurityReport | None = None
    server: ServerView | None = None
    error: Error | None = None

    @property
    def version_agrees(self) -> bool:
        """Both ends tell of the same version of TLS."""
        security, server = self.security, self.server
        return (
            security is not None
            and server is not None
            and (security.tls, security.tls_version) == (server.ssl, server.version)
        )

    @property
    def cipher_agrees(self) -> bool:
        """Both ends tell of the same cipher suite, in whatever spelling."""
        security, server = self.security, self.server
        return security is not None and server is not None and _same_cipher(security.cipher, server.cipher)

    @property
    def as_asked(self) -> bool:
        """The certificate was verified in full, and SCRAM was bound to the channel."""
        security = self.security
        return security is not None and security.verified == "full" and security.channel_bound

    @property
    def agrees(self) -> bool:
        """Both ends tell the same, and everything that was asked for is proven."""
        return self.version_agrees and self.cipher_agrees and self.as_asked


class Timing(NamedTuple):
    """Medians of one engine in one style, in seconds."""

    backend: str
    style: str
    connect: float
    tls: float
    auth: float


class Refusal(NamedTuple):
    """One thing that must be refused; `error` is `None` if it was not."""

    name: str
    backend: str
    expected: type[Error]
    error: Error | None

    @property
    def happened(self) -> bool:
        """It was refused, and for the right reason."""
        return isinstance(self.error, self.expected)


class Interception(NamedTuple):
    """What the man in the middle gets when authentication is not bound to the channel."""

    query: str
    verified: str
    query_seen: bool
    password_seen: bool


def connect_all(config: Config, backends: Iterable[str], between: Callable[[], None]) -> list[Connection]:
    """Connect with every engine in every style; `between` is called between two connections."""
    found = []
    for backend in backends:
        for style in STYLES:
            between()
            found.append(_connect(config.replace(tls_backend=backend), backend, style))
    return found


def measure(config: Config, backends: Iterable[str], between: Callable[[], None]) -> list[Timing]:
    """Connect `ROUNDS` times with every engine in every style, taking turns, after one round to warm up."""
    cases = [(config.replace(tls_backend=backend), backend, style) for backend in backends for style in STYLES]
    samples = asyncio.run(_sample([(case, style) for case, _, style in cases], between))
    return [
        Timing(backend, style, *(statistics.median(column) for column in zip(*runs, strict=True)))
        for (_, backend, style), runs in zip(cases, samples, strict=True)
    ]


def refusals(
    server: PostgresServer, config: Config, backends: Iterable[str], between: Callable[[], None]
) -> list[Refusal]:
    """Three attempts that must fail, with every engine."""
    found = []
    with TemporaryDirectory(prefix="babar-tls-demo-") as folder, _interceptor(server) as interceptor:
        other_root = Path(folder, "other.pem")
        CertificateAuthority().write(other_root)
        attempts: list[tuple[str, type[Error], Config]] = [
            ("wrong-ca", CertificateError, config.replace(tls_root_cert_path=str(other_root))),
            ("wrong-name", CertificateError, config.replace(tls_server_name=_WRONG_NAME)),
            ("man-in-the-middle", ChannelBindingRefused, config.replace(port=interceptor.port)),
        ]
        for name, expected, attempt in attempts:
            for backend in backends:
                between()
                error = _failure(attempt.replace(tls_backend=backend))
                found.append(Refusal(name, backend, expected, error))
    return found


def intercept(server: PostgresServer, config: Config) -> Interception:
    """The same man in the middle, and a client that does not bind its authentication to the channel.

    Raises:
        Error: The client could not connect, though nothing forbids it.
    """
    with _interceptor(server) as interceptor:
        unbound = config.replace(port=interceptor.port, channel_binding=ChannelBinding.DISABLE)
        with Session.connect(unbound) as session:
            session.query(_OVERHEARD)
            verified = session.security.verified
        seen = interceptor.seen
    return Interception(_OVERHEARD, verified, _OVERHEARD.encode() in seen, server.password.encode() in seen)


def _interceptor(server: PostgresServer) -> TlsInterceptor:
    # Its certificate is from the very authority that the client trusts, for the very name that the client verifies.
    return TlsInterceptor(server.host, server.port, server.ca.issue(SERVER_NAME))


def _connect(config: Config, backend: str, style: str) -> Connection:
    try:
        security, row = asyncio.run(_look_asyncio(config)) if style == "asyncio" else _look(config)
    except Error as error:
        return Connection(backend=backend, style=style, error=error)
    ssl, version, cipher, bits = row
    view = ServerView(ssl == "t", version, cipher, int(bits) if bits is not None else None)
    return Connection(backend=backend, style=style, security=security, server=view)


def _look(config: Config) -> tuple[SecurityReport, tuple[str | None, ...]]:
    with Session.connect(config) as session:
        return session.security, session.query(_VIEW_QUERY)[0]


async def _look_asyncio(config: Config) -> tuple[SecurityReport, tuple[str | None, ...]]:
    async with await AsyncSession.connect(config) as session:
        return session.security, (await session.query(_VIEW_QUERY))[0]


async def _sample(
    cases: list[tuple[Config, str]], between: Callable[[], None]
) -> list[list[tuple[float, float, float]]]:
    """Seconds of (connect, TLS, authentication), per case and round.

    The blocking connects run inside the event loop's thread too: nothing else wants to run meanwhile.
    """
    samples: list[list[tuple[float, float, float]]] = [[] for _ in cases]
    for round_number in range(ROUNDS + 1):
        for (config, style), runs in zip(cases, samples, strict=True):
            between()
            started = time.perf_counter()
            if style == "asyncio":
                session = await AsyncSession.connect(config)
                seconds = time.perf_counter() - started
                await session.close()
                security = session.security
            else:
                with closing(Session.connect(config)) as blocking:
                    seconds = time.perf_counter() - started
                    security = blocking.security
            if round_number:
                runs.append((seconds, security.timings["tls"], security.timings["auth"]))
    return samples


def _failure(config: Config) -> Error | None:
    try:
        Session.connect(config).close()
    except Error as error:
        return error
    return None


def _same_cipher(ours: str | None, theirs: str | None) -> bool:
    return ours is not None and theirs is not None and _plain(ours) == _plain(theirs)


def _plain(cipher: str) -> str:
    """A cipher suite's name without what engines spell differently (RFC 8446's names, OpenSSL's, rustls's)."""
    name = cipher.upper().replace("TLS13_", "TLS_").removeprefix("TLS_").replace("_WITH", "")
    return name.replace("-", "").replace("_", "")
