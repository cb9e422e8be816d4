"""The servers and files that the faults are made of."""

from __future__ import annotations

import contextlib
import functools
import socket
from typing import TYPE_CHECKING, Any

from babar_tls.conninfo.syntax import quote
from babar_tls.testing import CertificateAuthority, PgBouncer, PostgresServer, Role, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pytest

    from babar_tls.testing import ScriptedPeer, ServerCertificate

NAME = "db.example.com"
PASSWORD = "a secret of ours"
#: Long enough for every stage of a server that responds.
TIMEOUT = 10.0
#: For servers that do not respond. Each stage that waits for them takes this time.
SHORT_TIMEOUT = 1.0

#: The database or the role decides what happens to a login.
_HBA = [
    "local app peer_role peer",
    "hostssl certificate all all cert",
    "host rejected all all reject",
    "hostssl encrypted all all scram-sha-256",
    "hostnossl unencrypted all all scram-sha-256",
    "host nowhere all all scram-sha-256",
    "host app md5_role all md5",
    "host app cleartext_role all password",
    "host app ghost all trust",
    "host app nologin all trust",
    "host forbidden all all scram-sha-256",
    "hostnossl reject_plain all all reject",
    "hostssl reject_plain all all scram-sha-256",
    "host app crowded all trust",
    "host app all all scram-sha-256",
]
_ROLES = {
    "app": Role(PASSWORD),
    "cleartext_role": Role(PASSWORD),
    "md5_role": Role(PASSWORD, "md5"),
    "peer_role": Role(),
    "md5_default": Role(PASSWORD),
    "crowded": Role(),
    "nologin": Role(),
}
_SQL = """
ALTER ROLE crowded CONNECTION LIMIT 0;
ALTER ROLE nologin NOLOGIN;
REVOKE CONNECT ON DATABASE forbidden FROM public;
ALTER ROLE md5_default SET password_encryption TO md5;
"""


def receive_until_closed(peer: ScriptedPeer) -> bytes:
    """Return everything that the client sends before it disconnects."""
    received = bytearray()
    with contextlib.suppress(OSError):
        while chunk := peer.receive():
            received += chunk
    return bytes(received)


class World:
    """The certificates and real servers, which are started when a fault needs them."""

    def __init__(self) -> None:
        self.root = CertificateAuthority(common_name="faults root")
        self.other_root = CertificateAuthority(common_name="faults other root")
        self.client_root = CertificateAuthority(common_name="faults client root")
        self.intermediate = self.root.intermediate(common_name="faults intermediate")
        self.good = self.root.issue(NAME, "127.0.0.1", common_name=NAME)
        self.client = self.client_root.issue(common_name="app", san=False, usage="client")
        self.revoked_client = self.client_root.issue(common_name="app", san=False, usage="client")
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        """Stop the servers."""
        self._stack.close()

    @functools.cached_property
    def server(self) -> PostgresServer:
        """PostgreSQL with TLS."""
        return self._start(
            ca=self.root,
            certificate=self.good,
            settings={"ssl_ca_file": "client_root.crt", "ssl_crl_file": "client_root.crl"},
            files={
                "client_root.crt": self.client_root.certificate_pem,
                "client_root.crl": self.client_root.revocation_list([self.revoked_client]),
            },
        )

    @functools.cached_property
    def plain_server(self) -> PostgresServer:
        """PostgreSQL without TLS."""
        return self._start(tls=False)

    @functools.cached_property
    def pooler(self) -> PgBouncer:
        """PgBouncer in front of the server with TLS; it has the server's certificate."""
        return self._stack.enter_context(
            PgBouncer(self.server, certificate=self.good, settings={"server_login_retry": "0.1"})
        )

    def _start(self, **options: Any) -> PostgresServer:
        server = PostgresServer(hba=_HBA, roles=_ROLES, databases=("app", "forbidden"), **options)
        self._stack.enter_context(server)
        server.sql(_SQL)
        return server


class Arena:
    """What one fault is set up with. Everything ends with the test.

    Attributes:
        world: The real servers, and the certificate authorities.
        monkeypatch: Changes this process.
        overrides: The fields of `Config` to diagnose with, in addition to the connection string.
        environ: The environment to diagnose with.
        received: What scripted servers with TLS have received after the handshake.
    """

    def __init__(self, world: World, request: pytest.FixtureRequest, backend: str) -> None:
        self.world = world
        self.monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        self.overrides: dict[str, Any] = {"tls_backend": backend, "connect_timeout": TIMEOUT}
        self.environ: dict[str, str] = {}
        self.received: list[bytes] = []
        self._folder: Path = request.getfixturevalue("tmp_path")
        self._request = request
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        """Stop the scripted servers."""
        self._stack.close()

    def enter(self, context: AbstractContextManager[Any]) -> Any:
        """Enter a context that ends with the test."""
        return self._stack.enter_context(context)

    def defer(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function when the test ends, before what was deferred earlier."""
        self._stack.callback(function, *arguments)

    def pooler(self) -> PgBouncer:
        """Return PgBouncer; skip the test if it is not installed."""
        self._request.getfixturevalue("pgbouncer_installed")
        return self.world.pooler

    def write(self, name: str, data: bytes, mode: int = 0o644) -> str:
        """Write a file, and return its path."""
        path = self._folder / name
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    def missing_file(self) -> str:
        """Return the path of a file that does not exist."""
        return str(self._folder / "missing.crt")

    def missing_folder(self) -> str:
        """Return the path of a directory that does not exist."""
        return str(self._folder / "missing")

    def root_file(self, *authorities: CertificateAuthority) -> str:
        """Write a file with CA certificates, by default that of the good servers; return its path."""
        return self.write("root.crt", b"".join(one.certificate_pem for one in authorities or (self.world.root,)))

    def listen(self, script: Callable[[ScriptedPeer], object], **options: Any) -> int:
        """Start a scripted server, and return its port."""
        port: int = self.enter(ScriptedServer(script, **options)).port
        return port

    def present(self, certificate: ServerCertificate, **options: Any) -> int:
        """Start a server with TLS and this certificate, which records what it receives; return its port.

        Args:
            certificate: The certificate.
            options: Options of `ScriptedPeer.start_tls`.
        """
        return self.listen(lambda peer: self.received.append(receive_until_closed(peer)), tls=certificate, **options)

    def certify_server(self, certificate: ServerCertificate) -> int:
        """Replace the certificate of the real server until the test ends; return the server's port."""
        server = self.world.server
        self.defer(server.set_certificate, self.world.good)
        server.set_certificate(certificate)
        return server.port

    def closed_port(self) -> int:
        """Return a port that is bound but has no listener."""
        sock = self.enter(socket.socket())
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

    def conninfo(self, port: int | str, **parameters: str | None) -> str:
        """Return a connection string for a port of this machine: ``sslmode=verify-full``, and the right root file.

        Args:
            port: The port, or several.
            parameters: Parameters to change or add; `None` omits one.
        """
        chosen: dict[str, str | None] = {
            "host": NAME,
            "hostaddr": "127.0.0.1",
            "port": str(port),
            "user": "app",
            "password": PASSWORD,
            "dbname": "app",
            "sslmode": "verify-full",
            **parameters,
        }
        if chosen["sslmode"] != "disable" and "sslrootcert" not in chosen:
            chosen["sslrootcert"] = self.root_file()
        return " ".join(f"{name}={quote(value)}" for name, value in chosen.items() if value is not None)


def log_in(**parameters: str | None) -> Callable[[Arena], str]:
    """Return a function that arranges a login to the real server with these parameters."""
    return lambda arena: arena.conninfo(arena.world.server.port, **parameters)
