"""Any value of a field, keyword or environment variable results in a connect or an `Error`."""

from __future__ import annotations

import dataclasses
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from babar_tls import Config, Error, Host, Session
from babar_tls.conninfo.keywords import KEYWORDS
from babar_tls.testing import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from babar_tls.testing import ScriptedPeer, ServerCertificate

FIELDS = [field.name for field in dataclasses.fields(Config)]
LONG = "a" * 100_000
TEXTS = ["", "\ud800", "a\ud800b", "\udcff", "\0", "a\0b", LONG, "/" + LONG, "@" + LONG, "1" * 100_000, "é" * 10_000]
TEXTS += ["/\ud800", "@\udcff", "a\nb", "\u202e", "-1", "0", "1e400", "nan", "/dev/zero", "/", "true"]
SHORT = [text for text in TEXTS if len(text) < 100]
OTHERS: list[Any] = [
    b"",
    b"\0",
    b"\xff",
    b"a" * 100_000,
    bytearray(b"x"),
    None,
    True,
    0,
    -1,
    10**400,
    float("nan"),
    float("inf"),
    1e300,
    1j,
    [],
    ["\ud800"],
    [5],
    (),
    {},
    {"a": 5},
    {"\ud800": "x"},
    {"a": "\ud800"},
    {"a": "\0"},
    {LONG: LONG},
    [("a", "b", "c")],
    object(),
    str,
    Host,
    Host("a"),
    [Host("a"), Host("b")],
]
#: With /dev/zero: reads of `passfile` and key files are bounded.
MANY = [*TEXTS, *OTHERS]


def check_texts(error: Error) -> None:
    """Check that the error's texts can be encoded and are bounded."""
    text = f"{error} {error.remedy}"
    text.encode()
    assert len(text) < 12_000
    assert "\0" not in text


@pytest.fixture(scope="module")
def server(certificate: ServerCertificate) -> Iterator[ScriptedServer]:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()

    with ScriptedServer(script, tls=certificate) as running:
        yield running


@pytest.mark.parametrize("name", FIELDS)
def test_any_field_value_results_in_a_connect_or_an_error(
    name: str, config: Config, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the key log can have any name
    base = {"connect_timeout": 5.0, "hostaddr": "127.0.0.1", "port": server.port, "user": "u", "password": "p"}
    if name in ("host", "hosts"):
        base.pop("hostaddr")
    for value in MANY:
        fields = {"host": "localhost", "tls_root_cert_path": config.tls_root_cert_path, "tls_default_roots": False}
        try:
            built = Config(**{**base, **fields, name: value})
            repr(built)
        except Error as error:
            check_texts(error)
            continue
        if name in ("port", "hostaddr", "hosts") or (name == "host" and not built.targets[0].is_unix_socket):
            continue  # do not connect to other machines
        with pytest.raises(Error) as caught:
            Session.connect(built)
        check_texts(caught.value)


def quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.mark.parametrize("name", KEYWORDS)
def test_any_keyword_value_results_in_a_configuration_or_an_error(name: str) -> None:
    for value in [*SHORT, LONG]:
        encoded = quote(value, safe="", errors="surrogatepass")
        for text in (f"{name}={quoted(value)}", f"{name}={value}", f"postgresql://?{name}={encoded}"):
            for allow_files in (True, False):
                try:
                    Config.from_conninfo(text, environ={}, allow_files=allow_files)
                except Error as error:
                    check_texts(error)


@pytest.mark.parametrize("name", [*(key.envvar for key in KEYWORDS.values() if key.envvar), "HOME", "PGSYSCONFDIR"])
def test_any_environment_value_results_in_a_configuration_or_an_error(name: str) -> None:
    for value in [*SHORT, LONG]:
        for environ in ({name: value}, {name: value, "PGSERVICE": "s"}):
            try:
                Config.from_conninfo("", environ=environ)
            except Error as error:
                check_texts(error)


@pytest.mark.parametrize("style", ["blocking", "asyncio"], indirect=True)
@pytest.mark.parametrize("host", [LONG, "\u202e", "a b", "é" * 1000, "a\nb", ".", "a..b"])
def test_any_hostname_results_in_an_error(
    host: str, style: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .scripts import connect

    def not_found(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    with pytest.raises(Error) as caught:
        connect(config.replace(host=host), style)
    check_texts(caught.value)


def test_password_bytes_that_are_not_utf_8_are_kept() -> None:
    """Libpq uses the bytes of the environment. Python represents them as surrogates (PEP 383)."""
    assert Config.from_conninfo("", environ={"PGPASSWORD": "p\udcff"}).password == b"p\xff"
    assert Config.from_conninfo("password=p\udcff", environ={}).password == b"p\xff"
    assert Config.from_conninfo("sslpassword=p\udcff", environ={}).tls_client_key_password == b"p\xff"
