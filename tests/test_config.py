"""Invalid configurations are refused, and no configuration shows a secret."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import pickle
import pwd
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from babar_tls import connect
from babar_tls.config import (
    ChannelBinding,
    Config,
    Host,
    TlsMode,
    TlsNegotiation,
    TlsVerify,
    TlsVersion,
)
from babar_tls.config.enums import AUTH_METHODS, parse_require_auth
from babar_tls.errors import ConfigError

KEY = bytes(range(32))


def test_defaults_are_strict() -> None:
    """The defaults require TLS and full verification, and use channel binding if it is available."""
    config = Config(user="u")
    assert (config.host, config.port) == ("localhost", 5432)
    assert (config.tls_mode, config.tls_verify, config.tls_default_roots) == (TlsMode.REQUIRE, TlsVerify.FULL, True)
    assert (config.channel_binding, config.tls_fallback) == (ChannelBinding.PREFER, False)
    assert (config.tls_min_version, config.connect_timeout) == (TlsVersion.TLSV1_2, 10.0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"host": ""}, "host is empty"),
        ({"host": None}, "host is empty"),
        ({"host": b"h"}, "host must be a str, not bytes"),
        ({"host": "a\0b"}, "NUL"),
        ({"hostaddr": 1}, 'could not parse network address "1"'),
        ({"hostaddr": "localhost"}, 'could not parse network address "localhost"'),
        ({"port": 0}, 'invalid port number: "0"'),
        ({"port": 65536}, "invalid port number"),
        ({"port": -1}, "invalid port number"),
        ({"port": True}, "invalid port number"),
        ({"port": ""}, "invalid port number"),
        ({"port": "x"}, "invalid port number"),
        ({"port": "+5"}, "invalid port number"),
        ({"port": " 5"}, "invalid port number"),
        ({"port": "5_0"}, "invalid port number"),
        ({"port": "\u0665"}, "invalid port number"),
        ({"port": "65536"}, "invalid port number"),
        ({"port": "9" * 5000}, "invalid port number"),
        ({"port": 5432.0}, "invalid port number"),
        ({"port": None}, "invalid port number"),
        ({"user": b"u"}, "user must be a str"),
        ({"user": "a\0b"}, "NUL"),
        ({"user": "a\udc80"}, "lone surrogate"),
        ({"database": 1}, "database must be a str"),
        ({"database": "\ud800"}, "lone surrogate"),
        ({"application_name": "a\0"}, "NUL"),
        ({"options": ["-c"]}, "options must be a str"),
        ({"connect_timeout": 0}, "connect_timeout must be a positive number"),
        ({"connect_timeout": -1.0}, "connect_timeout must be"),
        ({"connect_timeout": math.inf}, "connect_timeout must be"),
        ({"connect_timeout": math.nan}, "connect_timeout must be"),
        ({"connect_timeout": "10"}, "connect_timeout must be"),
        ({"connect_timeout": True}, "connect_timeout must be"),
        ({"server_settings": 1}, "must be a mapping of str to str"),
        ({"server_settings": "abc"}, "must be a mapping of str to str"),
        ({"server_settings": [("a", "b", "c")]}, "must be a mapping of str to str"),
        ({"server_settings": {1: "a", "b": "c"}}, "must be a mapping of str to str"),
        ({"server_settings": {1: "a"}}, "must be a str"),
        ({"server_settings": {"a": 1}}, "must be a str, not int"),
        ({"server_settings": {"a": None}}, "must be a str, not NoneType"),
        ({"server_settings": {"client_encoding": None}}, "must be a str, not NoneType"),
        ({"host": "/\ud800"}, "lone surrogate"),
        ({"tls_root_cert_path": "/\ud800"}, "lone surrogate"),
        ({"tls_backend": []}, "tls_backend must be"),
        ({"keepalives": "no"}, "keepalives must be True or False"),
        ({"tls_default_roots": "no"}, "tls_default_roots must be True or False"),
        ({"scram_max_iterations": float("nan")}, "scram_max_iterations"),
        ({"scram_min_iterations": float("nan")}, "scram_min_iterations"),
        ({"connect_timeout": float("nan")}, "connect_timeout"),
        ({"server_settings": {"a": "\0"}}, "NUL"),
        ({"server_settings": {"a\0": "b"}}, "NUL"),
        ({"server_settings": {"a": "\ud800"}}, "lone surrogate"),
        ({"server_settings": {"\ud800": "a"}}, "lone surrogate"),
        ({"server_settings": {"": "a"}}, "may not contain ''"),
        ({"server_settings": {"_pq_.x": "a"}}, "may not contain '_pq_.x'"),
        ({"server_settings": {"user": "root"}}, "may not contain 'user'"),
        ({"server_settings": {"database": "d"}}, "may not contain 'database'"),
        ({"server_settings": {"application_name": "a"}}, "may not contain"),
        ({"server_settings": {"options": "a"}}, "may not contain"),
        ({"server_settings": {"client_encoding": "latin1"}}, "is not supported"),
        ({"server_settings": {"CLIENT_Encoding": "latin1"}}, "is not supported"),
        ({"server_settings": {"User": "root"}}, "may not contain 'User'"),
        ({"server_settings": {"replication": "database"}}, "may not contain 'replication'"),
        ({"tls_mode": "on"}, 'invalid tls_mode value: "on"'),
        ({"tls_mode": None}, "invalid tls_mode value"),
        ({"tls_mode": []}, "invalid tls_mode value"),
        ({"tls_verify": "maybe"}, "invalid tls_verify value"),
        ({"tls_verify": None}, "invalid tls_verify value"),
        ({"tls_negotiation": "x"}, "invalid sslnegotiation value"),
        ({"tls_min_version": "TLSv1.1"}, "invalid ssl_min_protocol_version value"),
        ({"tls_min_version": None}, "invalid ssl_min_protocol_version value"),
        ({"tls_max_version": "SSLv3"}, "invalid ssl_max_protocol_version value"),
        ({"channel_binding": "yes"}, "invalid channel_binding value"),
        ({"tls_min_version": "TLSv1.3", "tls_max_version": "TLSv1.2"}, "newer than tls_max_version"),
        ({"tls_negotiation": "direct", "tls_mode": "prefer"}, 'weak sslmode "prefer" may not be used with sslneg'),
        ({"tls_negotiation": "direct", "tls_mode": "disable"}, 'weak sslmode "disable"'),
        ({"tls_fallback": True}, "tls_fallback requires TlsMode.PREFER"),
        ({"tls_fallback": True, "tls_mode": "allow"}, "tls_fallback requires"),
        ({"tls_default_roots": False}, "root certificates are missing"),
        ({"tls_default_roots": False, "tls_verify": "ca"}, "root certificates are missing"),
        ({"tls_root_cert_path": ""}, "tls_root_cert_path must be a path"),
        ({"tls_root_cert_path": "a\0b"}, "tls_root_cert_path must be a path"),
        ({"tls_root_cert_path": b"a"}, "tls_root_cert_path must be a path"),
        ({"tls_server_name": ""}, "tls_server_name"),
        ({"tls_server_name": "a\0"}, "tls_server_name"),
        ({"tls_server_name": b"a"}, "tls_server_name"),
        ({"channel_binding_type": "tls-anything"}, "unknown channel binding type 'tls-anything'"),
        ({"channel_binding_type": []}, "unknown channel binding type"),
        ({"channel_binding": "require", "tls_mode": "disable"}, "channel binding required, but SSL not in use"),
        ({"channel_binding": "require", "host": "/tmp"}, "channel binding required, but SSL not in use"),  # noqa: S108 - nothing is created there
        ({"channel_binding": "require", "host": "@x"}, "channel binding required, but SSL not in use"),
        (
            {"channel_binding": "require", "channel_binding_type": "tls-unique", "tls_min_version": "TLSv1.3"},
            "tls-unique is not defined for TLS 1.3",
        ),
        ({"scram_client_key": KEY}, "must be set together"),
        ({"scram_server_key": KEY}, "must be set together"),
        ({"scram_client_key": KEY[:31], "scram_server_key": KEY}, "scram_client_key must be 32 bytes"),
        ({"scram_client_key": KEY, "scram_server_key": "x" * 32}, "scram_server_key must be 32 bytes"),
        ({"password": 1234}, "password must be str, bytes or a callable that returns one, not int"),
        ({"password": bytearray(b"x")}, "password must be str, bytes or a callable that returns one"),
        ({"password": "s3cret\ud800"}, "password contains a lone surrogate"),
        ({"scram_max_iterations": 0}, "scram_max_iterations must be"),
        ({"scram_max_iterations": "4096"}, "scram_max_iterations must be"),
        ({"scram_max_iterations": None}, "scram_max_iterations must be"),
        ({"scram_min_iterations": 0}, "scram_min_iterations must be"),
        ({"scram_min_iterations": True}, "scram_min_iterations must be"),
        ({"scram_min_iterations": "4096"}, "scram_min_iterations must be"),
        ({"scram_min_iterations": 4097, "scram_max_iterations": 4096}, "is more than scram_max_iterations=4096"),
        ({"require_auth": "scram"}, 'invalid require_auth value: "scram"'),
        ({"require_auth": "md5,"}, 'invalid require_auth value: ""'),
        ({"require_auth": "!"}, 'invalid require_auth value: ""'),
        ({"require_auth": "!!md5"}, 'invalid require_auth value: "!md5"'),
        (
            {"require_auth": "md5,!password"},
            'negative require_auth method "!password" cannot be mixed with',
        ),
        ({"require_auth": "md5,md5"}, 'method "md5" is specified more than once'),
        ({"require_auth": "!md5,!md5"}, "is specified more than once"),
        ({"require_auth": ["md5"]}, "require_auth must be a str"),
        ({"hosts": [("a", 1)]}, "hosts must be Host values"),
        ({"hosts": 1}, "hosts must be Host values"),
        ({"hosts": "a,b"}, "hosts must be Host values"),
        ({"hosts": [Host("a"), Host("b")], "host": "c"}, "hosts and host contradict each other"),
        (
            {"hosts": [Host("a"), Host("/run")], "channel_binding": "require"},
            "channel binding required, but SSL not in use",
        ),
        ({"target_session_attrs": "master"}, 'invalid target_session_attrs value: "master"'),
        ({"load_balance_hosts": True}, 'invalid load_balance_hosts value: "True"'),
        ({"keepalives_idle": 0}, "keepalives_idle must be a whole number, at least 1, not 0"),
        ({"keepalives_interval": 1.5}, "keepalives_interval must be"),
        ({"keepalives_count": True}, "keepalives_count must be"),
        ({"tcp_user_timeout": 2**31}, "tcp_user_timeout must be"),
        ({"require_peer": 0}, "require_peer must be a str"),
        ({"passfile": ""}, "passfile must be a path"),
        ({"tls_crl_path": b"x"}, "tls_crl_path must be a path"),
        ({"tls_client_cert": b""}, "tls_client_cert must be a path"),
        ({"tls_client_key": "/k"}, "tls_client_key is set without tls_client_cert"),
        ({"tls_client_cert": "/c", "tls_client_key_password": 1}, "tls_client_key_password must be"),
        ({"tls_client_cert_mode": "require", "tls_mode": "disable"}, "(sslcertmode), but TLS is disabled"),
        ({"tls_client_cert_mode": "on"}, 'invalid sslcertmode value: "on"'),
        ({"tls_sni": 1}, "tls_sni must be True or False"),
        ({"tls_common_name": None}, "tls_common_name must be True or False"),
    ],
)
def test_invalid_values_and_combinations_are_refused(overrides: dict[str, Any], message: str) -> None:
    """The constructor and `replace` refuse them."""
    with pytest.raises(ConfigError) as caught:
        Config(**{"user": "u", **overrides})
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValueError, match=r"."):
        Config(user="u").replace(**overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {"connect_timeout": None},
        {"connect_timeout": 1},
        {"port": 1},
        {"port": 65535},
        {"server_settings": {"client_encoding": "utf-8"}},
        {"server_settings": [("b", "1"), ("a", "")]},
        {"tls_max_version": None},
        {"tls_max_version": "TLSv1.2"},
        {"tls_fallback": True, "tls_mode": "prefer"},
        {"tls_default_roots": False, "tls_verify": "none"},
        {"tls_root_cert_path": Path("/roots.pem"), "tls_default_roots": False},
        {"channel_binding": "require", "host": "/tmp", "hostaddr": "192.0.2.7"},  # noqa: S108 - nothing is created there
        {"channel_binding": "require", "tls_mode": "prefer"},
        {"password": b"\xff\0"},
        {"scram_client_key": KEY, "scram_server_key": KEY},
        {"require_auth": ""},
        {"host": "/tmp/\udcff"},  # noqa: S108 - a file name that is not UTF-8
        {"hosts": [Host("a"), Host("b", 5433), Host("c", hostaddr="::1")], "load_balance_hosts": "random"},
        {"keepalives_idle": 1, "tcp_user_timeout": 2**31 - 1},
        {"tls_client_cert": Path("/c"), "tls_client_key": b"-----BEGIN", "tls_client_key_password": len},
        {"tls_pins": ["sha256:" + "0" * 64]},
    ],
)
def test_unusual_values_are_accepted(overrides: dict[str, Any]) -> None:
    """The configuration can be copied, pickled and hashed."""
    config = Config(user="u", **overrides)
    assert config.replace() == config
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - made by this test
    assert copy.copy(config) == copy.deepcopy(config) == config
    assert hash(config) == hash(config.replace())


def test_cached_values_do_not_change_config() -> None:
    """Comparisons, copies, pickles and texts do not include the cached values."""
    config, unused = (Config(user="u", password="hunter2", require_auth="scram-sha-256") for _ in range(2))
    assert config.targets is config.targets
    assert config.tls_parameters is config.tls_parameters
    for copied in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):  # noqa: S301 - as above
        assert copied == unused
        assert hash(copied) == hash(unused)
    assert repr(config) == repr(unused)
    assert dataclasses.asdict(config) == dataclasses.asdict(unused)
    assert config.replace(tls_sni=False).tls_parameters != config.tls_parameters
    assert config.replace(host="other").targets == (Host("other"),)


def test_enum_fields_accept_strings() -> None:
    config = Config(
        user="u",
        tls_mode="require",
        tls_verify="ca",
        tls_negotiation="direct",
        channel_binding="require",
        tls_min_version="TLSv1.3",
    )
    assert config == Config(
        user="u",
        tls_mode=TlsMode.REQUIRE,
        tls_verify=TlsVerify.CA,
        tls_negotiation=TlsNegotiation.DIRECT,
        channel_binding=ChannelBinding.REQUIRE,
        tls_min_version=TlsVersion.TLSV1_3,
    )


def test_config_is_immutable() -> None:
    """A later change to a mapping that was passed as an argument has no effect."""
    settings = {"b": "1", "a": "2"}
    config = Config(user="u", server_settings=settings)
    settings["c"] = "3"
    assert config.server_settings == (("a", "2"), ("b", "1"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.host = "evil"


def test_repr_and_str_show_no_secret() -> None:
    config = Config(
        user="u",
        password="s3cret",
        scram_client_key=b"c" * 32,
        scram_server_key=b"d" * 32,
        tls_client_cert=b"s3cret",
        tls_client_key=b"s3cret",
        tls_client_key_password="s3cret",
    )
    for shown in (repr(config), str(config), f"{config}"):
        assert "s3cret" not in shown
        assert "cccc" not in shown
        assert "dddd" not in shown


class UnhashablePassword:
    """A callable without a hash."""

    __hash__ = None  # type: ignore[assignment]  # as of a class with __eq__

    def __call__(self) -> str:
        raise AssertionError("it was called")


@pytest.mark.parametrize("name", ["password", "tls_client_key_password"])
def test_callable_password_is_compared_and_never_called_or_shown(name: str) -> None:
    one, other = UnhashablePassword(), UnhashablePassword()
    config = Config(user="u", tls_client_cert="/c", **{name: one})
    assert getattr(config, name) is one
    assert config == config.replace(port=5432)
    assert hash(config) == hash(config.replace(port=5432))
    assert config != config.replace(**{name: other})
    assert "UnhashablePassword" not in repr(config)


def test_callable_password_replaces_other_sources() -> None:
    """Like a password in the string, it makes the default password file unnecessary."""
    password = UnhashablePassword()
    environ = {"PGPASSWORD": "x", "PGPASSFILE": "/file"}
    config = Config.from_conninfo("postgresql://u:y@h", environ=environ, password=password)
    assert config.password is password


def test_host_with_slash_or_at_sign_is_socket_directory() -> None:
    """If an address is given, the host is a hostname."""
    assert Config(user="u", host="/run/postgresql").targets[0].is_unix_socket
    assert Config(user="u", host="@babar").targets[0].is_unix_socket
    assert not Config(user="u", host="/run", hostaddr="192.0.2.7").targets[0].is_unix_socket
    assert not Config(user="u", host="localhost").targets[0].is_unix_socket


def test_default_user_is_operating_system_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the operating system has no name for the user, the error contains a remedy."""
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    assert Config().user == pwd.getpwuid(os.geteuid()).pw_name

    def fails(_uid: int) -> None:
        raise KeyError("uid")

    monkeypatch.setattr(pwd, "getpwuid", fails)
    with pytest.raises(ConfigError, match=r"Config\(user=…\)"):
        Config()


class ShopConfig(Config):
    """A subclass that may know a secret."""

    token = "s3cret"


def test_changed_copy_of_a_subclass_is_of_the_subclass() -> None:
    for text in ("host=a user=u", "host=a,b user=u"):
        config = ShopConfig.from_conninfo(text)
        for copied in (config, config.replace(port=1), config.at(config.targets[0])):
            assert type(copied) is ShopConfig


def test_copy_without_secrets_has_nothing_of_a_subclass() -> None:
    config = ShopConfig(user="u", password="s3cret")
    object.__setattr__(config, "key", "s3cret")
    for copied in (config.without_password(), config.without_secrets()):
        assert type(copied) is Config
        assert copied == Config(user="u")
        assert not hasattr(copied, "token")
        assert not hasattr(copied, "key")


def test_replace_with_several_hosts() -> None:
    """`host` is the first of several hosts. A new host replaces all; a new port applies to all."""
    hosts = (Host("a", 1), Host("b", 2, "192.0.2.7"))
    config = Config(user="u", hosts=hosts)
    assert (config.host, config.port, config.hostaddr) == ("a", 1, None)
    assert config.targets == hosts
    assert config.at(hosts[1]) == Config(user="u", host="b", port=2, hostaddr="192.0.2.7")
    assert config.replace(host="c", port=3).targets == (Host("c", 3),)
    assert config.replace(port=1).replace(host="c").targets == (Host("c", 1),)
    assert Config(user="u", host="a", hostaddr="192.0.2.1").replace(host="c").targets == (Host("c"),)
    assert Config(user="u", host="a").replace(hostaddr="::1").targets == (Host("a", 5432, "::1"),)
    assert config.replace(port=3).targets == (Host("a", 3), Host("b", 3, "192.0.2.7"))
    assert config.replace(hosts=[Host("d"), Host("e")]).host == "d"
    single = Config(user="u", host="a", port=7)
    assert single.replace(hosts=single.hosts) == single
    assert Config(user="u", hosts=[Host("a", 7)]) == Config(user="u", host="a", port=7)
    assert Config(user="u").targets == (Host(),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "c"}, "have several ports"),
        ({"hostaddr": "::1"}, "hostaddr is ambiguous"),
        ({"hosts": []}, "hosts is empty"),
    ],
)
def test_ambiguous_change_of_several_hosts_is_refused(changes: dict[str, Any], message: str) -> None:
    """Otherwise a connection could go to a server that the caller did not mean."""
    hosts = [Host("a", 1), Host("b", 2)]
    for make in (Config(user="u", hosts=hosts).replace, lambda **kw: Config.from_conninfo("host=a,b port=1,2", **kw)):
        with pytest.raises(ConfigError, match=message):
            make(**changes)


def test_new_client_certificate_removes_key() -> None:
    """`replace` with another certificate removes the key and its password, which belong to the old certificate."""
    config = Config(user="u", tls_client_cert="/c", tls_client_key="/k", tls_client_key_password="p")
    for certificate in (None, "/d"):
        other = config.replace(tls_client_cert=certificate)
        assert (other.tls_client_cert, other.tls_client_key, other.tls_client_key_password) == (certificate, None, None)
    assert config.replace(tls_client_cert="/d", tls_client_key="/l").tls_client_key == "/l"


@pytest.mark.parametrize("field", ["tls_client_cert", "tls_client_key"])
@pytest.mark.parametrize(
    "value",
    ["-----BEGIN PRIVATE KEY-----\ns3cret", "s3cret\n", bytearray(b"s3cret"), memoryview(b"s3cret"), ["s3cret"]],
)
def test_key_of_wrong_type_is_refused_without_being_shown(field: str, value: object) -> None:
    """The content of a file must be `bytes`."""
    with pytest.raises(ConfigError) as caught:
        Config(user="u", **{"tls_client_cert": "/c", field: value})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("sslmode", "tls_mode and tls_verify, or set sslmode in the connection string"),
        ("ssl", "tls_mode and tls_verify"),
        ("sslrootcert", "tls_root_cert_path"),
        ("dbname", "Use database"),
        ("requirepeer", "Use require_peer"),
        ("service", "Set service in the connection string"),
        ("dsn", "first argument"),
        ("tls_verfy", "'tls_verify'"),
        ("db", "Use database"),
        ("username", "Use user"),
        ("timeout", "connect_timeout"),
        ("geheim", "not a field"),
    ],
)
def test_arguments_that_are_no_fields_are_refused_with_a_remedy(name: str, remedy: str) -> None:
    for function, call in (
        ("connect", lambda **fields: connect("host=192.0.2.1 user=u", **fields)),
        ("connect", lambda **fields: connect(Config(user="u"), **fields)),
        ("from_conninfo", lambda **fields: Config.from_conninfo("user=u", **fields)),
        ("replace", Config(user="u").replace),
    ):
        with pytest.raises(TypeError, match=rf"^{function}\(\) got an unexpected keyword argument '{name}'") as caught:
            call(**{name: "x"})
        assert remedy in str(caught.value)


def test_port_from_the_environment_is_a_number() -> None:
    for config in (
        Config(user="u", port="6000"),
        Config(user="u").replace(port="6000"),
        Config.from_conninfo("user=u host=localhost sslmode=verify-full", port="6000").replace(tls_default_roots=True),
        Config(user="u", hosts=[Host(port="6000")]),
    ):
        assert (config.port, config.targets[0].port) == (6000, 6000)
        assert config.targets == Config(user="u", port=6000).targets
    several = Config(user="u", hosts=[Host("a"), Host("b", 7)]).replace(port="8")
    assert [host.port for host in several.hosts] == [8, 8]
    assert several.port == 8


@pytest.mark.parametrize("overrides", [{"host": "h"}, {"hosts": [Host("h"), Host("i")]}])
def test_host_as_argument_replaces_all_hosts_of_string(overrides: dict[str, Any]) -> None:
    config = Config.from_conninfo("host=a,b hostaddr=192.0.2.1,192.0.2.2 user=u sslmode=disable", **overrides)
    assert config == Config(user="u", tls_mode="disable", **overrides)


def test_port_as_argument_applies_to_all_hosts_of_string() -> None:
    config = Config.from_conninfo("host=a,b port=1,2 user=u sslmode=disable", port=3)
    assert config.targets == (Host("a", 3), Host("b", 3))


def test_empty_hostaddr_is_ignored() -> None:
    """The host can then be a socket directory."""
    assert Config(user="u", host="/run", hostaddr="").targets[0].is_unix_socket


def test_replacing_tls_mode_removes_fallback() -> None:
    """The fallback is a part of libpq's ``prefer``."""
    config = Config.from_conninfo("host=h user=u sslmode=prefer")
    assert config.tls_fallback
    assert not config.replace(tls_mode="require").tls_fallback
    assert config.replace(port=1).tls_fallback


def test_huge_finite_timeout_is_accepted() -> None:
    """An infinite timeout is refused."""
    assert Config(user="u", connect_timeout=1e10).connect_timeout == 1e10
    for timeout in (10**400, float("inf")):
        if timeout == float("inf"):
            with pytest.raises(ConfigError):
                Config(user="u", connect_timeout=timeout)
        else:
            assert Config(user="u", connect_timeout=timeout).connect_timeout == timeout


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (None, None),
        ("", None),
        ("scram-sha-256", {"scram-sha-256"}),
        ("md5,password", {"md5", "password"}),
        ("none", {"none"}),
        ("!password,!md5", {"gss", "sspi", "scram-sha-256", "oauth", "none"}),
    ],
)
def test_require_auth_allows_methods_as_in_libpq(text: str | None, allowed: set[str] | None) -> None:
    """The value lists the allowed methods, or negated methods that are excluded."""
    assert parse_require_auth(text) == allowed
    assert Config(user="u", require_auth=text).allowed_auth == allowed


@given(st.lists(st.sampled_from(AUTH_METHODS), unique=True, min_size=1))
def test_require_auth_and_its_negation_are_complementary(methods: list[str]) -> None:
    """Each method is allowed by either the list or its negation."""
    allowed = parse_require_auth(",".join(methods))
    others = parse_require_auth(",".join(f"!{method}" for method in methods))
    assert allowed is not None
    assert others is not None
    assert allowed | others == set(AUTH_METHODS)
    assert not allowed & others


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.text(max_size=3), max_size=2),
)
FIELDS = [item.name for item in dataclasses.fields(Config) if item.name != "user"]


@given(st.dictionaries(st.sampled_from(FIELDS), values, max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # the first example loads tables of Unicode
def test_arbitrary_values_raise_only_config_error(overrides: dict[str, Any]) -> None:
    try:
        Config(user="u", **overrides)
    except ConfigError:
        pass


@pytest.mark.parametrize("value", ["verify-ca", "verify-full"])
def test_value_of_sslmode_is_translated_by_the_remedy(value: str) -> None:
    with pytest.raises(ConfigError, match="invalid tls_mode value") as caught:
        Config(host="h", tls_mode=value)
    fields = dict(re.findall(r'(\w+)="(\w+)"', caught.value.remedy or ""))
    assert Config(host="h", **fields).tls_verify is Config.from_conninfo(f"sslmode={value} sslrootcert=/x").tls_verify
