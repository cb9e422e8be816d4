"""Password files are read as by libpq."""

from __future__ import annotations

import errno
import io
import logging
import os
import queue
import random
import socket
import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from babar_tls.config import Config
from babar_tls.conninfo.passfile import find_password

if TYPE_CHECKING:
    from pathlib import Path

CONNECTION = ("db.example.com", 5432, "shop", "ann")


def write(path: Path, content: bytes, mode: int = 0o600) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"db.example.com:5432:shop:ann:pw\n", "pw"),
        (b"db.example.com:5432:shop:ann:pw", "pw"),
        (b"db.example.com:5432:shop:ann:pw\r\n", "pw"),
        (b"*:*:*:*:pw\n", "pw"),
        (b"*:*:*:*: p w \n", " p w "),
        (b"\n#*:*:*:*:no\n*:*:*:*:pw\n", "pw"),
        (b" *:*:*:*:no\n*:*:*:*:pw\n", "pw"),
        (b"*:*:*:*:one\n*:*:*:*:two\n", "one"),
        (b"other:*:*:*:one\n*:5433:*:*:two\n*:*:other:*:three\n*:*:*:other:four\n", None),
        (b"*:*:*:ann\n*:*:*:*:pw\n", "pw"),
        (b"*:*:*:*:\n*:*:*:*:pw\n", None),
        (b"*:05432:*:*:pw\n", None),
        (b"DB.example.com:*:*:*:pw\n", None),
        (b"db.example.com*:*:*:*:pw\n", None),
        (b"**:*:*:*:pw\n", None),
        (b"\\*:*:*:*:pw\n", None),
        (b"\\d\\b.example.com:*:*:*:pw\n", "pw"),
        (b"*:*:*:*:a\\:b\\\\c\\d:rest\n", "a:b\\cd"),
        (b"*:*:*:*:a\\\n", "a\\"),
        (b"*:*:*:*:p\xc3\xa4\n", "pä"),
        (b"*:*:*:*:p\xff\n", b"p\xff"),
        (b"*:*:*:*:" + b"x" * 10_000 + b"\n", "x" * 10_000),
        (b"", None),
    ],
)
def test_lines_are_parsed_as_by_libpq(content: bytes, password: str | bytes | None, tmp_path: Path) -> None:
    """The first matching line is used. An asterisk matches any value, and a backslash escapes a colon."""
    assert find_password(write(tmp_path / "pgpass", content), *CONNECTION) == password


@pytest.mark.parametrize(
    ("line", "config"),
    [
        ("h:5432:ann:ann:pw", Config(host="h", user="ann")),
        ("h:5432:d:ann:pw", Config(host="h", user="ann", database="d")),
        ("h:5432:d:ann:pw", Config(host="h", hostaddr="192.0.2.7", user="ann", database="d")),
        ("192.0.2.7:*:*:*:pw", Config(host="192.0.2.7", hostaddr="192.0.2.7", user="ann")),
        ("2001\\:db8\\:\\:1:*:*:*:pw", Config(host="2001:db8::1", user="ann")),
        ("/srv/pg:*:*:*:pw", Config(host="/srv/pg", user="ann")),
        ("@pg:*:*:*:pw", Config(host="@pg", user="ann")),
        ("/run/postgresql:*:*:*:pw", Config(host="/run/postgresql", user="ann")),
        ("localhost:*:*:*:pw", Config(host="/run/postgresql", user="ann")),
        ("a\\:b:*:*:*:pw", Config(host="/\udcff", user="ann")),
    ],
)
def test_host_and_database_are_looked_up_as_by_libpq(line: str, config: Config, tmp_path: Path) -> None:
    """The host is a hostname, an address or a socket directory. The default database is the name of the user."""
    path = write(tmp_path / "pgpass", line.encode() + b"\n")
    expected = None if "b:" in line else "pw"
    assert config.replace(passfile=path).find_password() == expected


def test_missing_file_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A missing file, or none, is not reported either."""
    assert find_password(str(tmp_path / "missing"), *CONNECTION) is None
    assert Config(user="u").find_password() is None
    assert not caplog.records


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o666])
def test_file_with_group_or_world_access_is_ignored(
    mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning has the reason."""
    path = write(tmp_path / "pgpass", b"*:*:*:*:hunter2\n", mode)
    with caplog.at_level(logging.WARNING, "babar_tls"):
        assert find_password(path, *CONNECTION) is None
    assert f'password file "{path}" has group or world access; permissions should be u=rw (0600) or less' in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_file_with_owner_access_only_is_used(mode: int, tmp_path: Path) -> None:
    assert find_password(write(tmp_path / "pgpass", b"*:*:*:*:pw\n", mode), *CONNECTION) == "pw"


@pytest.mark.skipif(os.name != "posix", reason="directories and pipes are opened differently")
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_directory_and_pipe_are_ignored(make: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Opening a pipe does not block."""
    path = tmp_path / "pgpass"
    make(path, 0o600)
    with caplog.at_level(logging.WARNING, "babar_tls"):
        assert find_password(str(path), *CONNECTION) is None
    assert f'password file "{path}" is not a plain file' in caplog.text


# Comparison with libpq -----------------------------------------------------------------------------------------------


class Listener:
    """A server that requests cleartext passwords and records them."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.passwords: queue.Queue[bytes] = queue.Queue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(5)
                peer.recv(4096)
                peer.sendall(b"R\0\0\0\x08\0\0\0\x03")
                self.passwords.put(peer.recv(65536)[5:-1])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


def test_password_is_that_of_libpq(tmp_path: Path) -> None:
    """`find_password` returns the password that libpq sends, and `None` if libpq sends none."""
    psycopg = pytest.importorskip("psycopg", reason="libpq is the oracle: pip install psycopg[binary]")
    chance = random.Random(5432)  # noqa: S311 - the same files in every run
    listener = Listener()
    hosts = ("h", "a:b", "a\\b", "127.0.0.1")

    def field(known: str) -> bytes:
        text = chance.choice((known, known, "*", chance.choice(hosts), "x", ""))
        text = text.replace("\\", "\\\\").replace(":", "\\:") if chance.random() < 0.8 else text
        return text.encode()

    try:
        differences = []
        for _ in range(300):
            host = chance.choice(hosts)
            lines = []
            for _ in range(chance.randint(1, 4)):
                fields = [field(host), field(str(listener.port)), field("d"), field("u")]
                password = bytes(chance.choices(b"ab:\\ #*\xff\xc3", k=chance.randint(0, 5)))
                lines.append(chance.choice((b"", b"", b"#", b" ")) + b":".join([*fields, password]))
            ending = chance.choice((b"\n", b"\r\n"))
            path = write(tmp_path / "pgpass", ending.join(lines) + chance.choice((b"", ending)))
            address = f"host='{host}'".replace("\\", "\\\\") + f" hostaddr=127.0.0.1 port={listener.port}"
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(f"{address} user=u dbname=d sslmode=disable gssencmode=disable passfile={path}")
            theirs = listener.passwords.get(timeout=10) or None
            found = find_password(path, host, listener.port, "d", "u")
            ours = found.encode() if isinstance(found, str) else found
            if ours != theirs:
                differences.append((lines, host, theirs, ours))
        assert differences == []
    finally:
        listener.close()


# Unusual files -----------------------------------------------------------------------------------------------------


def warnings_of(caplog: pytest.LogCaptureFixture, path: str) -> str:
    """Return the logged warnings for a file that has no password for `CONNECTION`."""
    with caplog.at_level(logging.WARNING, "babar_tls"):
        assert find_password(path, *CONNECTION) is None
    return caplog.text


def test_huge_file_is_read_up_to_a_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "pgpass", b"*:*:*:nobody:pw\n" * 1000)
    with open(path, "r+b") as file:  # noqa: PTH123 - the path is a str
        file.truncate(3 << 30)
    tracemalloc.start()
    try:
        assert "has more than 16777216 bytes: the rest is not used" in warnings_of(caplog, path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_match_before_the_limit_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "pgpass", b"*:*:*:*:pw\n")
    os.truncate(path, 3 << 30)
    assert find_password(path, *CONNECTION) == "pw"


def test_many_lines_are_read_up_to_a_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "pgpass", b"#" * 1000 + b"\n" + (b"#" * 1000 + b"\n") * 17_000 + b"*:*:*:*:pw\n")
    assert "the rest is not used" in warnings_of(caplog, path)


def test_line_that_is_too_long_is_not_used_and_those_after_it_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = b"*:*:*:*:" + b"x" * 200_000
    with caplog.at_level(logging.WARNING, "babar_tls"):
        assert find_password(write(tmp_path / "pgpass", long + b"\n*:*:*:*:pw\n"), *CONNECTION) == "pw"
    assert caplog.text.count("has a line of more than 65536 bytes") == 1
    assert "xxx" not in caplog.text


def test_nul_ends_a_line(tmp_path: Path) -> None:
    assert find_password(write(tmp_path / "pgpass", b"*:*:*:*:pw\0rest\n"), *CONNECTION) == "pw"


@pytest.mark.skipif(os.name != "posix", reason="devices and links are POSIX's")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/tty", "/proc/self/mem", "/proc/kmsg"])
def test_device_is_ignored(device: str, tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    path.symlink_to(device)
    assert find_password(str(path), *CONNECTION) is None


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX's")
def test_loop_of_links_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pgpass"
    path.symlink_to(path)
    assert "could not open password file" in warnings_of(caplog, str(path))


@pytest.mark.parametrize("path", ["a" * 100_000, "a\0b", "\ud800"])
def test_impossible_name_is_ignored(path: str, caplog: pytest.LogCaptureFixture) -> None:
    assert "could not open password file" in warnings_of(caplog, path)
    assert len(caplog.text) < 10_000
    caplog.text.encode()


def test_read_that_fails_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def broken(descriptor: int, _mode: str) -> Broken:
        os.close(descriptor)
        return Broken()

    path = write(tmp_path / "pgpass", b"*:*:*:*:pw\n")
    monkeypatch.setattr(os, "fdopen", broken)
    assert f'could not read password file "{path}": {os.strerror(errno.EIO)}' in warnings_of(caplog, path)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    path = write(tmp_path / "pgpass", b"*:*:*:*:pw\n" * 10)
    before = os.dup(0)
    os.close(before)
    for _ in range(20):
        find_password(path, *CONNECTION)
        find_password(str(tmp_path), *CONNECTION)
    after = os.dup(0)
    os.close(after)
    assert after == before
