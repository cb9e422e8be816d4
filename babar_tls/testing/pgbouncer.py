"""PgBouncer before a PostgreSQL of your own: a pooler that ends TLS and begins it anew towards the server.

It runs and goes as the server does: see `babar_tls.testing.postgres`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from babar_tls.testing._cluster import write_file
from babar_tls.testing._postmaster import HOST, Daemon, PostgresStartError
from babar_tls.testing._processes import clean_environment, unprivileged_account

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from babar_tls.config import Config
    from babar_tls.testing._processes import Account
    from babar_tls.testing.certificates import ServerCertificate
    from babar_tls.testing.postgres import PostgresServer


_USERS = """\
SELECT format('"%s" "%s"', replace(rolname, '"', '""'), rolpassword)
FROM pg_authid WHERE rolcanlogin AND rolpassword LIKE 'SCRAM-SHA-256$%'"""


def find_program() -> str | None:
    """PgBouncer on the search path, or in ``/usr/sbin``, where Debian has it."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer:
    """PgBouncer before a `PostgresServer`, as a context manager or between `start` and `stop`.

    Clients log in over TLS and by SCRAM-SHA-256: every role that has a SCRAM password when this starts, to any
    database. It verifies the server in full, and logs in there with the keys that the client's proof has shown it.

    Args:
        server: A running server with TLS.
        certificate: What it presents to clients. Default: a P-256 certificate for localhost and 127.0.0.1, from an
            authority of its own, so that it cannot be mistaken for the server.
        settings: Settings of the section ``[pgbouncer]``, by name.
        program: PgBouncer. Default: what `find_program` finds.
        startup_timeout: How long it may take to accept connections, in seconds.

    Attributes:
        host: The address that it listens on, ``127.0.0.1``.
        port: Its TCP port.
        root_cert_path: A file with the certificate to trust, readable by everybody.
        certificate: What it presents; `None` before `start` if that was left to the default.
        version: Its version, for example ``1.18.0``.

    `port`, `root_cert_path` and `version` exist once it has been started.
    """

    host = HOST
    port: int
    root_cert_path: Path
    version: str

    def __init__(
        self,
        server: PostgresServer,
        *,
        certificate: ServerCertificate | None = None,
        settings: Mapping[str, str] | None = None,
        program: str | os.PathLike[str] | None = None,
        startup_timeout: float = 30.0,
    ) -> None:
        if not server.tls:
            raise ValueError("a server with TLS is needed")
        self.server = server
        self.startup_timeout = startup_timeout
        self.certificate = certificate
        self._settings = dict(settings or {})
        self._program = program
        self._process: _Process | None = None
        self._final_log = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and returns once it accepts connections.

        Raises:
            PostgresStartError: It is not installed, or did not start; then the message ends with its log.
            PostgresError: The server is not running.
            ImportError: cryptography is not installed.
        """
        if self._process is not None:
            raise PostgresStartError("this PgBouncer is running already")
        program = self._program or find_program()
        if program is None:
            raise PostgresStartError("there is no pgbouncer on this system; install it: apt-get install pgbouncer")
        try:
            self.version = _version(program)
            account = unprivileged_account()
        except (LookupError, OSError, subprocess.CalledProcessError) as exc:
            raise PostgresStartError(f"PgBouncer cannot be run: {exc}") from exc
        users = self.server.sql(_USERS)
        if self.certificate is None:
            from babar_tls.testing.certificates import CertificateAuthority  # noqa: PLC0415 - optional dependency

            self.certificate = CertificateAuthority().issue("localhost", HOST)
        self._process = process = _Process(program, account)
        try:
            self.root_cert_path = process.folder / "root.crt"
            self.root_cert_path.write_bytes(self.certificate.root_pem)
            self.root_cert_path.chmod(0o644)
            write_file(process.folder / "users", users.encode(), account)
            write_file(process.folder / "server.key", self.certificate.private_key_pem, account)
            write_file(process.folder / "server.crt", self.certificate.certificate_pem, account)
            process.launch(self._write_configuration, self.startup_timeout)
            self.port = process.port
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it and removes its folder; does nothing if it does not run, nor in a forked child of who started it."""
        if self._process is not None:
            process, self._process = self._process, None
            process.destroy()
            self._final_log = process.log()

    def log(self) -> str:
        """What it has logged so far; after `stop`, all that it ever logged."""
        return self._process.log() if self._process else self._final_log

    def config(self, **overrides: Any) -> Config:
        """`PostgresServer.config`, through this."""
        return self.server.config(**{"port": self.port, "tls_root_cert_path": str(self.root_cert_path), **overrides})

    def conninfo(self, **overrides: str | int | None) -> str:
        """`PostgresServer.conninfo`, through this."""
        return self.server.conninfo(**{"port": self.port, "sslrootcert": str(self.root_cert_path), **overrides})

    def _write_configuration(self, port: int) -> None:
        assert self._process is not None  # noqa: S101 - for the type checker: it is what calls this
        folder, account = self._process.folder, self._process.account
        settings = {
            "listen_addr": HOST,
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": folder / "users",
            "client_tls_sslmode": "require",
            "client_tls_key_file": folder / "server.key",
            "client_tls_cert_file": folder / "server.crt",
            "server_tls_sslmode": "verify-full",
            "server_tls_ca_file": self.server.root_cert_path,
            "max_client_conn": 1000,
            **self._settings,
        }
        lines = ["[databases]", f"* = host={self.server.host} port={self.server.port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        write_file(folder / "pgbouncer.ini", "\n".join([*lines, ""]).encode(), account)


class _Process(Daemon):
    name = "PgBouncer"
    taken = "cannot listen"
    # Older ones end at once when asked politely, and newer ones when their clients have gone, or at the second signal.
    farewell = (signal.SIGTERM, signal.SIGQUIT)

    def __init__(self, program: str | os.PathLike[str], account: Account | None) -> None:
        super().__init__("babar-pgbouncer-", account, clean_environment())
        self._program = os.fspath(program)

    def command(self) -> list[str]:
        return [self._program, str(self.folder / "pgbouncer.ini")]

    def is_ready(self, process: subprocess.Popen[bytes], log: str) -> bool:
        return "process up" in log


def _version(program: str | os.PathLike[str]) -> str:
    output = subprocess.run(  # noqa: S603 - the program was named by the caller
        [os.fspath(program), "--version"], capture_output=True, text=True, check=True, env=clean_environment()
    )
    return output.stdout.split()[1]
