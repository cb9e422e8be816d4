"""The experiments of the demonstration and their results. Nothing here prints."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from ..aio import AsyncSession
from ..backends import available_backends
from ..config import ChannelBinding
from ..errors import CertificateError, ChannelBindingRefused, Error
from ..session import Session
from ..testing import CertificateAuthority, PostgresError, PostgresServer, TlsInterceptor

if TYPE_CHECKING:
    from contextlib import ExitStack

    from ..config import Config, ConfigOptions
    from ..security import SecurityReport
    from ._interrupts import Interrupts


#: The name in the certificate of the demo's server. It is never looked up.
SERVER_NAME = "db.example.com"
STYLES = ("blocking", "asyncio")
ROUNDS = 20

_WRONG_NAME = "db.wrong.example"
_CONFIDENTIAL = "select 'something confidential'"
_SERVER_VIEW = "select ssl, version, cipher, bits from pg_stat_ssl where pid = pg_backend_pid()"


class ServerView(NamedTuple):
    """A connection as the server's view pg_stat_ssl describes it."""

    ssl: bool
    version: str | None
    cipher: str | None
    bits: int | None


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The result of a connect with one backend in one style: the reports of client and server, or the error."""

    backend: str
    style: str
    security: SecurityReport | None = None
    server: ServerView | None = None
    error: Error | None = None

    @property
    def version_agrees(self) -> bool:
        """True if client and server report the same TLS version."""
        client, server = self.security, self.server
        return bool(client and server and (client.tls, client.tls_version) == (server.ssl, server.version))

    @property
    def cipher_agrees(self) -> bool:
        """True if client and server report the same cipher suite, in any spelling."""
        return bool(self.security and self.server and is_same_cipher(self.security.cipher, self.server.cipher))

    @property
    def agrees(self) -> bool:
        """True if client and server agree, the certificate was verified and SCRAM was bound to the channel."""
        security = self.security
        is_proven = security is not None and security.verified == "full" and security.channel_bound
        return self.version_agrees and self.cipher_agrees and is_proven


class Timing(NamedTuple):
    """Medians of one backend in one style, in seconds."""

    backend: str
    style: str
    connect: float
    tls: float
    auth: float


class Refusal(NamedTuple):
    """A refusal; `error` is `None` if the connection was accepted instead."""

    name: str
    backend: str
    expected: type[Error]
    error: Error | None

    @property
    def happened(self) -> bool:
        """True if the connection was refused for the expected reason."""
        return isinstance(self.error, self.expected)


class Interception(NamedTuple):
    """The data that a man in the middle reads if authentication is not bound to the channel."""

    query: str
    verified: str
    query_seen: bool
    password_seen: bool


class Demonstration:
    """The experiments, one method for each, and their results so far.

    Args:
        stack: Stops the server at the end.
        interrupts: Checked for Ctrl-C between two connections.
    """

    server: PostgresServer
    start_seconds: float

    def __init__(self, stack: ExitStack, interrupts: Interrupts) -> None:
        self.backends = available_backends()
        self.connections: list[Connection] = []
        self.timings: list[Timing] = []
        self.refusals: list[Refusal] = []
        self.interception: Interception | None = None
        self._stack = stack
        self._interrupts = interrupts

    @property
    def failures(self) -> list[str]:
        """The unexpected results, as messages for the user."""
        found = [
            f"{item.backend}, {item.style}: client and server do not agree, or the server was not fully verified"
            for item in self.connections
            if not item.agrees
        ]
        found += [f"{item.backend}: {item.name} was not refused" for item in self.refusals if not item.happened]
        if self.interception is not None and not self.interception.query_seen:
            found.append("the man in the middle could not read the query")
        if self.interception is not None and self.interception.password_seen:
            found.append("the man in the middle could read the password")
        return found

    def start(self) -> None:
        """Start the server.

        Raises:
            Error: The server does not start.
        """
        started = time.perf_counter()
        authority = CertificateAuthority()
        server = PostgresServer(certificate=authority.issue(SERVER_NAME), ca=authority)
        try:
            self.server = self._stack.enter_context(server)
        except PostgresError as exc:
            raise Error(f"the demo's server did not start: {exc}") from exc
        self.start_seconds = time.perf_counter() - started

    def connect(self) -> None:
        """Connect with every backend in every style."""
        self._interrupts.defer()
        for backend, style in product(self.backends, STYLES):
            self._interrupts.check()
            try:
                _, security, server = connect(self._config(backend), style)
            except Error as error:
                self.connections.append(Connection(backend=backend, style=style, error=error))
            else:
                self.connections.append(Connection(backend=backend, style=style, security=security, server=server))

    def measure(self) -> None:
        """Connect `ROUNDS` times with every backend in every style, in turns, after one round to warm up."""
        samples: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        for _, backend, style in product(range(ROUNDS + 1), self._working_backends(), STYLES):
            self._interrupts.check()
            seconds, security, _ = connect(self._config(backend), style)
            times = (seconds, security.timings["tls"], security.timings["auth"])
            samples.setdefault((backend, style), []).append(times)
        for (backend, style), runs in samples.items():
            self.timings.append(Timing(backend, style, *map(statistics.median, zip(*runs[1:], strict=True))))

    def refuse(self) -> None:
        """Cause three refusals with every backend, and make one connection without channel binding."""
        backends = self._working_backends()
        with TemporaryDirectory(prefix="babar-tls-demo-") as folder, self._interceptor() as interceptor:
            other_root = Path(folder, "other.pem")
            CertificateAuthority().write(other_root)
            attempts: list[tuple[str, type[Error], ConfigOptions]] = [
                ("wrong-ca", CertificateError, {"tls_root_cert_path": str(other_root)}),
                ("wrong-name", CertificateError, {"tls_server_name": _WRONG_NAME}),
                ("man-in-the-middle", ChannelBindingRefused, {"port": interceptor.port}),
            ]
            for (name, expected, changes), backend in product(attempts, backends):
                self._interrupts.check()
                error = try_connect(self._config(backend).replace(**changes))
                self.refusals.append(Refusal(name, backend, expected, error))
        if backends:
            self.interception = self._intercept(self._config(backends[0]))
        self._interrupts.check()

    def _intercept(self, config: Config) -> Interception:
        """Repeat the man in the middle with a client that does not bind its authentication to the channel."""
        with self._interceptor() as interceptor:
            unbound = config.replace(port=interceptor.port, channel_binding=ChannelBinding.DISABLE)
            with Session.connect(unbound) as session:
                session.query(_CONFIDENTIAL)
                verified = session.security.verified
            seen = interceptor.seen
        password = self.server.password.encode()
        return Interception(_CONFIDENTIAL, verified, _CONFIDENTIAL.encode() in seen, password in seen)

    def _interceptor(self) -> TlsInterceptor:
        # Its certificate is issued by the CA that the client trusts, for the name that the client verifies.
        return TlsInterceptor(self.server.host, self.server.port, self.server.ca.issue(SERVER_NAME))

    def _config(self, backend: str) -> Config:
        return self.server.config(
            host=SERVER_NAME,
            hostaddr=self.server.host,
            channel_binding="require",
            application_name="babar-tls demo",
            tls_backend=backend,
        )

    def _working_backends(self) -> list[str]:
        """Return the backends that have connected without an error."""
        failed = {item.backend for item in self.connections if item.error}
        return [backend for backend in self.backends if backend not in failed]


def connect(config: Config, style: str) -> tuple[float, SecurityReport, ServerView]:
    """Connect; return the duration in seconds, and the reports of client and server."""
    seconds, security, row = asyncio.run(_connect_asyncio(config)) if style == "asyncio" else _connect(config)
    ssl, version, cipher, bits = row
    return seconds, security, ServerView(ssl == "t", version, cipher, None if bits is None else int(bits))


def _connect(config: Config) -> tuple[float, SecurityReport, tuple[str | None, ...]]:
    started = time.perf_counter()
    with Session.connect(config) as session:
        return time.perf_counter() - started, session.security, session.query(_SERVER_VIEW)[0]


async def _connect_asyncio(config: Config) -> tuple[float, SecurityReport, tuple[str | None, ...]]:
    started = time.perf_counter()
    async with await AsyncSession.connect(config) as session:
        return time.perf_counter() - started, session.security, (await session.query(_SERVER_VIEW))[0]


def try_connect(config: Config) -> Error | None:
    """Connect; return the error, `None` after a success."""
    try:
        Session.connect(config).close()
    except Error as error:
        return error
    return None


def is_same_cipher(first: str | None, second: str | None) -> bool:
    """Return True if two names (of RFC 8446, OpenSSL or rustls) denote the same cipher suite."""
    return first is not None and second is not None and _normalized(first) == _normalized(second)


def _normalized(cipher: str) -> str:
    name = cipher.upper().replace("TLS13_", "TLS_").removeprefix("TLS_").replace("_WITH", "")
    return name.replace("-", "").replace("_", "")
