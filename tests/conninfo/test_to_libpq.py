"""`Config.to_libpq`: the keywords are at least as strict as the configuration, or the error names the fields."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from babar_tls.config import ChannelBinding, Config, Host, TlsMode, TlsVerify
from babar_tls.conninfo import paths
from babar_tls.conninfo.keywords import KEYWORDS, LIBPQ
from babar_tls.conninfo.libpq_tls import NO_FILE
from babar_tls.conninfo.syntax import quote
from babar_tls.errors import ConfigError
from babar_tls.x509.idna import as_address, ascii_name

from .test_format import NO_FIELD, STRATEGIES, coherent

if TYPE_CHECKING:
    from pathlib import Path

OWN_ROOTS: dict[str, Any] = {"user": "u", "tls_root_cert_path": "/root.crt", "tls_default_roots": False}
SCRAM_KEYS: dict[str, Any] = {"scram_client_key": b"c" * 32, "scram_server_key": b"s" * 32}

#: Fields that libpq has in another form, or that have no effect on security.
CHANGED = frozenset(
    [
        *("host", "hostaddr", "port", "hosts", "database", "password", "options", "server_settings"),
        *("connect_timeout", "tls_server_name", "tls_common_name", "pipelining", "scram_key_cache"),
        *("scram_max_iterations", "require_auth", "channel_binding_type", "tls_client_key", "tls_crl_path"),
    ]
)

#: Fields without effect if TLS is disabled, and if nothing is verified.
TLS = frozenset(name for name in STRATEGIES if name.startswith("tls_")) - {"tls_mode"}
ROOTS = frozenset(["tls_root_cert_path", "tls_default_roots", "tls_os_roots", "tls_crl_dir"])


def read_back(values: dict[str, str], environ: dict[str, str] | None = None) -> Config:
    return Config.from_conninfo(
        " ".join(f"{keyword}={quote(text)}" for keyword, text in values.items()), environ=environ
    )


@pytest.fixture
def hostile(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set every variable and create every default file."""
    folder = home / ".postgresql"
    folder.mkdir()
    for name in ("root.crt", "root.crl", "postgresql.crt", "postgresql.key"):
        (folder / name).touch()
    (home / ".pgpass").touch()
    (home / ".s.PGSQL.5432").touch()
    for keyword in KEYWORDS.values():
        if keyword.envvar and keyword.name not in NO_FIELD - {"gssencmode"}:
            monkeypatch.setenv(keyword.envvar, "hostile")
    monkeypatch.setenv("PGREQUIRESSL", "1")
    monkeypatch.setattr(paths, "SOCKET_DIRECTORIES", (str(home),))
    return home


def without_placeholders(name: str, value: object) -> object:
    return None if value == NO_FILE else value


def check_strictness(config: Config, back: Config) -> None:
    """Check that `back`, which has the meaning of the keywords, is at least as strict as `config`."""
    ignored = CHANGED | (TLS if config.tls_mode is TlsMode.DISABLE else frozenset())
    if config.tls_verify is TlsVerify.NONE:
        ignored |= ROOTS | {"tls_verify"}  # the root file that does not exist
    if back.tls_client_cert is None:
        assert config.tls_client_cert is None or config.tls_client_cert_mode.value == "disable" or TLS & ignored == TLS
        ignored |= {"tls_client_cert", "tls_client_cert_mode"}
    if config.password is not None or config.scram_client_key is not None:
        assert without_placeholders("passfile", back.passfile) is None
        ignored |= {"passfile"}
    if config.tls_client_cert is None or back.tls_client_cert is None:
        ignored |= {"tls_client_key_password"}
    for name in STRATEGIES.keys() - ignored:
        assert without_placeholders(name, getattr(back, name)) == getattr(config, name), name
    assert back.database == (config.database or config.user)
    assert back.connect_timeout == (config.connect_timeout and min(math.ceil(config.connect_timeout), 2**31 - 1))
    assert back.tls_mode is config.tls_mode
    assert (back.allowed_auth or set()) <= (config.allowed_auth or {"password", "md5", "scram-sha-256", "none"})
    assert config.server_settings or back.options == config.options
    assert len(back.targets) == len(config.targets)
    for host, ours in zip(back.targets, config.targets, strict=True):
        assert host.port == ours.port
        assert host.hostaddr in (ours.hostaddr, ours.host)
        name = (config.tls_server_name if config.tls_mode is not TlsMode.DISABLE else None) or ours.host
        name = ours.host if ours.is_unix_socket else name
        assert host.host == (name if ours.is_unix_socket or as_address(name) else ascii_name(name))


#: Values that libpq can represent most of the time, so that many examples reach the comparison.
FREQUENT: dict[str, Any] = {
    "tls_root_cert_path": st.sampled_from([None, "/root.crt"]),
    "server_settings": st.dictionaries(
        st.sampled_from(["work_mem", "a.b"]), STRATEGIES["application_name"].filter(bool)
    ),
    "tls_backend": st.just("stdlib"),
    "channel_binding_type": st.sampled_from([None, "tls-server-end-point"]),
    "password": st.none() | STRATEGIES["password"] | st.binary(max_size=9).filter(bool),
}
UNSUPPORTED = frozenset(
    ["tls_pins", "tls_groups", "tls_ciphers", "tls_os_roots", "tls_crl_path", "scram_min_iterations"]
)


@pytest.mark.usefixtures("hostile")
@settings(max_examples=400, deadline=None)
@given(st.fixed_dictionaries({}, optional={**STRATEGIES, **FREQUENT}), st.integers(13, 19), st.sampled_from(range(4)))
def test_keywords_are_at_least_as_strict_or_an_error_names_the_field(
    fields: dict[str, Any], major: int, kept: int
) -> None:
    """No variable and no default file changes this."""
    if kept:  # most random configurations have a field that libpq cannot represent
        fields = {name: value for name, value in fields.items() if name not in UNSUPPORTED}
        fields["tls_default_roots"] = fields.get("tls_root_cert_path") is None
    try:
        config = Config(**coherent(fields))
    except ConfigError:
        assume(False)
    try:
        values = config.to_libpq(major * 10000)
    except ConfigError as caught:
        error = caught
        values = None
    if values is None:
        assert f"libpq {major} cannot represent" in error.message
        assert error.remedy
        return
    assert all(isinstance(text, str) for text in values.values())
    assert all(KEYWORDS[keyword].since <= major for keyword in values)
    if major >= 18:
        back = read_back(values)
        assert read_back(values, {}) == back
        check_strictness(config, back)


@pytest.mark.parametrize("major", [13, 14, 15, 16, 17, 18])
def test_every_keyword_with_a_variable_is_written(major: int) -> None:
    """The exceptions decide neither the server nor its verification, nor a secret."""
    harmless = {"service", "servicefile", "krbsrvname", "gsslib", "gssdelegation"}
    known = {keyword.name for keyword in LIBPQ if keyword.envvar and keyword.since <= major}
    values = Config(**OWN_ROOTS, tls_sni=major > 13).to_libpq(major * 10000)
    assert known - values.keys() == harmless & known


def test_default_configuration_verifies_with_the_system_store() -> None:
    values = Config(user="u").to_libpq()
    assert values["sslmode"] == "verify-full"
    assert values["sslrootcert"] == "system"
    assert values["gssencmode"] == "disable"
    assert values["client_encoding"] == "UTF8"
    assert values["require_auth"] == "password,md5,scram-sha-256,none"
    assert values == Config(user="u").to_libpq(180000)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tls_verify": "ca"}, {"sslmode": "verify-ca", "sslrootcert": "/root.crt"}),
        ({"tls_verify": "none"}, {"sslmode": "require", "sslrootcert": NO_FILE}),
        ({"tls_mode": "disable"}, {"sslmode": "disable", "sslrootcert": NO_FILE}),
        ({"tls_mode": "allow", "tls_verify": "ca"}, {"sslmode": "allow", "sslrootcert": "/root.crt"}),
        (
            {"tls_mode": "prefer", "tls_fallback": True, "tls_verify": "none"},
            {"sslmode": "prefer", "require_auth": "md5,scram-sha-256,none"},
        ),
        ({"tls_verify": "none", "require_auth": "password"}, {"require_auth": "password"}),
        ({"tls_verify": "none", "require_auth": "!md5"}, {"require_auth": "scram-sha-256,none"}),
        (
            {"hosts": [Host("a"), Host("b", 2, "192.0.2.4")]},
            {"host": "a,b", "hostaddr": ",192.0.2.4", "port": "5432,2"},
        ),
        ({"tls_server_name": "db", "hostaddr": "::1"}, {"host": "db", "hostaddr": "::1"}),
        ({"tls_server_name": "db", "host": "192.0.2.4"}, {"host": "db", "hostaddr": "192.0.2.4"}),
        (
            {"host": "b\u00fccher.example", "password": "p", "passfile": "/p"},
            {"host": "xn--bcher-kva.example", "passfile": NO_FILE},
        ),
        ({"password": b"p\xc3\xa9"}, {"password": "pé", "passfile": NO_FILE}),
        ({"passfile": "/pass"}, {"password": "", "passfile": "/pass"}),
        ({"database": None}, {"dbname": "u"}),
        ({"connect_timeout": 2.5}, {"connect_timeout": "3"}),
        ({"connect_timeout": 1e300}, {"connect_timeout": "2147483647"}),
        ({"connect_timeout": None}, {"connect_timeout": "0"}),
        ({"server_settings": {"a": " b\\"}, "options": "-c x=y"}, {"options": r"-c x=y -c a=\ b\\"}),
        ({"server_settings": {"a": "b"}, "options": "-c x=y\\"}, {"options": "-c x=y -c a=b"}),
        ({"server_settings": {"a": "b"}, "options": "-c x=y\\\\"}, {"options": "-c x=y\\\\ -c a=b"}),
        ({"tls_client_cert": "/c"}, {"sslcert": "/c", "sslkey": "/c", "sslpassword": "", "sslcertmode": "allow"}),
        ({"tls_client_cert": "/c", "tls_client_key": "/k"}, {"sslcert": "/c", "sslkey": "/k"}),
        ({"tls_client_cert": "/c", "tls_client_cert_mode": "disable"}, {"sslcert": NO_FILE, "sslcertmode": "disable"}),
        ({"tls_client_cert_mode": "require"}, {"sslcert": NO_FILE, "sslcertmode": "require"}),
        ({}, {"sslcert": NO_FILE, "sslcertmode": "disable", "sslcrl": NO_FILE, "sslcrldir": ""}),
        ({"tls_crl_dir": "/crls"}, {"sslcrl": "", "sslcrldir": "/crls"}),
        (SCRAM_KEYS, {"scram_client_key": "Y2Nj" * 10 + "Y2M="}),
        ({**SCRAM_KEYS, "passfile": "/pass"}, {"passfile": NO_FILE, "require_auth": "scram-sha-256,none"}),
        ({**SCRAM_KEYS, "password": "p"}, {"passfile": NO_FILE, "require_auth": "password,md5,scram-sha-256,none"}),
        ({"keepalives": False, "keepalives_idle": 7}, {"keepalives": "0", "keepalives_idle": "7"}),
        (
            {"tls_max_version": "TLSv1.3"},
            {"ssl_min_protocol_version": "TLSv1.2", "ssl_max_protocol_version": "TLSv1.3"},
        ),
        ({"tls_key_log_path": "/keys"}, {"sslkeylogfile": "/keys"}),
        ({"max_protocol_version": "latest"}, {"min_protocol_version": "3.0", "max_protocol_version": "latest"}),
        ({"require_peer": "postgres", "host": "/run/pg"}, {"requirepeer": "postgres", "host": "/run/pg"}),
        ({"scram_max_iterations": 2_000_000, "pipelining": False}, {"channel_binding": "prefer"}),
    ],
)
def test_fields_are_written_as_keywords_of_libpq(fields: dict[str, Any], expected: dict[str, str]) -> None:
    values = Config(**{**OWN_ROOTS, **fields}).to_libpq()
    assert {keyword: values[keyword] for keyword in expected} == expected


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"tls_pins": ["sha256:" + "00" * 32]}, ["tls_pins"]),
        ({"tls_groups": "x25519", "tls_ciphers": "TLS_AES_128_GCM_SHA256"}, ["tls_groups", "tls_ciphers"]),
        ({"tls_backend": "rustls"}, ["tls_backend"]),
        ({"tls_server_name": "db"}, ["tls_server_name"]),
        ({"tls_server_name": "db", "hostaddr": "::1", "passfile": "/p"}, ["tls_server_name"]),
        ({"tls_default_roots": True}, ["tls_default_roots"]),
        ({"tls_default_roots": True, "tls_os_roots": True}, ["tls_os_roots"]),
        ({"tls_default_roots": True, "tls_root_cert_path": None, "tls_verify": "ca"}, ["tls_default_roots"]),
        ({"tls_root_cert_path": "system"}, ["tls_root_cert_path"]),
        ({"tls_mode": "prefer"}, ["tls_fallback", "tls_verify"]),
        ({"tls_mode": "allow"}, ["tls_verify"]),
        ({"tls_client_cert": b"c", "tls_client_key": b"hunter2"}, ["tls_client_cert", "tls_client_key"]),
        ({"tls_client_cert": "/c.p12"}, ["tls_client_cert"]),
        ({"tls_client_cert": "/c", "tls_client_key": "token:k"}, ["tls_client_key"]),
        ({"tls_client_cert": "/c", "tls_client_key_password": lambda: "hunter2"}, ["tls_client_key_password"]),
        ({"tls_client_cert": "/c", "tls_client_key_password": b"hunter2\xff"}, ["tls_client_key_password"]),
        ({"password": b"hunter2\xff"}, ["password"]),
        ({"password": lambda: "hunter2"}, ["password"]),
        ({"password": "hunter2\0"}, ["password"]),
        ({"tls_crl_path": "/crl"}, ["tls_crl_path"]),
        ({"tls_crl_dir": f"/crls{os.pathsep}b"}, ["tls_crl_dir"]),
        ({"tls_root_cert_path": "/" + 1023 * "r"}, ["tls_root_cert_path"]),
        ({"tls_client_cert": "/" + 1023 * "c"}, ["tls_client_cert"]),
        ({"tls_client_cert": "/c", "tls_client_key": "/" + 511 * "ß" + "k"}, ["tls_client_key"]),
        ({"tls_crl_dir": "/crl", "tls_default_roots": True, "tls_root_cert_path": None}, ["tls_crl_dir"]),
        ({"channel_binding_type": "tls-exporter"}, ["channel_binding_type"]),
        (
            {"scram_min_iterations": 4096, "scram_max_iterations": 5000},
            ["scram_min_iterations", "scram_max_iterations"],
        ),
        ({"require_auth": "gss,oauth"}, ["require_auth"]),
        ({**SCRAM_KEYS, "require_auth": "password,md5"}, ["require_auth"]),
        ({"server_settings": {"a b": "c"}}, ["server_settings"]),
        ({"server_settings": {"TimeZone": "UTC", "work_mem": "1MB"}}, ["server_settings"]),
        ({"server_settings": {"datestyle": "ISO"}}, ["server_settings"]),
        ({"server_settings": {"GEQO": "off"}}, ["server_settings"]),
        ({"host": "a,b"}, ["host"]),
        ({"host": "/r\udcff"}, ["host"]),
        ({"host": "b\u00fccher.example", "passfile": "/p"}, ["host"]),
        ({"host": "b\u00fccher.example", "tls_mode": "disable", "passfile": "/p"}, ["host"]),
    ],
)
def test_error_names_every_field_that_libpq_cannot_represent(fields: dict[str, Any], names: list[str]) -> None:
    """The error shows no secret."""
    with pytest.raises(ConfigError, match="libpq 18 cannot represent this configuration: ") as caught:
        Config(**{**OWN_ROOTS, **fields}).to_libpq()
    problems = caught.value.message.partition(": ")[2].split("; ")
    remedies = (caught.value.remedy or "").split("\n")
    assert [problem.split()[0] for problem in problems] == names
    assert [remedy.split(":")[0] for remedy in remedies] == names
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "name", "since"),
    [
        ({"tls_root_cert_path": None, "tls_default_roots": True}, "tls_default_roots", 16),
        ({"tls_negotiation": "direct"}, "tls_negotiation", 17),
        ({"require_auth": "scram-sha-256"}, "require_auth", 16),
        ({"tls_verify": "none"}, "require_auth", 16),
        ({"tls_client_cert_mode": "require"}, "tls_client_cert_mode", 16),
        ({"load_balance_hosts": "random"}, "load_balance_hosts", 16),
        ({"tls_key_log_path": "/keys"}, "tls_key_log_path", 18),
        (SCRAM_KEYS, "scram_client_key", 18),
        ({"target_session_attrs": "primary"}, "target_session_attrs", 14),
        ({"tls_crl_dir": "/crls"}, "tls_crl_dir", 14),
        ({"host": "@pg"}, "host", 14),
        ({"tls_sni": True}, "tls_sni", 14),
        ({"min_protocol_version": "3.2", "max_protocol_version": "3.2"}, "min_protocol_version", 18),
    ],
)
def test_error_names_the_first_version_that_can(fields: dict[str, Any], name: str, since: int) -> None:
    config = Config(**{**OWN_ROOTS, "tls_sni": False, **fields})
    with pytest.raises(ConfigError, match=rf"{name} [^;]* requires libpq {since}\b") as caught:
        config.to_libpq(since * 10000 - 1)
    assert f"{name}: use libpq {since} or newer" in str(caught.value)
    assert config.to_libpq(since * 10000)


def test_required_binding_replaces_require_auth_in_old_versions() -> None:
    """With channel_binding=require libpq accepts only SCRAM."""
    config = Config(**OWN_ROOTS, tls_verify="none", channel_binding="require", require_auth="scram-sha-256,md5")
    values = config.to_libpq(150000)
    assert values["channel_binding"] == ChannelBinding.REQUIRE.value
    assert "require_auth" not in values


def test_tls_fields_do_not_matter_without_tls() -> None:
    config = Config(user="u", tls_mode="disable", tls_pins=(), tls_groups="x25519", tls_backend="rustls")
    assert config.replace(require_auth="password").to_libpq()["sslmode"] == "disable"


@pytest.mark.parametrize("version", [16, True, "160004", 16.4])
def test_version_that_is_no_number_of_libpq_is_refused(version: Any) -> None:
    with pytest.raises(ConfigError, match="is not a version of libpq"):
        Config(user="u").to_libpq(version)


def test_libpq_without_tls_versions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"libpq 12 cannot represent tls_min_version.* and channel_binding"):
        Config(user="u").to_libpq(120022)
