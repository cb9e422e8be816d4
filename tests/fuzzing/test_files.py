"""Password and service files: any content is read as libpq reads it, and errors show nothing of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from babar_tls.conninfo import passfile, resolve
from babar_tls.conninfo import service as service_module
from babar_tls.conninfo.passfile import find_password
from babar_tls.errors import ConfigError, Error

from .mutations import edited
from .profile import corpus, failure, fuzz

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the permissions of password files are those of POSIX")

PASSWORD_FILES = corpus("passfile")
SERVICE_FILES = corpus("service")
SECRETS = ("Zq7Wx3kA", "vB9tRm2LuE")


@pytest.fixture
def pq() -> Any:
    module = pytest.importorskip("psycopg.pq", reason="libpq is the oracle: pip install psycopg[binary]")
    if module.version() < 180000:
        pytest.skip("older versions of libpq know fewer keywords")
    return module


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that only its owner can read, in an environment in which nothing else is configured."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    path = tmp_path / "file"
    path.touch(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path))
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    return path


def connection(pq: Any, text: str) -> Any:
    """Start a connection of libpq, which evaluates its parameters and files, and stops at an address that is none."""
    return pq.PGconn.connect_start(f"hostaddr=none port=5432 {text}".encode())


# Password files ----------------------------------------------------------------------------------------------------

HOSTS = ("h", "a:b", "a\\b", "127.0.0.1", "localhost")
FIELDS = st.sampled_from([b"*", b"*", b"h", b"a\\:b", b"a:b", b"a\\\\b", b"", b"x", b"\\*", b"localhost"])
LINES = st.builds(
    lambda start, host, rest, end: start + b":".join([host, *rest]) + end,
    st.sampled_from([b"", b"", b"", b"#", b" "]),
    FIELDS,
    st.tuples(
        st.sampled_from([b"5432", b"*", b"*", b"5433", b"05432"]),
        st.sampled_from([b"d", b"*", b"*", b"\\d", b"x"]),
        st.sampled_from([b"u", b"*", b"*", b"U"]),
        st.text("ab:\\ #é\u00a0", max_size=6).map(str.encode) | st.binary(max_size=4) | st.sampled_from([b"Zq7Wx3kA"]),
    ),
    st.sampled_from([b"\n", b"\n", b"\r\n", b"", b"\r\r\n", b"\\\n"]),
)
PIECES = st.sampled_from([b":", b"\\", b"*", b"\n", b"\r", b"#", b"", b"\xff", b"h:5432:d:u:"])


@fuzz(1, data=st.data(), lines=st.lists(LINES, max_size=4), host=st.sampled_from(HOSTS))
def test_password_is_the_one_that_libpq_finds(
    data: st.DataObject, lines: list[bytes], host: str, pq: Any, file: Path
) -> None:
    content = data.draw(edited(b"".join(lines), PIECES))
    # libpq reads lines as strings of C, and continues one with a NUL in it by the next: no editor writes such a file.
    check_password_file(content.replace(b"\0", b""), host, pq, file)


def check_password_file(content: bytes, host: str, pq: Any, file: Path) -> None:
    file.write_bytes(content)
    found = find_password(str(file), host, 5432, "d", "u")
    quoted = host.replace("\\", "\\\\")
    theirs = connection(pq, f"host='{quoted}' dbname=d user=u passfile='{file}'").password or None
    assert (found.encode() if isinstance(found, str) else found) == theirs


@fuzz(2, content=st.binary(max_size=80) | st.lists(LINES, max_size=4).map(b"".join), host=st.text(max_size=6))
def test_any_password_file_gives_a_password_or_none(content: bytes, host: str, file: Path) -> None:
    file.write_bytes(content)
    host = host.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    try:
        found = find_password(str(file), host, 5432, "d", "u")
    except Error as exc:
        assert not any(secret in str(exc) for secret in SECRETS)  # noqa: PT017 - an error is not required
    else:
        assert found is None or (found and isinstance(found, str | bytes))


# Service files -----------------------------------------------------------------------------------------------------

SERVICE_LINES = st.sampled_from(
    [
        b"[s]",
        b"[s] ",
        b"[t]",
        b"[s",
        b"dbname=a",
        b"dbname=b ",
        b" options = c",
        b"options=d",
        b"application_name=\xc3\xa9",
        b"password=Zq7Wx3kA",
        b"password Zq7Wx3kA",
        b"pasword=vB9tRm2LuE",
        b"vB9tRm2LuE",
        b"ldap://Zq7Wx3kA",
        b"service=Zq7Wx3kA",
        b"sslmode=Zq7Wx3kA",
        b"user=",
        b"=",
        b"#",
        b"",
        b"x",
        b"options=" + b"Zq7Wx3kA" * 127,
        b"\xff=\xff",
    ]
)
SERVICE_PIECES = st.sampled_from([b"=", b"[", b"]", b"\n", b"\r", b"\0", b" ", b"\x0b", b"#", b"", b"\xff", b"[s]\n"])
SERVICES = st.builds(
    lambda first, lines: b"\n".join([*first, *lines]),
    st.sampled_from([[b"[s]"], []]),
    st.lists(SERVICE_LINES, max_size=6),
)


def read_by_libpq(pq: Any) -> tuple[dict[str, str], str]:
    """Return the values that libpq has for service "s", or none and the first line of its error."""
    found = connection(pq, "service=s")
    values = {
        option.keyword.decode(): os.fsdecode(option.val)
        for option in found.info
        if option.val not in (None, b"", option.compiled)
    }
    return values, "" if values else os.fsdecode(found.error_message).splitlines()[0]


def read_by_us() -> tuple[dict[str, str], str]:
    try:
        settings = resolve("hostaddr=none port=5432 service=s")
    except ConfigError as exc:
        return {}, str(exc).splitlines()[0]
    return {name: setting.value for name, setting in settings.items()}, ""


def check_service_file(content: bytes, pq: Any, file: Path) -> None:
    if b"ldap" in content:
        return  # libpq would ask a directory server
    if any(b"\0" in line and len(line) > 1000 for line in content.split(b"\n")):
        return  # to libpq a NUL ends the line, which is then not too long; here it is
    file.write_bytes(content)
    theirs, their_error = read_by_libpq(pq)
    ours, our_error = read_by_us()
    assert our_error == their_error
    for added in ("user", "passfile", "sslcertmode", "servicefile", "dbname"):  # libpq fills in its defaults
        if not ours.get(added) or added == "servicefile":
            theirs.pop(added, None)
            ours.pop(added, None)
    defaults = {option.keyword.decode(): os.fsdecode(option.compiled or b"") for option in pq.Conninfo.get_defaults()}
    assert {name: value for name, value in ours.items() if value not in ("", defaults.get(name))} == theirs


@fuzz(2, data=st.data(), content=SERVICES)
def test_service_file_says_what_it_says_to_libpq(data: st.DataObject, content: bytes, pq: Any, file: Path) -> None:
    check_service_file(data.draw(edited(content, SERVICE_PIECES)), pq, file)


@fuzz(2, data=st.data(), content=SERVICES | st.binary(max_size=60).map(b"[s]\n".__add__))
def test_error_about_a_service_file_shows_nothing_of_it(data: st.DataObject, content: bytes, file: Path) -> None:
    file.write_bytes(data.draw(edited(content, SERVICE_PIECES)))
    error: Error | None = None
    try:
        resolve("service=s", environ={"PGSERVICEFILE": str(file), "HOME": "/", "PGSYSCONFDIR": "/"})
    except Error as exc:
        error = exc
    assert error is None or not any(secret in str(error) for secret in SECRETS)


# Stored files and sanity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PASSWORD_FILES)
def test_stored_password_files(name: str, pq: Any, file: Path) -> None:
    for host in HOSTS:
        check_password_file(PASSWORD_FILES[name], host, pq, file)


@pytest.mark.parametrize("name", SERVICE_FILES)
def test_stored_service_files(name: str, pq: Any, file: Path) -> None:
    check_service_file(SERVICE_FILES[name], pq, file)


def test_missing_escape_is_caught(pq: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passfile, "_unescape", lambda field: field.partition(b":")[0])
    assert isinstance(failure(test_password_is_the_one_that_libpq_finds, pq=pq, file=file), AssertionError)


def test_service_file_error_that_shows_the_line_is_caught(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    correct = service_module._pair

    def broken(line: bytes, where: str) -> tuple[str, str]:
        return correct(line, where + os.fsdecode(line))

    monkeypatch.setattr(service_module, "_pair", broken)
    assert isinstance(failure(test_error_about_a_service_file_shows_nothing_of_it, file=file), AssertionError)


def test_last_value_in_place_of_the_first_is_caught(pq: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    correct = service_module._section

    def broken(path: str, name: str) -> dict[str, str] | None:
        values = correct(path, name)
        return None if values is None else {keyword: value + "x" for keyword, value in values.items()}

    monkeypatch.setattr(service_module, "_section", broken)
    assert isinstance(failure(test_service_file_says_what_it_says_to_libpq, pq=pq, file=file), AssertionError)
