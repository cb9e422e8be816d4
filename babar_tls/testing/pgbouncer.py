"""PgBouncer in front of a `PostgresServer`: a pooler that terminates TLS and has a TLS connection to the server."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING, Unpack

from babar_tls.testing._processes import program_version
from babar_tls.testing._server_process import HOST, PostgresStartError, ServerProcess

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

    from babar_tls.config import Config, ConfigOptions
    from babar_tls.testing._processes import Account
    from babar_tls.testing.certificates import ServerCertificate
    from babar_tls.testing.postgres import PostgresServer


_USERS = """\
SELECT format('"%s" "%s"', replace(rolname, '"', '""'), rolpassword)
FROM pg_authid WHERE rolcanlogin AND rolpassword LIKE 'SCRAM-SHA-256$%'"""


def find_program() -> str | None:
    """Return the path of PgBouncer: on the search path, or in ``/usr/sbin``, where Debian installs it."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer(ServerProcess):
    """PgBouncer in front of a `PostgresServer`, as a context manager or between `start` and `stop`.

    Clients log in over TLS with SCRAM-SHA-256. Every role that has a SCRAM password when PgBouncer starts can log in to
    any database. PgBouncer verifies the server (verify-full), and logs in with the SCRAM keys from the client's proof.

    Args:
        server: A running server with TLS.
        certificate: PgBouncer's certificate. Default: a P-256 certificate for localhost and 127.0.0.1, from a
            separate CA, so that a client that trusts only the server's CA refuses PgBouncer.
        settings: Settings of the section ``[pgbouncer]``, by name.
        program: The path of PgBouncer. Default: the result of `find_program`.
        startup_timeout: How long it may take to accept connections, in seconds.

    Attributes:
        host: The address that it listens on, ``127.0.0.1``.
        port: Its TCP port.
        root_cert_path: A file with the certificate to trust, readable by all accounts.
        certificate: PgBouncer's certificate; `None` before `start` if the default is used.
        version: Its version, for example ``1.18.0``.

    `port`, `root_cert_path` and `version` exist once PgBouncer has been started.
    """

    _NAME = "PgBouncer"
    _FOLDER_PREFIX = "babar-pgbouncer-"
    _PORT_TAKEN = "cannot listen"
    # Old versions stop at once on the first signal. New versions wait for their clients, or for the second signal.
    _STOP_SIGNALS = (signal.SIGTERM, signal.SIGQUIT)

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
            raise ValueError("PgBouncer needs a server with TLS")
        super().__init__(startup_timeout)
        self.server = server
        self.certificate = certificate
        self._settings = dict(settings or {})
        self._program = program

    def config(self, **overrides: Unpack[ConfigOptions]) -> Config:
        """Return `PostgresServer.config` for a connection through PgBouncer."""
        arguments: ConfigOptions = {"port": self.port, "tls_root_cert_path": self.root_cert_path}
        arguments.update(overrides)
        return self.server.config(**arguments)

    def conninfo(self, **overrides: str | int | None) -> str:
        """Return `PostgresServer.conninfo` for a connection through PgBouncer."""
        return self.server.conninfo(**{"port": self.port, "sslrootcert": str(self.root_cert_path), **overrides})

    def _find_programs(self, account: Account | None) -> None:
        program = self._program or find_program()
        if program is None:
            raise PostgresStartError("PgBouncer is not installed; install it with: apt-get install pgbouncer")
        self._command = [os.fspath(program)]
        self.version = program_version(self._command[0])

    def _prepare(self, folder: Path) -> None:
        self._command += [str(folder / "pgbouncer.ini")]
        users = self.server.sql(_USERS)
        if self.certificate is None:
            from babar_tls.testing.certificates import CertificateAuthority  # noqa: PLC0415 - optional dependency

            self.certificate = CertificateAuthority().issue("localhost", HOST)
        self._write_root_certificate(folder, self.certificate.root_pem)
        self._write_file(folder / "users", users.encode())
        self._write_file(folder / "server.key", self.certificate.private_key_pem)
        self._write_file(folder / "server.crt", self.certificate.certificate_pem)

    def _configure(self) -> None:
        settings = {
            "listen_addr": HOST,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": self._cwd / "users",
            "client_tls_sslmode": "require",
            "client_tls_key_file": self._cwd / "server.key",
            "client_tls_cert_file": self._cwd / "server.crt",
            "server_tls_sslmode": "verify-full",
            "server_tls_ca_file": self.server.root_cert_path,
            "max_client_conn": 1000,
            **self._settings,
        }
        lines = ["[databases]", f"* = host={self.server.host} port={self.server.port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        self._write_file(self._cwd / "pgbouncer.ini", "\n".join([*lines, ""]).encode())

    def _is_ready(self, process: subprocess.Popen[bytes], log: str) -> bool:
        return "process up" in log
