"""Every configuration error contains a remedy, and following the remedy avoids that error."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Config, ConfigError, Host
from babar_tls.conninfo.keywords import KEYWORDS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")

FIELDS = {field.name for field in dataclasses.fields(Config)}
#: Names that a remedy may contain: keywords, environment variables, fields, and options of the functions.
NAMES = (
    set(KEYWORDS)
    | {keyword.envvar for keyword in KEYWORDS.values() if keyword.envvar}
    | FIELDS
    | {"allow_files", "Config", "conninfo", "libpq", "URI", "password", "keyword", "host"}
)

STRINGS = [
    "user",
    "user='x",
    "usr=x",
    "host=h;user=u",
    "postgresql://h:x",
    "postgresql://a@b@c",
    "postgresql://u:p/w@h",
    "postgresql://u:p w@h",
    "postgresql://[::1",
    "postgresql://[]",
    "postgresql://[::1]x",
    "postgresql://h?user",
    "postgresql://h?user=a=b",
    "postgresql://h?usr=a",
    "postgresql://h?nonsense=a",
    "postgresql://h/%zz",
    "postgresql://h/%00",
    "postgresql://h/%ff",
    "postgresql://u:***@h",
    "user=a\0b",
    "port=x",
    "port=0",
    "port=65536",
    "port=1,2",
    "host=a,b hostaddr=::1",
    "hostaddr=x",
    "sslmode=x",
    "sslmode=verify-ca sslrootcert=system",
    "sslmode=prefer sslnegotiation=direct",
    "sslnegotiation=x",
    "sslcertmode=x",
    "sslcertmode=require sslmode=disable",
    "sslcert=/c sslkey=token:key",
    "channel_binding=x",
    "channel_binding=require sslmode=disable",
    "channel_binding=require host=/run",
    "channel_binding=require scram_channel_binding=",
    "scram_channel_binding=x",
    "scram_client_key=x",
    "scram_client_key=AAAA",
    f"scram_client_key={'A' * 43}=",
    "connect_timeout=x",
    "keepalives=x",
    "require_auth=x",
    "require_auth=md5,!password",
    "require_auth=!md5,password",
    "require_auth=md5,md5",
    "target_session_attrs=x",
    "load_balance_hosts=x",
    "ssl_min_protocol_version=x",
    "ssl_max_protocol_version=TLSv1.1",
    "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
    "min_protocol_version=3.2 max_protocol_version=3.0",
    "min_protocol_version=x",
    "client_encoding=LATIN1",
    "replication=database",
    "gssencmode=require",
    "gssencmode=x",
    "service=none",
    "service=none servicefile=/none",
    "service='\ud800'",
    "tls_sni=x",
    "tls_mode=x",
    "tls_pins=x",
    "tls_groups='?'",
    "tls_backend='' tls_default_roots=0",
    "scram_max_iterations=x",
    "server_settings=x",
    "server_settings='user=x'",
    "sslmode=prefer tls_pins=sha256:" + "0" * 64,
    "tls_fallback=1 tls_mode=require",
]

PIN = "sha256:" + "0" * 64
ARGUMENTS: list[dict[str, Any]] = [
    {"host": ""},
    {"host": 5},
    {"host": "a\0"},
    {"host": "\ud800"},
    {"host": "/\ud800"},
    {"port": 0},
    {"port": "x"},
    {"hosts": 5},
    {"hosts": ["a"]},
    {"hosts": [Host("a")], "host": "b"},
    {"hostaddr": "x"},
    {"user": 5},
    {"user": "a\0"},
    {"user": "\ud800"},
    {"password": 5},
    {"password": "\ud800"},
    {"passfile": ""},
    {"passfile": 5},
    {"server_settings": 5},
    {"server_settings": {"a": 5}},
    {"server_settings": {"user": "x"}},
    {"server_settings": {"replication": "1"}},
    {"server_settings": {"client_encoding": "LATIN1"}},
    {"server_settings": {"": "x"}},
    {"connect_timeout": 0},
    {"connect_timeout": "x"},
    {"keepalives": "no"},
    {"keepalives_idle": 0},
    {"tls_mode": "x"},
    {"tls_mode": "disable", "tls_client_cert_mode": "require"},
    {"tls_mode": "prefer", "tls_negotiation": "direct"},
    {"tls_mode": "prefer", "tls_pins": [PIN]},
    {"tls_backend": 5},
    {"tls_server_name": ""},
    {"tls_server_name": b"x"},
    {"tls_server_name": "a\0"},
    {"tls_root_cert_path": 5},
    {"tls_default_roots": False},
    {"tls_pins": "x"},
    {"tls_pins": ["x"]},
    {"tls_groups": "HIGH:!aNULL"},
    {"tls_client_cert": ""},
    {"tls_client_cert": b""},
    {"tls_client_cert": "-----BEGIN CERTIFICATE-----"},
    {"tls_client_cert": 5},
    {"tls_client_key": "/k"},
    {"tls_client_key_password": 5},
    {"tls_client_key_password": "\ud800"},
    {"tls_min_version": "TLSv1.3", "tls_max_version": "TLSv1.2"},
    {"tls_fallback": True},
    {"channel_binding": "require", "tls_mode": "disable"},
    {"channel_binding": "require", "host": "/run"},
    {"channel_binding": "require", "channel_binding_type": "tls-unique", "tls_min_version": "TLSv1.3"},
    {"channel_binding_type": "x"},
    {"scram_client_key": b"x", "scram_server_key": b"x"},
    {"scram_client_key": bytes(32)},
    {"scram_max_iterations": 0},
    {"require_auth": 5},
    {"require_auth": "x"},
    {"require_auth": "md5,md5"},
    {"require_auth": "md5,!password"},
]

OTHERS = [
    lambda: Config.from_conninfo("sslcert=/x", allow_files=False),
    lambda: Config(hosts=[Host("a"), Host("b")]).replace(hosts=[]),
    lambda: Config(hosts=[Host("a", 1), Host("b", 2)]).replace(host="c"),
    lambda: Config(hosts=[Host("a"), Host("b")]).replace(hostaddr="::1"),
    lambda: Config(password=b"x").to_conninfo(),
    lambda: Config(host="a,b").to_conninfo(),
    lambda: Config(user="u", tls_client_key_password=lambda: "x").to_conninfo(),
]


def check_remedy(error: ConfigError) -> None:
    assert error.remedy
    words = set(re.findall(r"\w+", error.remedy))
    assert words & NAMES, error.remedy
    # Each name=value pair in a remedy uses an existing name.
    for name in re.findall(r"\b([a-z]\w+)=\S", error.remedy):
        assert name in NAMES | {"options", "hide_password"}, error.remedy


@pytest.mark.parametrize("text", STRINGS)
def test_every_refused_string_has_a_remedy(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_conninfo(text)
    check_remedy(caught.value)


@pytest.mark.parametrize("fields", ARGUMENTS, ids=repr)
def test_every_refused_field_has_a_remedy(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**fields)
    check_remedy(caught.value)


@pytest.mark.parametrize("call", OTHERS)
def test_every_other_refusal_has_a_remedy(call: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    check_remedy(caught.value)


@pytest.mark.parametrize("content", ["[s]\nx", "[s]\nservice=t", "[s]\nldap://x", "[s]\n" + "x" * 2000])
def test_every_refused_service_file_has_a_remedy(content: str, home: Path) -> None:
    (home / ".pg_service.conf").write_text(content)
    with pytest.raises(ConfigError) as caught:
        Config.from_conninfo("service=s")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("refused", "followed"),
    [
        ("sslmode=verify-ca sslrootcert=system", "sslmode=verify-full sslrootcert=system"),
        ("sslmode=prefer sslnegotiation=direct", "sslmode=verify-full sslnegotiation=direct sslrootcert=/r"),
        ("sslmode=prefer sslnegotiation=direct", "sslmode=prefer"),
        ("channel_binding=require host=/run", "host=/run"),
        ("channel_binding=require host=/run", "host=localhost channel_binding=require"),
        ("channel_binding=require sslmode=disable", "channel_binding=require sslmode=verify-full"),
        ("sslcertmode=require sslmode=disable", "sslcertmode=require sslmode=verify-full"),
        ("sslcertmode=require sslmode=disable", "sslmode=disable"),
        (f"sslmode=prefer tls_pins={PIN}", f"sslmode=require tls_pins={PIN}"),
        ("min_protocol_version=3.2 max_protocol_version=3.0", "max_protocol_version=3.0"),
        ("min_protocol_version=3.2 max_protocol_version=3.0", "min_protocol_version=3.2 max_protocol_version=latest"),
        ("gssencmode=require", "gssencmode=prefer"),
        ("client_encoding=LATIN1", "client_encoding=utf8"),
        ("ssl_max_protocol_version=TLSv1.1", "ssl_max_protocol_version=TLSv1.2"),
        ("ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2", "ssl_max_protocol_version=TLSv1.3"),
        ("tls_fallback=1 tls_mode=require", "tls_fallback=1 tls_mode=prefer"),
        ("postgresql://h?ssl=require", "postgresql://h?sslmode=require"),
        ("postgresql://u:***@h", "postgresql://u:%2A%2A%2A@h"),
        ("postgresql://h?schema=a", "postgresql://h?options=-csearch_path%3Da"),
        ("schema=a", "options=-csearch_path=a"),
        ("statement_timeout=5s", "options=-cstatement_timeout=5s"),
    ],
)
def test_following_a_remedy_leads_to_a_configuration(refused: str, followed: str) -> None:
    with pytest.raises(ConfigError):
        Config.from_conninfo(refused)
    Config.from_conninfo(followed)
