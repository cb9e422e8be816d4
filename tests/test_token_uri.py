"""PKCS #11 URIs as client keys: syntax, connection strings, and backends that do not support them."""

from __future__ import annotations

import asyncio
import re
import socket
import string
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls import AsyncSession, Config, ConfigError, Session
from babar_tls.backends import Capabilities, available_backends, get_backend
from babar_tls.config.token_uri import as_token_uri, check_key_uri, is_token_uri
from babar_tls.explain.consequences import find_consequences
from babar_tls.tls.support import lacks

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "pkcs11:token=app;object=client"
CERTIFICATE = "pkcs11:token=app;object=client;type=cert"
TOKEN: dict[str, Any] = {"user": "u", "tls_client_cert": "/c.crt", "tls_client_key": KEY}

NAMES = st.sampled_from(["token", "serial"]) | st.text(
    string.ascii_letters + string.digits + "-_", min_size=1, max_size=8
).filter(lambda name: not name.lower().startswith("pin"))
PERCENT = st.integers(0, 255).map("%{:02X}".format)


def pairs(characters: str, separator: str, least: int) -> st.SearchStrategy[str]:
    value = st.lists(st.sampled_from(characters) | PERCENT, max_size=6).map("".join)
    found = st.dictionaries(NAMES, value, min_size=least, max_size=4)
    return found.map(lambda items: separator.join(f"{name}={value}" for name, value in items.items()))


UNRESERVED = string.ascii_letters + string.digits + "-._~:[]@!$'()*+,="
PATHS = pairs(UNRESERVED + "&", ";", 1)
QUERIES = pairs(UNRESERVED + "/?|", "&", 1)


def is_free_of_pins(uri: str) -> bool:
    return not re.search(r"[;?&](?:pin-value|pin-source|pinfile)=", uri.lower().replace("pkcs11:", ";", 1))


@given(scheme=st.sampled_from(["pkcs11:", "PKCS11:", "Pkcs11:"]), path=PATHS, query=st.none() | QUERIES)
def test_uri_of_the_grammar_is_accepted(scheme: str, path: str, query: str | None) -> None:
    attributes = path if query is None else f"{path}?{query}"
    assert is_token_uri(scheme + attributes)
    assert as_token_uri("key", scheme + attributes) == f"pkcs11:{attributes}"


@given(text=st.text(max_size=40) | st.text(UNRESERVED + "%;?&/|#\\ \n\x1b", max_size=40))
def test_accepted_uri_is_harmless(text: str) -> None:
    """It is printable ASCII without spaces, its escapes are complete, and it contains no PIN."""
    try:
        found = as_token_uri("key", f"pkcs11:{text}")
    except ConfigError:
        return
    assert found.isascii()
    assert found.isprintable()
    assert not set(found) & set(' #\\"<>^`{}')
    assert is_free_of_pins(found)
    assert len(unquote_to_bytes(found)) == len(found) - 2 * found.count("%")


@given(
    path=PATHS, name=st.sampled_from(["pin-value", "pin-source", "PIN-VALUE", "pinfile"]), place=st.sampled_from(";?&")
)
def test_uri_with_a_pin_is_refused_without_showing_it(path: str, name: str, place: str) -> None:
    with pytest.raises(ConfigError, match="contains the PIN of a token") as caught:
        as_token_uri("key", f"pkcs11:{path}{place}{name}=hunter2")
    assert "hunter2" not in str(caught.value)
    assert caught.value.remedy is not None
    assert "tls_client_key_password" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:",
        "pkcs11:?module-name=x",
        "pkcs11:token",
        "pkcs11:token=a;",
        "pkcs11:token=a;;object=b",
        "pkcs11:token=a b",
        "pkcs11:token=%4",
        "pkcs11:token=%zz",
        "pkcs11:token=ä",
        "pkcs11:token=a\n",
        "pkcs11:token=a?",
        "pkcs11:token=a;token=b",
        "pkcs11:token=a?x=1&x=2",
        "pkcs11:pkcs11:token=a",
        f"pkcs11:token={'a' * 2048}",
    ],
)
@pytest.mark.parametrize("field", ["tls_client_key", "tls_client_cert"])
def test_malformed_uri_is_refused(field: str, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"{field} is not a valid PKCS #11 URI") as caught:
        Config(**{**TOKEN, field: text})
    assert caught.value.remedy


@pytest.mark.parametrize(
    "attributes",
    [
        "object=client",
        "manufacturer=SoftHSM%20project;object=client",
        "slot-id=1;object=client",
        "library-manufacturer=x;object=client",
        "token=;object=client",
        "token=%00;object=client",
        "serial=%00app;object=client",
        "Token=app;object=client",
        "xtoken=app;object=client",
        "object=a&token=app",
        "object=client?token=app",
    ],
)
def test_key_without_a_token_is_refused(attributes: str) -> None:
    """The PIN would be sent to the first token that matches. GnuTLS ignores slot-id, and a NUL matches every token."""
    with pytest.raises(ConfigError, match="tls_client_key does not name its token") as caught:
        Config(**{**TOKEN, "tls_client_key": f"pkcs11:{attributes}"})
    assert "token=" in (caught.value.remedy or "")
    with pytest.raises(ConfigError, match="tls_client_key does not name its token"):
        Config.from_conninfo(f"user=u sslcert=/c sslkey='pkcs11:{attributes}'", environ={})


@pytest.mark.parametrize("attributes", ["object=k;token=a", "serial=01;id=%00", "token=a%00b", "token=%20;serial="])
def test_key_with_a_token_or_a_serial_number_is_accepted(attributes: str) -> None:
    assert Config(**{**TOKEN, "tls_client_key": f"pkcs11:{attributes}"}).tls_client_key == f"pkcs11:{attributes}"


@given(path=PATHS, query=st.none() | QUERIES)
def test_key_is_accepted_only_with_a_value_that_selects_its_token(path: str, query: str | None) -> None:
    attributes = dict(part.split("=", 1) for part in path.split(";"))
    values = [unquote_to_bytes(attributes.get(name, "")) for name in ("token", "serial")]
    uri = f"pkcs11:{path}" if query is None else f"pkcs11:{path}?{query}"
    if any(value and value[0] for value in values):
        check_key_uri(uri)
    else:
        with pytest.raises(ConfigError, match="does not name its token"):
            check_key_uri(uri)


def test_certificate_does_not_have_to_name_its_token() -> None:
    """It is read without the PIN."""
    assert Config(**{**TOKEN, "tls_client_cert": "pkcs11:object=client"}).tls_client_cert == "pkcs11:object=client"


def test_no_file_of_a_uri_is_looked_for() -> None:
    config = Config(**TOKEN)
    assert (config.tls_client_cert, config.tls_client_key) == ("/c.crt", KEY)
    assert Config(**{**TOKEN, "tls_client_cert": CERTIFICATE}).tls_client_cert == CERTIFICATE


@pytest.mark.parametrize("key", [None, "/c.key", b"-----BEGIN"])
def test_certificate_in_a_token_requires_a_key_in_a_token(key: str | bytes | None) -> None:
    with pytest.raises(ConfigError, match="tls_client_key is not a key in a token"):
        Config(user="u", tls_client_cert=CERTIFICATE, tls_client_key=key)


@pytest.mark.parametrize("certificate", ["/c.crt", CERTIFICATE])
def test_connection_string_may_name_a_key_in_a_token(certificate: str) -> None:
    config = Config.from_conninfo(f"user=u sslcert='{certificate}' sslkey='{KEY}' sslpassword=1234", environ={})
    assert (config.tls_client_cert, config.tls_client_key) == (certificate, KEY)
    assert config.tls_client_key_password == "1234"
    assert Config.from_conninfo(config.to_conninfo(), environ={}) == config
    uri = Config.from_conninfo("postgresql://u@h/?sslcert=/c&sslkey=pkcs11:token%3Da%2520b%3Bobject%3Dk", environ={})
    assert uri.tls_client_key == "pkcs11:token=a%20b;object=k"


def test_default_files_are_not_combined_with_a_uri(tmp_path: Any) -> None:
    """A key in a token has the default certificate file, if it exists. The key of a token's certificate has no file."""
    environ = {"HOME": str(tmp_path)}
    with pytest.raises(ConfigError, match="tls_client_key is set without tls_client_cert"):
        Config.from_conninfo(f"user=u sslkey='{KEY}'", environ=environ)
    (tmp_path / ".postgresql").mkdir()
    for name in ("postgresql.crt", "postgresql.key"):
        (tmp_path / ".postgresql" / name).touch()
    config = Config.from_conninfo(f"user=u sslkey='{KEY}'", environ=environ)
    assert config.tls_client_cert == str(tmp_path / ".postgresql" / "postgresql.crt")
    with pytest.raises(ConfigError, match="tls_client_key is not a key in a token"):
        Config.from_conninfo(f"user=u sslcert='{CERTIFICATE}'", environ=environ)


def test_untrusted_string_may_not_name_a_token() -> None:
    with pytest.raises(ConfigError, match='"sslkey" names a file, which allow_files=False does not allow'):
        Config.from_conninfo(f"user=u sslkey='{KEY}'", allow_files=False, environ={})


def test_libpq_cannot_use_a_uri() -> None:
    with pytest.raises(ConfigError, match="tls_client_key is a PKCS #11 URI, which libpq cannot use"):
        Config(**TOKEN).to_libpq()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


@pytest.mark.parametrize("backend", ["stdlib", "openssl", "rustls"])
def test_backend_refuses_a_token_before_it_connects(backend: str, listener: socket.socket) -> None:
    if backend not in available_backends():
        pytest.skip(f"the {backend} backend is not installed")
    config = Config(host="127.0.0.1", port=listener.getsockname()[1], tls_backend=backend, connect_timeout=10, **TOKEN)
    text = f"the {backend} backend cannot use a client key in a PKCS #11 token"
    with pytest.raises(ConfigError, match=text) as caught:
        Session.connect(config)
    assert caught.value.remedy is not None
    assert "babar-tls-gnutls" in caught.value.remedy
    with pytest.raises(ConfigError, match=text):
        asyncio.run(AsyncSession.connect(config))
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert "use a client key in a PKCS #11 token" in find_consequences(config)["Backend"]
    assert KEY in find_consequences(config)["Client certificate"]


def test_backend_for_tokens_only_refuses_a_file() -> None:
    capabilities = Capabilities(version="0", tls_versions=get_backend("stdlib").capabilities.tls_versions)
    tokens = {**vars(capabilities), "client_keys": ("PKCS #11",)}
    file = Config(user="u", tls_client_cert="/c", tls_client_key="/k").tls_parameters
    token = Config(**TOKEN).tls_parameters
    assert [lack.what for lack in lacks(file, Capabilities(**tokens))] == ["use a client key in a file"]
    assert not list(lacks(token, Capabilities(**tokens)))
    for parameters in (file, token):
        assert [lack.what for lack in lacks(parameters, capabilities)] == ["present a client certificate"]
