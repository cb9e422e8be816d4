"""The connections of a PostgreSQL server, as its log reports them, independently of the clients.

With `SETTINGS` the postmaster logs each process that it forks and each that has exited, which shows when the log is
complete. A *fence* is a connection of this module, by a role that does not exist. A listening socket is served in
order, so a process that was forked before that of the fence belongs to the time before the fence.
"""

from __future__ import annotations

import itertools
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import PostgresServer

#: The settings that the log can be read with.
SETTINGS = {"log_connections": "on", "log_min_messages": "debug2", "log_line_prefix": "%m [%p] %e "}

_LINE = re.compile(r"\S+ \S+ \S+ \[(\d+)\] (\w{5}) (\w+):  (.*)")
_FORKED = re.compile(r"forked new (?:client )?backend, pid=(\d+)")
_EXITED = re.compile(r"\(PID (\d+)\) (?:exited|was terminated)")
_FENCE = re.compile(r'user "fence(\d+)"')
_PATIENCE = 30.0  # seconds for the processes of connections that are closed to exit

#: Log texts for a handshake that the client aborted; any other text means that the server aborted it.
_CLIENT_LEFT = re.compile(r"alert|EOF|reset by peer|Success|unexpected eof|Broken pipe")

#: What the server says of a SASL message that came with the StartupMessage, where it asked for something else: it takes
#: it for a password, or finds nothing to do with it. The client has left by then.
_BEGUN_EARLY = re.compile(r"invalid password packet size|invalid frontend message type 112")

_counter = itertools.count(1)


@dataclass
class _Process:
    """One connection's server process: its lines, as (SQLSTATE, severity, text)."""

    lines: list[tuple[str, str, str]] = field(default_factory=list)

    def outcome(self) -> str:
        """Return the channel and the result of the connection.

        That the client left is said in one way, whether it broke the handshake off or finished it first: TLS backends
        differ in when they look at a name.
        """
        channel, end = "plain", "left"
        for sqlstate, severity, text in self.lines:
            if text.startswith("could not accept SSL connection"):
                channel, end = "TLS", "left" if _CLIENT_LEFT.search(text) else "failed"
            elif text.startswith("SSL connection from"):
                channel = "TLS"
            elif text.startswith("connection authorized"):
                end = "authorized"
            elif severity == "FATAL" and not _BEGUN_EARLY.fullmatch(text):
                end = f"{end}, refused {sqlstate}" if end == "authorized" else f"refused {sqlstate}"
        return f"{channel} {end}"

    @property
    def fence(self) -> int | None:
        """The fence's number, `None` if a client's."""
        for _, _, text in self.lines:
            if match := _FENCE.search(text):
                return int(match[1])
        return None


class ServerLog:
    """The connections of one server, from the moment that this was made."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._path: Path = server.log_path
        self._offset = self._path.stat().st_size
        self._fences = 0

    def fence(self, *, unix: bool = False) -> int:
        """End a stretch of connections over TCP, and over the Unix socket too if `unix`; returns its number."""
        number = next(_counter)
        if unix:  # another queue: it must be empty before the fence proper comes
            address = str(self._server.socket_dir / f".s.PGSQL.{self._server.port}")
            self._knock(number, socket.AF_UNIX, address, wait=True)
        self._knock(number, socket.AF_INET, (self._server.host, self._server.port), wait=False)
        return number

    def _knock(self, number: int, family: socket.AddressFamily, address: object, *, wait: bool) -> None:
        self._fences += 1
        user = f"user\0fence{number}\0\0".encode()
        with socket.socket(family) as sock:
            sock.settimeout(_PATIENCE)
            sock.connect(address)
            sock.sendall(struct.pack("!ii", 8 + len(user), 196608) + user)
            while wait and sock.recv(4096):
                pass

    def stretches(self) -> dict[int, list[str]]:
        """Return the result of each connection, in order, by the fence that follows them."""
        found: dict[int, list[str]] = {}
        waiting: list[str] = []
        for process in self._complete():
            if process.fence is None:
                waiting.append(process.outcome())
            else:
                found.setdefault(process.fence, []).extend(waiting)
                waiting = []
        return found

    def _complete(self) -> list[_Process]:
        """Return all processes, including those of fences, in the order of their fork, after all have exited."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            processes: dict[str, _Process] = {}
            lines, running = self._lines(), set()
            for _, _, _, text in lines:
                if match := _FORKED.match(text):
                    processes[match[1]] = _Process()
                    running.add(match[1])
            for pid, *line in lines:
                if pid in processes:
                    processes[pid].lines.append((line[0], line[1], line[2]))
                elif match := _EXITED.search(line[2]):
                    running.discard(match[1])
            if not running and sum(process.fence is not None for process in processes.values()) == self._fences:
                return list(processes.values())
            assert time.monotonic() < deadline, f"the server still has its clients: processes {sorted(running)}"
            time.sleep(0.005)

    def _lines(self) -> list[tuple[str, str, str, str]]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read().decode(errors="replace")
        matches = (_LINE.match(line) for line in text.splitlines())
        return [(match[1], match[2], match[3], match[4]) for match in matches if match]
