"""Several hosts, client certificates, CRLs and the keywords of this library in connection strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.config import (
    ChannelBinding,
    ClientCertMode,
    Config,
    Host,
    ProtocolVersion,
    TlsMode,
    TlsVerify,
    TlsVersion,
)
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("home")


def read(text: str) -> Config:
    return Config.from_conninfo(f"user=u {text}")


# Hosts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("host=a,b", [Host("a"), Host("b")]),
        ("host=a,b port=1", [Host("a", 1), Host("b", 1)]),
        ("host=a,b port=1,", [Host("a", 1), Host("b", 5432)]),
        ("host=a,b hostaddr=192.0.2.1,", [Host("a", hostaddr="192.0.2.1"), Host("b")]),
        ("hostaddr=192.0.2.1,::1", [Host("192.0.2.1", hostaddr="192.0.2.1"), Host("::1", hostaddr="::1")]),
        ("host=,b", [Host("localhost"), Host("b")]),
        ("host=/run/pg,b", [Host("/run/pg"), Host("b")]),
        ("host=/run/pg hostaddr=192.0.2.1", [Host("/run/pg", hostaddr="192.0.2.1")]),
        ("host=h hostaddr=192.0.2.1 port=1", [Host("h", 1, "192.0.2.1")]),
        ("hostaddr=192.0.2.1", [Host("192.0.2.1", hostaddr="192.0.2.1")]),
        ("port=1", [Host("localhost", 1)]),
    ],
)
def test_hosts_addresses_and_ports_are_paired(text: str, hosts: list[Host]) -> None:
    """A single port applies to all hosts. An empty entry selects the default."""
    config = read(text)
    assert list(config.targets) == hosts
    assert bool(config.hosts) == (len(hosts) > 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host=a,b hostaddr=192.0.2.1", "could not match 2 host names to 1 hostaddr values"),
        ("host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts"),
        ("port=1,2", "could not match 2 port numbers to 1 hosts"),
        ("host=a,b port=1,x", 'invalid integer value "x" for connection option "port"'),
        ("host=a,b port=1,0", 'invalid port number: "0"'),
        ("hostaddr=192.0.2.1,example.com", 'could not parse network address "example.com"'),
    ],
)
def test_lists_of_different_length_are_refused(text: str, message: str) -> None:
    """Invalid ports and addresses are refused too."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert message in str(caught.value)


def test_hosts_of_uri_have_own_ports() -> None:
    config = Config.from_conninfo(
        "postgresql://u@a:1,b,[::1]:2/d?target_session_attrs=standby&load_balance_hosts=random"
    )
    assert config.hosts == (Host("a", 1), Host("b"), Host("::1", 2))
    assert (config.target_session_attrs.value, config.load_balance_hosts.value) == ("standby", "random")


# Timers and other keywords ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("keepalives_idle=5 keepalives_interval=6 keepalives_count=7", (5, 6, 7, None)),
        ("keepalives_idle=0 keepalives_interval=-1 tcp_user_timeout=' 9 '", (None, None, None, 9)),
    ],
)
def test_zero_timers_select_system_default(text: str, fields: tuple[int | None, ...]) -> None:
    config = read(text)
    timers = (config.keepalives_idle, config.keepalives_interval, config.keepalives_count, config.tcp_user_timeout)
    assert timers == fields


FIELDS = [
    ("requirepeer=postgres", {"require_peer": "postgres"}),
    ("passfile=/p", {"passfile": "/p"}),
    ("passfile=/p password=x", {"passfile": "/p", "password": "x"}),
    ("sslkeylogfile=/k", {"tls_key_log_path": "/k"}),
    ("sslsni=0", {"tls_sni": False}),
    ("sslsni=''", {"tls_sni": False}),
    ("sslsni=yes", {"tls_sni": False}),
    ("sslsni=10", {"tls_sni": True}),
    ("ssl_min_protocol_version=tlsv1.3", {"tls_min_version": TlsVersion.TLSV1_3}),
    ("ssl_max_protocol_version=TLSV1.2", {"tls_max_version": TlsVersion.TLSV1_2}),
    ("max_protocol_version=3.2", {"max_protocol_version": ProtocolVersion.V3_2}),
    (
        "min_protocol_version=3.0 max_protocol_version=latest",
        {"max_protocol_version": ProtocolVersion.LATEST},
    ),
    (  # as in libpq, a later minimum selects the latest maximum
        "min_protocol_version=3.2",
        {"min_protocol_version": ProtocolVersion.V3_2, "max_protocol_version": ProtocolVersion.LATEST},
    ),
    ("sslcrl=/c", {"tls_crl_path": "/c"}),
    ("sslcrldir=/d", {"tls_crl_dir": "/d"}),
    ("sslpassword=x", {"tls_client_key_password": "x"}),
    ("sslcertmode=require", {"tls_client_cert_mode": ClientCertMode.REQUIRE}),
    (
        "scram_channel_binding=tls-exporter",
        {"channel_binding_type": "tls-exporter", "channel_binding": ChannelBinding.REQUIRE},
    ),
    ("scram_channel_binding=''", {"channel_binding": ChannelBinding.DISABLE}),
    (
        "sslmode=disable tls_mode='' scram_channel_binding=tls-exporter",
        {"channel_binding": ChannelBinding.REQUIRE, "channel_binding_type": "tls-exporter"},
    ),
    ("channel_binding_type='' scram_channel_binding=tls-exporter", {"channel_binding": ChannelBinding.REQUIRE}),
    ("sslmode=prefer tls_mode=''", {"tls_verify": TlsVerify.NONE}),
    ("tls_mode=prefer tls_fallback=1", {"tls_mode": TlsMode.PREFER, "tls_fallback": True}),
    ("sslmode=prefer tls_mode=require tls_verify=ca", {"tls_verify": TlsVerify.CA}),
    ("tls_backend=openssl tls_server_name=n", {"tls_backend": "openssl", "tls_server_name": "n"}),
    ("tls_os_roots=true tls_common_name=on", {"tls_os_roots": True, "tls_common_name": True}),
    ("tls_root_cert_path=/r tls_default_roots=no", {"tls_root_cert_path": "/r", "tls_default_roots": False}),
    ("tls_groups=X25519MLKEM768,x25519", {"tls_groups": ("X25519MLKEM768", "x25519")}),
    ("tls_ciphers=TLS_AES_256_GCM_SHA384", {"tls_ciphers": ("TLS_AES_256_GCM_SHA384",)}),
    (f"tls_pins=sha256:{'a' * 64},sha256:{'b' * 64}", {"tls_pins": (f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")}),
    (
        "channel_binding_type=tls-unique scram_key_cache=0",
        {"channel_binding_type": "tls-unique", "scram_key_cache": False},
    ),
    ("scram_max_iterations=4096", {"scram_max_iterations": 4096}),
    ("scram_min_iterations=4096", {"scram_min_iterations": 4096}),
    ("server_settings='a=b work_mem=\\'4 MB\\''", {"server_settings": {"a": "b", "work_mem": "4 MB"}}),
    ("channel_binding_type=tls-unique tls_server_name=n tls_server_name='' channel_binding_type=''", {}),
    ("sslcert=/c tls_client_cert='' tls_client_key=''", {}),
    ("connect_timeout=2.5", {"connect_timeout": 2.5}),
    ("password='' options='' dbname=''", {}),
]


@pytest.mark.parametrize(("text", "fields"), FIELDS)
def test_keywords_set_their_fields(text: str, fields: dict[str, Any]) -> None:
    """Keywords of this library take precedence. Empty values select the default."""
    assert read(f"host=h {text}") == Config(host="h", user="u", **fields)


def test_scram_keys_are_32_bytes_in_base64() -> None:
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    config = read(f"scram_client_key={key} scram_server_key={key}")
    assert config.scram_client_key == config.scram_server_key == bytes(range(32))


# Files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(home: Path) -> Path:
    """Return ``~/.postgresql`` with all default files except for a private key."""
    path = home / ".postgresql"
    path.mkdir()
    for name in ("root.crt", "root.crl", "postgresql.crt"):
        (path / name).touch()
    return path


@pytest.mark.parametrize("text", ["", "sslmode=require", "sslmode=verify-full", "sslcert='' sslkey=''"])
def test_default_files_are_used_if_they_exist(text: str, folder: Path) -> None:
    """The path of the key is set even if the file does not exist."""
    config = read(text)
    assert (config.tls_client_cert, config.tls_client_key) == (
        str(folder / "postgresql.crt"),
        str(folder / "postgresql.key"),
    )
    assert (config.tls_root_cert_path, config.tls_crl_path) == (str(folder / "root.crt"), str(folder / "root.crl"))


@pytest.mark.parametrize(
    ("text", "certificate", "key"),
    [
        ("sslmode=disable", None, None),
        ("sslmode=disable sslcert=/c sslkey=/k", None, None),
        ("sslcertmode=disable sslcert=/c sslkey=/k", None, None),
        ("sslcert=/c", "/c", "default"),
        ("sslcert=/c sslkey=/k", "/c", "/k"),
        ("sslcert=/c.P12", "/c.P12", None),
        ("sslcert=/c.pfx sslkey=/k", "/c.pfx", "/k"),
        ("sslkey=/k", "default", "/k"),
    ],
)
def test_client_certificate_is_named_or_default(
    text: str, certificate: str | None, key: str | None, folder: Path
) -> None:
    """No certificate is used if TLS or client certificates are disabled."""
    default = (str(folder / "postgresql.crt"), str(folder / "postgresql.key"))
    config = read(text)
    expected = tuple(
        path if word == "default" else word for word, path in zip((certificate, key), default, strict=True)
    )
    assert (config.tls_client_cert, config.tls_client_key) == expected
    assert (config.tls_client_cert_mode is ClientCertMode.DISABLE) == ("sslcertmode" in text)


def test_certificate_as_argument_removes_key_of_string(folder: Path) -> None:
    assert folder.exists()
    config = Config.from_conninfo("user=u", tls_client_cert=b"PEM")
    assert (config.tls_client_cert, config.tls_client_key) == (b"PEM", None)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("sslmode=disable", (None, None)),
        ("sslrootcert=system", (None, None)),
        ("sslrootcert=system sslcrl=/c", ("/c", None)),
        ("sslcrl=/c", ("/c", None)),
        ("sslcrldir=/d", (None, "/d")),
        ("sslcrl=/c sslcrldir=/d", ("/c", "/d")),
    ],
)
def test_default_crl_is_used_only_with_root_file(text: str, paths: tuple[str | None, str | None], folder: Path) -> None:
    """CRLs that the string names are used with all roots."""
    assert folder.exists()
    config = read(text)
    assert (config.tls_crl_path, config.tls_crl_dir) == paths


@pytest.mark.parametrize(
    ("text", "common_name"),
    [("", False), ("sslmode=verify-full", True), ("sslmode=verify-ca", False), ("sslrootcert=system", True)],
)
def test_common_names_are_accepted_only_with_sslmode_verify_full(text: str, common_name: bool, folder: Path) -> None:
    assert folder.exists()
    assert read(text).tls_common_name is common_name


def test_default_password_file_is_used_without_password(home: Path) -> None:
    assert read("").passfile is None
    (home / ".pgpass").touch()
    assert read("").passfile == read("passfile='' password=''").passfile == str(home / ".pgpass")
    assert read("password=x").passfile is None
    assert Config.from_conninfo("", environ={"PGPASSWORD": "x", "HOME": str(home)}).passfile is None
    assert Config.from_conninfo("", environ={"PGPASSFILE": "/p", "HOME": str(home)}).passfile == "/p"


def test_required_certificate_without_tls_is_refused() -> None:
    with pytest.raises(ConfigError, match="sslcertmode"):
        read("sslmode=disable sslcertmode=require")
