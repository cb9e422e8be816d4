"""Host names: one form for DNS, SNI and certificates, and a `ConfigError` for an invalid name."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from babar_tls import Config, ConfigError, Host, connect
from babar_tls.net import sockets
from babar_tls.net.interruption import Interruption
from babar_tls.protocol.negotiation import server_name
from babar_tls.x509.idna import as_address, ascii_name, check_host

if TYPE_CHECKING:
    from collections.abc import Callable

#: Values that are not hosts: too long, not an address, or not text.
IMPOSSIBLE = {
    "a long name": "a." * 127 + "com",
    "100 kB": "x" * 100_000,
    "100 kB of labels": "x." * 50_000,
    "100 kB in another script": "\u00fc" * 100_000,
    "a zone of 5000 digits": "fe80::1%" + "1" * 5000,
    "a zone that is too large a number": "fe80::1%4294967296",
    "an empty zone": "fe80::1%",
    "a zone with a NUL": "fe80::1%a\0",
    "a NUL": "a\0b",
    "a NUL after an address": "127.0.0.1\0",
    "a lone surrogate": "a\ud800b",
}

#: Invalid DNS names. A `Config` may contain them, because no name is needed without TLS and with `hostaddr`.
NOT_IN_DNS = {
    "an empty label": "a..b",
    "an empty first label": ".example.com",
    "a dot": ".",
    "two dots at the end": "example.com..",
    "a long label": "x" * 64,
    "a long label in another script": "\u00fc" * 60,
    "a label that is mapped to nothing": "\u00ad.example",
    "a character that is mapped to a slash": "\u2100.example",
    "a dot of another script, twice": "a\u3002\u3002b",
}


@pytest.fixture
def without_idna(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as if the package idna was not installed."""
    monkeypatch.setitem(sys.modules, "idna", None)


@pytest.fixture(params=["with idna", "without idna"])
def either(request: pytest.FixtureRequest) -> None:
    """Run with the package idna, and as if it was not installed."""
    if request.param == "without idna":
        request.getfixturevalue("without_idna")
    else:
        pytest.importorskip("idna")


PLACES: dict[str, Callable[[str], Any]] = {
    "host": lambda text: Config(user="x", host=text),
    "hosts": lambda text: Config(user="x", hosts=[Host("a"), Host(text)]),
    "hostaddr": lambda text: Config(user="x", host="a", hostaddr=text),
    "tls_server_name": lambda text: Config(user="x", host="a", tls_server_name=text),
    "replace": lambda text: Config(user="x").replace(host=text),
}


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_invalid_host_is_a_config_error_in_every_field(place: str, case: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PLACES[place](IMPOSSIBLE[case])
    assert len(str(caught.value)) < 500
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("key", ["host", "hostaddr"])
@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_invalid_host_in_a_connection_string_is_a_config_error(key: str, case: str) -> None:
    text = IMPOSSIBLE[case]
    if "\ud800" in text:
        pytest.skip("a URI cannot contain it")
    for conninfo in (
        f"user=x sslmode=require host=localhost {key}='{text}'",
        f"postgresql://x@/db?{key}={quote(text)}",
    ):
        with pytest.raises(ConfigError) as caught:
            Config.from_conninfo(conninfo, environ={})
        assert len(str(caught.value)) < 1000


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("case", NOT_IN_DNS)
def test_name_that_dns_cannot_have_is_a_config_error_of_connect(case: str) -> None:
    text = NOT_IN_DNS[case]
    with pytest.raises(ConfigError, match="is not a host name"):
        ascii_name(text)
    with pytest.raises(ConfigError, match="is not a host name"):
        connect(Config(user="x", host=text))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for names in ({"host": text}, {"tls_server_name": text}):
            place: dict[str, Any] = {"hostaddr": "127.0.0.1", "port": listener.getsockname()[1], **names}
            with pytest.raises(ConfigError, match="is not a host name"):
                connect(Config(user="x", tls_negotiation="direct", **place))


@pytest.mark.parametrize(
    "host",
    ["db", "db.example.com", "db.example.com.", "my_db", "_db.x", "*", "a b", "[::1]", "1234", "127.1", "xn--a", "A.B"],
)
def test_possible_host_name_is_accepted(host: str) -> None:
    assert ascii_name(host) == host
    assert Config(user="x", host=host).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%eth0", "fe80::1%4294967295"])
def test_addresses_are_hosts(host: str) -> None:
    assert str(as_address(host)) == host
    assert Config(user="x", host=host, hostaddr=host, tls_server_name=host).hostaddr == host


#: IDNA 2003 maps the first five to other domains (UTS #46 §7), and does not support the characters of the last.
DEVIATIONS = {
    "fa\u00df.de": "xn--fa-hia.de",
    "STRA\u00dfE.de": "xn--strae-oqa.de",
    "\u03b2\u03cc\u03bb\u03bf\u03c2.com": "xn--nxasmm1c.com",
    "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com": "xn--mgba3gch31f060k.com",
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3.com": "xn--10cl1a0b660p.com",
    "stra\u1e9ee.de": "xn--strae-oqa.de",
}


@pytest.mark.parametrize("host", DEVIATIONS)
def test_name_is_converted_by_idna_2008(host: str) -> None:
    pytest.importorskip("idna")
    assert ascii_name(host) == DEVIATIONS[host]


@pytest.mark.usefixtures("without_idna")
@pytest.mark.parametrize("host", [*DEVIATIONS, "a.\u00df", "\u00df\u3002example"])
def test_without_idna_a_name_that_idna_2003_changes_is_refused(host: str) -> None:
    for config in (Config(user="x", host=host), Config(user="x", host=host, tls_mode="disable")):
        with pytest.raises(ConfigError, match="is not a host name") as caught:
            connect(config)
        assert "pip install" in (caught.value.remedy or "")
        assert "xn--" in (caught.value.remedy or "")
    with pytest.raises(ConfigError, match="is not a host name"):
        server_name(Config(user="x", tls_server_name=host))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER.Example", "xn--bcher-kva.Example"),
        ("my_db.b\u00fccher.example", "my_db.xn--bcher-kva.example"),
        ("\u65e5\u672c\u8a9e\u3002jp", "xn--wgv71a119e.jp"),
        ("b\u00fccher.example.", "xn--bcher-kva.example."),
        ("\ufb01.example", "fi.example"),
    ],
)
def test_name_that_both_standards_convert_alike_needs_no_package(host: str, name: str) -> None:
    assert ascii_name(host) == name


@pytest.mark.parametrize("host", ["fa\u00df.de", "b\u00fccher.example"])
def test_name_that_is_looked_up_is_the_name_that_is_verified(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`socket` would convert the name by IDNA 2003, and connect to a server of another domain."""
    pytest.importorskip("idna")
    asked: list[Any] = []

    def getaddrinfo(name: Any, *_arguments: Any, **_options: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 5432))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    config = Config(user="x", host=host)
    assert sockets.look_up(config.targets[0], 10, Interruption())
    assert asked == [server_name(config)]
    assert asked[0].isascii()


def test_zone_is_looked_up_and_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    found = (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("fe80::1", 5432, 0, 2))
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *_arguments, **_options: asked.append(name) or [found])
    config = Config(user="x", host="fe80::1%" + "e" * 60)
    assert sockets.look_up(config.targets[0], 10, Interruption())
    assert asked == [config.host]
    assert server_name(config) == "fe80::1"


@pytest.mark.usefixtures("either")
@given(st.text(max_size=80) | st.from_regex(r"[a-z0-9.:%\u00df-\u00ff-]{0,80}", fullmatch=True))
@example("xn--\u00fc")
@settings(deadline=None)
def test_any_text_is_a_host_or_a_config_error(text: str) -> None:
    """An accepted name is ASCII, of bounded length, and unchanged by a second conversion."""
    try:
        check_host("host", text)
        name = ascii_name(text)
    except ConfigError:
        return
    if as_address(text) is None:
        assert name.isascii()
        assert len(name) <= 254
        assert ascii_name(name) == name
        assert name.encode("idna").decode() == name
