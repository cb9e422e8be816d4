"""A server process and its temporary folder, from nothing to nothing: any, and PostgreSQL."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from babar_tls.testing._binaries import icu_environment
from babar_tls.testing._cluster import SUPERUSER, complaints, write_file
from babar_tls.testing._processes import Reaper, clean_environment, make_temporary_folder, uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from babar_tls.testing._processes import Account


HOST = "127.0.0.1"

_POLL = 0.01  # seconds
_PORT_ATTEMPTS = 5
_QUOTED_LOG_LINES = 15
_STOP_PATIENCE = 10.0  # seconds for a fast shutdown, after which it becomes an immediate one
_TAKE_OVER_PATIENCE = 15.0  # seconds for a running server to take over a new configuration


class PostgresError(RuntimeError):
    """The server did not do what it was asked to; the message quotes its own words."""


class PostgresStartError(PostgresError):
    """The server did not start; the message ends with its log."""


class Daemon(ABC):
    """A folder, later the server that runs in it.

    Nothing of either outlives this process: `destroy` is what does away with them, the interpreter's exit calls it, and
    a `Reaper` stands in should neither happen.

    Args:
        prefix: The start of the folder's name.
        account: Who runs it; `None` for ourselves.
        environment: The programs' environment.
        room: How many bytes must be left for a path within the folder to be a socket's name.

    Attributes:
        name: What it is called.
        taken: What its log says of a port that somebody else has.
        farewell: The signals that it is told to go with, the polite one first.
        folder: The folder.
        cwd: Where the programs run.
    """

    name: str
    taken: str
    farewell: tuple[signal.Signals, ...]

    def __init__(self, prefix: str, account: Account | None, environment: Mapping[str, str], *, room: int = 0) -> None:
        self.account = account
        self.port = 0
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._final_log = ""
        self._destroyed = False
        self.folder = make_temporary_folder(prefix, account, room=room)
        self.cwd = self.folder
        self.log_path = self.folder / "server.log"
        try:
            self._reaper = Reaper(self.folder)
        except OSError as exc:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise PostgresStartError(f"the process that clears up after a crash cannot be started: {exc}") from exc
        atexit.register(self.destroy)

    @abstractmethod
    def command(self) -> list[str]:
        """What to run."""

    @abstractmethod
    def is_ready(self, process: subprocess.Popen[bytes], log: str) -> bool:
        """Whether it accepts connections; `log` is what it has logged since it was started."""

    def give(self, path: Path) -> None:
        """Makes `path` the server's account's."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def launch(self, configure: Callable[[int], None], timeout: float) -> None:
        """Starts the server on a free port and waits until it accepts connections.

        Args:
            configure: Is given the port and writes it into the configuration.
            timeout: How long that may take, in seconds.

        Raises:
            PostgresStartError: It did not.
        """
        deadline = time.monotonic() + timeout
        for _ in range(_PORT_ATTEMPTS):
            self.port = _free_port()
            configure(self.port)
            log_start = len(self.log())
            self._process = self._spawn(self.command(), self._environment)
            ready = self._wait_until_ready(self._process, log_start, deadline, timeout)
            # With ::1 free and 127.0.0.1 taken, PostgreSQL starts, and says that it could do no more than that.
            if self.taken not in self.log()[log_start:]:
                if ready:
                    return
                raise self.start_error(f"{self.name} exited with status {self._process.returncode} while starting")
            self._stop_process()
        raise self.start_error(f"{self.name} found its TCP port taken {_PORT_ATTEMPTS} times in a row")

    def destroy(self) -> None:
        """Shuts the server down and removes the folder; harmless to repeat.

        In a forked child of the process that started the server it does nothing: the server is the parent's.
        """
        if self._destroyed or os.getpid() != self._owner:
            return
        self._destroyed = True
        try:
            self._stop_process()
            self._final_log = self.log()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._reaper.dismiss()
            atexit.unregister(self.destroy)

    def log(self) -> str:
        """What the programs have logged so far; after `destroy`, all that they ever logged."""
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return self._final_log

    def start_error(self, what: str) -> PostgresStartError:
        """An error that quotes the end of the log."""
        return PostgresStartError(f"{what}; look for the reason in its last words:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        return "\n".join(f"  {line}" for line in self.log().splitlines()[-_QUOTED_LOG_LINES:]) or "  (it said nothing)"

    def _spawn(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log, uninterrupted():
            self._process = subprocess.Popen(  # noqa: S603 - as above
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env=environment,
                umask=0o077,
                start_new_session=True,
                **(self.account.popen_options() if self.account else {}),
            )
            self._reaper.watch(self._process.pid)
        return self._process

    def _wait_until_ready(
        self, process: subprocess.Popen[bytes], log_start: int, deadline: float, timeout: float
    ) -> bool:
        """Whether the server became ready; `False` if it exited."""
        while process.poll() is None:
            if self.is_ready(process, self.log()[log_start:]):
                return True
            if time.monotonic() > deadline:
                raise self.start_error(f"{self.name} did not become ready within {timeout:g} s")
            time.sleep(_POLL)
        return False

    def _stop_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # To the group, for initdb's children to hear of it; the server's own have left the group, and go when told.
        for politeness in self.farewell:
            if process.poll() is None:
                os.killpg(process.pid, politeness)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_PATIENCE)
                return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Postmaster(Daemon):
    """PostgreSQL, with its data folder.

    Args:
        bindir: The folder of `initdb`, `postgres` and `psql`.
        account: Who runs them; `None` for ourselves.
        environment: Additions to the server's environment.
    """

    name = "PostgreSQL"
    taken = "could not bind"
    farewell = (signal.SIGINT, signal.SIGQUIT)  # a fast shutdown, an immediate one

    def __init__(self, bindir: Path, account: Account | None, environment: Mapping[str, str]) -> None:
        self.bindir = bindir
        self.password = secrets.token_urlsafe(18)
        # The longest name that has to fit into sun_path is that of the server's socket.
        complete = clean_environment({**icu_environment(bindir), **environment})
        super().__init__("babar-pg-", account, complete, room=len("/s/.s.PGSQL.65535"))
        self.socket_dir = self.folder / "s"
        self.cwd = self.data_dir = self.folder / "data"
        self.socket_dir.mkdir()
        self.give(self.socket_dir)

    def command(self) -> list[str]:
        """The server itself."""
        return [str(self.bindir / "postgres"), "-D", str(self.data_dir)]

    def is_ready(self, process: subprocess.Popen[bytes], log: str) -> bool:
        """Its postmaster.pid tells, as it tells pg_ctl; attempts to connect would leave traces in the log."""
        with contextlib.suppress(OSError):
            lines = (self.data_dir / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            return len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready"
        return False

    def initialize(self, timeout: float) -> None:
        """Runs initdb.

        Raises:
            PostgresStartError: It failed, or took longer than `timeout` seconds.
        """
        password_file = self.folder / "superuser"
        write_file(password_file, self.password.encode(), self.account)
        self.data_dir.mkdir(mode=0o700)
        self.give(self.data_dir)
        command = [str(self.bindir / "initdb"), f"--pgdata={self.data_dir}", f"--username={SUPERUSER}"]
        command += [f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        process = self._spawn(command, clean_environment(icu_environment(self.bindir)))
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired as exc:
            raise self.start_error(f"initdb did not finish within {timeout:g} s") from exc
        if status != 0:
            raise self.start_error(f"initdb failed with status {status}")
        self._process = None
        password_file.unlink()
        self.log_path.unlink()

    def psql(self, statement: str, database: str) -> str:
        """Runs SQL as the superuser over the Unix socket and returns what psql prints, without the last newline.

        Raises:
            PostgresError: psql is missing, or the server refused a statement.
        """
        # The statement travels by standard input and the password in the environment: a process list shows neither.
        command = [str(self.bindir / "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]
        command += ["-h", str(self.socket_dir), "-p", str(self.port), "-U", SUPERUSER, "-d", database]
        environment = clean_environment({"PGPASSWORD": self.password, "PGCLIENTENCODING": "UTF8"})
        try:
            done = subprocess.run(  # noqa: S603 - the installation was named by the caller
                command, input=statement.encode(), capture_output=True, env=environment, check=False
            )
        except FileNotFoundError as exc:
            raise PostgresError(f"there is no psql in {self.bindir}, and SQL is run by it") from exc
        if done.returncode != 0:
            raise PostgresError(done.stderr.decode(errors="replace").strip())
        return done.stdout.decode().removesuffix("\n")

    def reload(self) -> None:
        """Has the server read its configuration again, and returns when new connections see it.

        Raises:
            PostgresError: The server did not take over all of it; the message quotes it.
        """
        if self._process is None:
            raise PostgresError("the server is not running")
        before = self._load_time()
        log_start = len(self.log())
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _TAKE_OVER_PATIENCE
        # A backend inherits the time of the postmaster's last reload. The postmaster, being a single thread, is done
        # with settings, pg_hba.conf and certificates before it forks the next one. Where it dislikes a setting so much
        # that it takes over none, the time remains, and only the log tells.
        while self._load_time() == before and not complaints(self.log()[log_start:]):
            if time.monotonic() > deadline:
                raise PostgresError(f"the server did not reload its configuration\n{self._log_tail()}")
            time.sleep(_POLL)
        refused = complaints(self.log()[log_start:])
        if refused:
            raise PostgresError("the server did not take over its new configuration:\n" + "\n".join(refused))

    def _load_time(self) -> str:
        return self.psql("SELECT extract(epoch FROM pg_conf_load_time())", "postgres")


def _free_port() -> int:
    """A TCP port that is free at the moment on 127.0.0.1 and, where there is IPv6, on ::1."""
    while True:
        with socket.create_server((HOST, 0)) as probe:
            port: int = probe.getsockname()[1]
            if not socket.has_ipv6:
                return port
            try:
                with socket.socket(socket.AF_INET6) as probe6:
                    probe6.bind(("::1", port))
            except OSError as exc:
                if exc.errno == errno.EADDRINUSE:
                    continue
            return port
