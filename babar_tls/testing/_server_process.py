"""The base class of servers that run as a child process in a temporary folder."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from babar_tls.testing._lifecycle import Startable
from babar_tls.testing._processes import (
    ReapedFolder,
    clean_environment,
    uninterrupted,
    unprivileged_account,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from babar_tls.testing._processes import Account


HOST = "127.0.0.1"

_POLL = 0.01  # seconds
_PORT_ATTEMPTS = 5
_QUOTED_LOG_LINES = 15
_STOP_TIMEOUT = 10.0  # seconds for each of the stop signals


class PostgresError(RuntimeError):
    """The server refused an operation; the message quotes the server."""


class PostgresStartError(PostgresError):
    """The server did not start; the message ends with its log."""


class ServerProcess(Startable):
    """A server process and its temporary folder.

    The process runs in its own session, so Ctrl-C in the terminal does not interrupt it. It runs under an unprivileged
    account if this process is root. `stop` ends it, at the latest when the interpreter exits. If this process is
    killed, the reaper of the folder ends it.

    Attributes:
        host: The address that the server listens on, ``127.0.0.1``.
        port: Its TCP port.
        root_cert_path: A file with the certificate to trust, readable by all accounts.
        version: The server's version, for example ``17.10``.
        log_path: The server's log file; `log` still works after the file is removed.
    """

    _NAME: ClassVar[str]
    _FOLDER_PREFIX: ClassVar[str]
    _PORT_TAKEN: ClassVar[str]  # text in the log if another process uses the port
    _STOP_SIGNALS: ClassVar[tuple[signal.Signals, ...]]  # in the order in which they are tried
    _SOCKET_NAME: ClassVar[str] = ""  # the longest path of a Unix socket, relative to the folder

    host = HOST
    port: int
    root_cert_path: Path
    version: str
    log_path: Path

    _account: Account | None
    _command: list[str]
    _cwd: Path
    _environment: Mapping[str, str]

    def __init__(self, startup_timeout: float) -> None:
        self.startup_timeout = startup_timeout
        self._folder: ReapedFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._final_log = ""

    def __repr__(self) -> str:
        if self._process is None:
            return f"<{type(self).__name__}, not running>"
        return f"<{type(self).__name__} {self.version} at {self.host}:{self.port}>"

    def start(self) -> None:
        """Start the server and return once it accepts connections.

        Raises:
            PostgresStartError: The server is not installed or did not start; the message ends with its log.
            PostgresError: A statement that prepares the server failed.
            ImportError: The package with PostgreSQL, or cryptography, is not installed.
        """
        if os.name == "nt":
            raise PostgresStartError(f"{self._NAME} needs a POSIX system here; on Windows, run the tests in WSL")
        if self._folder is not None:
            raise PostgresStartError(f"this {self._NAME} server is already running")
        try:
            self._account = unprivileged_account()
            self._find_programs(self._account)
            self._folder = ReapedFolder(self._FOLDER_PREFIX, self._account, socket_name=self._SOCKET_NAME)
        except (LookupError, OSError, subprocess.CalledProcessError) as exc:
            raise PostgresStartError(f"{self._NAME} cannot be run: {exc}") from exc
        atexit.register(self.stop)
        self._cwd = self._folder.path
        self._environment = clean_environment()
        self.log_path = self._folder.path / "server.log"
        try:
            self._prepare(self._folder.path)
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and remove its folder; does nothing if the server is not running, or in a forked child."""
        folder = self._folder
        if folder is None or not folder.is_owned:
            return
        self._folder = None
        try:
            self._stop_process()
            self._final_log = self._read_log()
        finally:
            folder.remove()
            atexit.unregister(self.stop)

    def log(self) -> str:
        """Return the log of the server; still available after `stop`."""
        return self._final_log if self._folder is None else self._read_log()

    @abstractmethod
    def _find_programs(self, account: Account | None) -> None:
        """Find the programs that `account` can run; set `version`."""

    @abstractmethod
    def _prepare(self, folder: Path) -> None:
        """Write the files that do not depend on the port; set the command line and the environment of the server."""

    @abstractmethod
    def _configure(self) -> None:
        """Write the configuration for `port`."""

    @abstractmethod
    def _is_ready(self, process: subprocess.Popen[bytes], log: str) -> bool:
        """Return True if the server accepts connections; `log` is the log since this start."""

    def _write_file(self, path: Path, data: bytes) -> None:
        write_file(path, data, self._account)

    def _write_root_certificate(self, folder: Path, pem: bytes) -> None:
        self.root_cert_path = folder / "root.crt"
        self.root_cert_path.write_bytes(pem)
        self.root_cert_path.chmod(0o644)

    def _launch(self) -> None:
        deadline = time.monotonic() + self.startup_timeout
        for _ in range(_PORT_ATTEMPTS):
            self.port = _free_port()
            self._configure()
            log_start = len(self.log())
            process = self._spawn(self._command, self._environment)
            is_ready = self._wait_until_ready(process, log_start, deadline)
            # If ::1 is free and 127.0.0.1 is in use, PostgreSQL starts and only logs that it could not bind.
            if self._PORT_TAKEN not in self.log()[log_start:]:
                if is_ready:
                    return
                raise self._start_error(f"{self._NAME} exited with status {process.returncode} while starting")
            self._stop_process()
        raise self._start_error(f"{self._NAME} could not bind a free TCP port in {_PORT_ATTEMPTS} attempts")

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log_start: int, deadline: float) -> bool:
        """Return True when the server is ready, False if it exited."""
        while process.poll() is None:
            if self._is_ready(process, self.log()[log_start:]):
                return True
            if time.monotonic() > deadline:
                raise self._start_error(f"{self._NAME} did not become ready within {self.startup_timeout:g} s")
            time.sleep(_POLL)
        return False

    def _spawn(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        assert self._folder is not None  # noqa: S101 - for the type checker: `start` has created it
        with self.log_path.open("ab") as log, uninterrupted():
            self._process = subprocess.Popen(  # noqa: S603 - the caller chose the program
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._cwd,
                env=environment,
                umask=0o077,
                start_new_session=True,
                **(self._account.popen_options() if self._account else {}),
            )
            self._folder.watch(self._process.pid)
        return self._process

    def _stop_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # The process group of initdb includes its children. The children of PostgreSQL have left its group.
        for number in self._STOP_SIGNALS:
            if process.poll() is None:
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_TIMEOUT)
                return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _read_log(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self.log_path.read_text(encoding="utf-8", errors="replace")
        return ""

    def _log_tail(self) -> str:
        return "\n".join(f"  {line}" for line in self.log().splitlines()[-_QUOTED_LOG_LINES:]) or "  (empty)"

    def _start_error(self, failure: str) -> PostgresStartError:
        return PostgresStartError(f"{failure}; the last lines of its log are:\n{self._log_tail()}")


def _free_port() -> int:
    """Return a TCP port that is currently free."""
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
