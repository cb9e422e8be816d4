"""`Config.to_conninfo`: the string gives the same fields on every machine."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from babar_tls.config import (
    ChannelBinding,
    ClientCertMode,
    Config,
    Host,
    LoadBalanceHosts,
    ProtocolVersion,
    TargetSessionAttrs,
    TlsMode,
    TlsNegotiation,
    TlsVerify,
    TlsVersion,
)
from babar_tls.config.enums import AUTH_METHODS, CHANNEL_BINDING_TYPES
from babar_tls.conninfo import paths
from babar_tls.conninfo.foreign_syntax import pasted_character
from babar_tls.conninfo.keywords import KEYWORDS, LIBPQ
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(
    st.sampled_from("ab='\\ \t\n;,%@/:?&#é\u00a0\u2028\U0001f418")
    | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    max_size=12,
)
WORD = TEXT.filter(bool)
NAME = (
    WORD.map(lambda text: text.replace(",", ""))
    .map(lambda text: text[:1] + text[1:].replace("@", ""))
    .filter(lambda text: text and pasted_character(text) is None)
)
PATH = st.one_of(WORD, WORD.map(lambda text: "/" + text), st.just("/r\udcff"), st.just("token:key"), st.just("system"))
ADDRESS = st.none() | st.ip_addresses().map(str)
HOST = st.builds(Host, NAME | st.sampled_from(["localhost", "/run/pg", "@pg"]), st.integers(1, 65535), ADDRESS)
POSITIVE = st.none() | st.integers(1, 2**31 - 1)
PIN = st.binary(min_size=32, max_size=32).flatmap(
    lambda digest: st.sampled_from(["sha256:", "spki-sha256:"]).map(lambda kind: kind + digest.hex())
)
KEY = st.none() | st.binary(min_size=32, max_size=32)
SETTING = WORD.map(lambda text: "".join(char for char in text if char not in "= \t\n\v\f\r")).filter(bool)

STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "host": NAME,
    "hostaddr": ADDRESS,
    "port": st.integers(1, 65535),
    "hosts": st.lists(HOST, max_size=3).map(tuple),
    "target_session_attrs": st.sampled_from(TargetSessionAttrs),
    "load_balance_hosts": st.sampled_from(LoadBalanceHosts),
    "user": WORD,
    "database": st.none() | TEXT,
    "password": st.none() | TEXT,
    "passfile": st.none() | PATH,
    "application_name": st.none() | TEXT,
    "options": st.none() | TEXT,
    "server_settings": st.dictionaries(SETTING, TEXT, max_size=3),
    "min_protocol_version": st.sampled_from(ProtocolVersion),
    "max_protocol_version": st.sampled_from(ProtocolVersion),
    "connect_timeout": st.none() | st.floats(1e-9, 1e9) | st.integers(1, 2**70),
    "keepalives": st.booleans(),
    "keepalives_idle": POSITIVE,
    "keepalives_interval": POSITIVE,
    "keepalives_count": POSITIVE,
    "tcp_user_timeout": POSITIVE,
    "require_peer": st.none() | TEXT,
    "tls_mode": st.sampled_from(TlsMode),
    "tls_verify": st.sampled_from(TlsVerify),
    "tls_backend": st.sampled_from(["stdlib", "openssl", "a b"]),
    "tls_negotiation": st.sampled_from(TlsNegotiation),
    "tls_server_name": st.none() | WORD,
    "tls_sni": st.booleans(),
    "tls_root_cert_path": st.none() | PATH,
    "tls_default_roots": st.booleans(),
    "tls_os_roots": st.booleans(),
    "tls_common_name": st.booleans(),
    "tls_pins": st.lists(PIN, max_size=2).map(tuple),
    "tls_groups": st.lists(st.sampled_from(["X25519MLKEM768", "x25519", "P-256"]), unique=True).map(tuple),
    "tls_ciphers": st.lists(st.sampled_from(["TLS_AES_256_GCM_SHA384", "AES128-SHA"]), unique=True).map(tuple),
    "tls_client_cert": st.none() | PATH,
    "tls_client_key": st.none() | PATH,
    "tls_client_key_password": st.none() | TEXT,
    "tls_client_cert_mode": st.sampled_from(ClientCertMode),
    "tls_crl_path": st.none() | PATH,
    "tls_crl_dir": st.none() | PATH,
    "tls_min_version": st.sampled_from(TlsVersion),
    "tls_max_version": st.none() | st.sampled_from(TlsVersion),
    "tls_key_log_path": st.none() | PATH,
    "tls_fallback": st.booleans(),
    "channel_binding": st.sampled_from(ChannelBinding),
    "channel_binding_type": st.none() | st.sampled_from(CHANNEL_BINDING_TYPES),
    "scram_key_cache": st.booleans(),
    "scram_client_key": KEY,
    "scram_server_key": KEY,
    "scram_min_iterations": st.integers(1, 2**20) | st.floats(1, 2**20, allow_nan=False),
    "scram_max_iterations": st.integers(2**20, 2**70) | st.floats(2**20, allow_nan=False),
    "pipelining": st.booleans(),
    "require_auth": st.none() | st.sampled_from([*AUTH_METHODS, "", "md5,password", "!none,!md5"]),
}


#: Keywords without a field. Their variables are used on each machine that reads the string.
NO_FIELD = {keyword.name for keyword in LIBPQ if keyword.field is None} - {
    *("host", "hostaddr", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir"),
}


@pytest.fixture(scope="module", autouse=True)
def other_machine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An environment and a home directory with another value for every field."""
    home = tmp_path_factory.mktemp("home")
    folder = home / ".postgresql"
    folder.mkdir()
    for name in ("root.crt", "root.crl", "postgresql.crt", "postgresql.key"):
        (folder / name).touch()
    (home / ".s.PGSQL.5432").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for keyword in KEYWORDS.values():
            if keyword.envvar and keyword.name not in NO_FIELD:
                patch.setenv(keyword.envvar, "hostile")
        patch.setenv("PGREQUIRESSL", "1")
        patch.setattr(paths, "SOCKET_DIRECTORIES", (str(home),))
        yield home


def test_every_field_has_a_strategy() -> None:
    """The strategies cover all fields of `Config`."""
    assert list(STRATEGIES) == [field.name for field in dataclasses.fields(Config)]


def coherent(fields: dict[str, Any]) -> dict[str, Any]:
    """Remove the most frequent contradictions, so that `Config` accepts most examples."""
    if fields.get("hosts"):
        for name in ("host", "hostaddr", "port"):
            fields.pop(name, None)
    if "tls_client_cert" not in fields or fields["tls_client_cert"] is None:
        fields.pop("tls_client_key", None)
    if fields.get("tls_fallback"):
        fields["tls_mode"] = TlsMode.PREFER
    if fields.get("tls_negotiation") is TlsNegotiation.DIRECT:
        fields["tls_mode"] = TlsMode.REQUIRE
        fields.pop("tls_fallback", None)
    if fields.get("scram_client_key") is None or fields.get("scram_server_key") is None:
        fields.pop("scram_client_key", None)
        fields.pop("scram_server_key", None)
    return fields


@settings(max_examples=250, deadline=None)
@given(st.fixed_dictionaries({}, optional=STRATEGIES))
def test_round_trip(fields: dict[str, Any]) -> None:
    """`Config.from_conninfo(config.to_conninfo()) == config`, with any environment and any default files."""
    try:
        config = Config(**coherent(fields))
    except ConfigError:
        assume(False)
    text = config.to_conninfo()
    assert Config.from_conninfo(text) == config
    assert Config.from_conninfo(text, environ={}) == config
    assert Config.from_conninfo(text).to_conninfo() == text


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_round_trip_of_each_field(data: st.DataObject) -> None:
    """Each field is written and read with all other fields at their defaults."""
    name = data.draw(st.sampled_from([*STRATEGIES]))
    try:
        config = Config(**{"user": "u", name: data.draw(STRATEGIES[name])})
    except ConfigError:
        assume(False)
    assert Config.from_conninfo(config.to_conninfo()) == config


#: The string of `Config(user="u")`.
DEFAULTS = (
    "host=localhost hostaddr='' port=5432 target_session_attrs=any load_balance_hosts=disable user=u dbname='' "
    "password='' passfile='' application_name='' options='' min_protocol_version=3.0 max_protocol_version=3.0 "
    "connect_timeout=10 requirepeer='' tls_mode=require tls_verify=full sslnegotiation=postgres sslsni=1 "
    "tls_root_cert_path='' tls_default_roots=1 tls_common_name=0 tls_client_cert='' tls_client_key='' "
    "sslcertmode=allow tls_crl_path='' tls_crl_dir='' ssl_min_protocol_version=TLSv1.2 ssl_max_protocol_version='' "
    "tls_fallback=0 channel_binding=prefer require_auth=''"
)


def test_string_of_defaults_contains_every_field() -> None:
    """The string contains every field that an environment variable or a default file could set."""
    assert Config(user="u").to_conninfo() == DEFAULTS


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"host": "h", "port": 1, "database": "d"}, ["host=h", "port=1", "dbname=d"]),
        ({"hosts": [Host("a"), Host("b")]}, ["host=a,b", "port=5432,5432"]),
        ({"hosts": [Host("a", 1, "::1"), Host("b", 1)]}, ["host=a,b", "hostaddr=::1,", "port=1,1"]),
        ({"password": "it's \\"}, [r"password='it\'s \\'"]),
        ({"connect_timeout": None}, ["connect_timeout=0"]),
        ({"connect_timeout": 2.5}, ["connect_timeout=2.5"]),
        ({"host": "@a;", "hostaddr": "192.0.2.7"}, ["host='@a;'", "hostaddr=192.0.2.7"]),
        ({"tls_mode": "disable"}, ["tls_mode=disable"]),
        ({"tls_root_cert_path": "/r", "tls_default_roots": False}, ["tls_root_cert_path=/r", "tls_default_roots=0"]),
        ({"tls_client_cert": "/c", "tls_client_key": "t:k"}, ["tls_client_cert=/c", "tls_client_key=t:k"]),
        ({"server_settings": {"work_mem": "4 MB"}}, [r"server_settings='work_mem=\'4 MB\''"]),
        ({"keepalives": False, "keepalives_idle": 7}, ["keepalives=0", "keepalives_idle=7"]),
        ({"application_name": "x;user=y"}, ["application_name='x;user=y'"]),
        ({"connect_timeout": 2**53 + 1}, ["connect_timeout=9007199254740993.0"]),
        ({"channel_binding_type": "tls-exporter"}, ["channel_binding_type=tls-exporter"]),
    ],
)
def test_fields_are_written_as_keywords(fields: dict[str, Any], texts: list[str]) -> None:
    """A field is written as libpq's keyword, or under its own name if libpq has no keyword for it."""
    config = Config(user="u", **fields)
    string = f" {config.to_conninfo()} "
    assert Config.from_conninfo(string) == config
    assert [text for text in texts if f" {text} " not in string] == []


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"password": b"hunter2"}, "password"),
        ({"password": "hunter2\0"}, "password"),
        ({"password": lambda: "hunter2"}, "password"),
        ({"tls_client_cert": b"hunter2"}, "tls_client_cert"),
        ({"tls_client_cert": "/c", "tls_client_key": b"hunter2:"}, "tls_client_key"),
        ({"tls_client_key_password": b"hunter2"}, "tls_client_key_password"),
        ({"tls_client_key_password": lambda: "hunter2"}, "tls_client_key_password"),
        ({"tls_backend": type("Engine", (), {"wrap": None})()}, "tls_backend"),
        ({"tls_backend": ""}, "tls_backend"),
        ({"server_settings": {"a b": "hunter2"}}, "server_settings"),
        ({"host": "a,b"}, "host"),
        ({"host": '"a"'}, "host"),
    ],
)
def test_values_that_no_string_can_contain_are_refused(fields: dict[str, Any], name: str) -> None:
    """The error names the field and does not show the value."""
    with pytest.raises(ConfigError, match=f"^{name} ") as caught:
        Config(user="u", **fields).to_conninfo()
    assert "hunter2" not in str(caught.value)


def test_password_file_is_used_without_password_and_passfile(other_machine: Path) -> None:
    """As in libpq, the user's password file is used if the string has neither a password nor a password file."""
    path = other_machine / ".pgpass"
    path.touch()
    text, with_password = Config(user="u").to_conninfo(), Config(user="u", password="p")
    assert Config.from_conninfo(text, environ={"HOME": str(other_machine)}) == Config(user="u", passfile=str(path))
    assert Config.from_conninfo(with_password.to_conninfo()) == with_password
    path.unlink()


def test_repr_shows_no_password() -> None:
    """The string contains the password, and repr does not."""
    config = Config(user="u", password="hunter2", tls_client_key_password="hunter2")
    assert config.to_conninfo().count("hunter2") == 2
    assert "hunter2" not in repr(Config.from_conninfo(config.to_conninfo()))


def test_address_with_zone_is_written() -> None:
    """A zone with a comma is refused."""
    config = Config(host="h", hostaddr="fe80::1%lo", user="u")
    assert Config.from_conninfo(config.to_conninfo()) == config
    assert ipaddress.ip_address("fe80::1%a,b")
    with pytest.raises(ConfigError, match="host contains a comma"):
        Config(host="h", hostaddr="fe80::1%a,b", user="u").to_conninfo()
