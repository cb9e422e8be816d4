"""Connection strings have the same meaning as in libpq, and errors about them show no password."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.config import Config, TlsMode, TlsVerify
from babar_tls.conninfo import parse, paths
from babar_tls.errors import ConfigError

from .fields import config_fields

DIRECTORIES = paths.SOCKET_DIRECTORIES


pytestmark = pytest.mark.usefixtures("home")


def refused(text: str, match: str, **options: Any) -> ConfigError:
    with pytest.raises(ConfigError, match=match) as caught:
        config_fields(text, **options)
    return caught.value


# Parsing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        (" \t\r\n\v\f", {}),
        ("host=a port = 1\tuser\n=\nx", {"host": "a", "port": "1", "user": "x"}),
        ("host='' user=x", {"host": "", "user": "x"}),
        ("user= dbname=x", {"user": "dbname=x"}),
        ("user='a b' password='it\\'s \\\\'", {"user": "a b", "password": "it's \\"}),
        ("password=a\\ b\\'c", {"password": "a b'c"}),
        ("password=a'b", {"password": "a'b"}),
        ("user='a'dbname=c", {"user": "a", "dbname": "c"}),
        ("password=a\\", {"password": "a"}),
        ("password=a\u00a0b\x1cc\u2028d", {"password": "a\u00a0b\x1cc\u2028d"}),  # not whitespace for libpq (isspace)
        ("user=a user=b", {"user": "b"}),
    ],
)
def test_keyword_strings_are_parsed_as_by_libpq(text: str, values: dict[str, str]) -> None:
    """Spaces, quotes and backslashes have the same meaning as in libpq."""
    assert parse(text) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("postgresql://", {}),
        ("postgres://h", {"host": "h"}),
        ("postgresql://u@h", {"user": "u", "host": "h"}),
        ("postgresql://u:p@h:1/d", {"user": "u", "password": "p", "host": "h", "port": "1", "dbname": "d"}),
        ("postgresql://u:p:q@h", {"user": "u", "password": "p:q", "host": "h"}),
        ("postgresql://u:p?q#r@h", {"user": "u", "password": "p?q#r", "host": "h"}),
        ("postgresql://u:%40%2F%3a@h", {"user": "u", "password": "@/:", "host": "h"}),
        ("postgresql://:p@h", {"password": "p", "host": "h"}),
        ("postgresql:///d", {"dbname": "d"}),
        ("postgresql://h/a/b", {"host": "h", "dbname": "a/b"}),
        ("postgresql://[2001:db8::1]:1/d", {"host": "2001:db8::1", "port": "1", "dbname": "d"}),
        ("postgresql://[::1]?user=u", {"host": "::1", "user": "u"}),
        ("postgresql://%2Frun%2Fpostgresql/d", {"host": "/run/postgresql", "dbname": "d"}),
        ("postgresql:///d?host=/srv&port=5", {"dbname": "d", "host": "/srv", "port": "5"}),
        ("postgresql://a:1,b,[::1]:2/d", {"host": "a,b,::1", "port": "1,,2", "dbname": "d"}),
        ("postgresql://h?", {"host": "h"}),
        ("postgresql://h?user=a&", {"host": "h", "user": "a"}),
        ("postgresql://h?ssl=true", {"host": "h", "sslmode": "require"}),
        ("postgresql://h?user=%C3%A9&options=-c%20a%3Db", {"host": "h", "user": "é", "options": "-c a=b"}),
        ("postgresql:// u : p @ h / d ", {"user": "u", "password": "p", "host": "h", "dbname": "d"}),
    ],
)
def test_uris_are_parsed_as_by_libpq(text: str, values: dict[str, str]) -> None:
    assert parse(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user", 'missing "=" after "user" in connection info string'),
        ("host=h user", 'missing "=" after "user" in connection info string'),
        ("=x", 'missing "=" in connection info string'),
        ("user='x", "unterminated quoted string in connection info string"),
        ("user='x\\", "unterminated quoted string in connection info string"),
        ("usr=x", 'invalid connection option "usr"'),
        ("USER=x", 'invalid connection option "USER"'),
        ("user=\0", "NUL"),
        ("postgresql://[::1", 'looking for matching "]" in IPv6 host address in URI'),
        ("postgresql://[]", "IPv6 host address may not be empty in URI"),
        ("postgresql://[::1]x", 'unexpected character "x" in URI'),
        ("postgresql://h?user", 'missing key/value separator "=" in URI query parameter: "user"'),
        ("postgresql://h?&user=a", 'missing key/value separator "=" in URI query parameter: ""'),
        ("postgresql://h?user=a=b", 'extra key/value separator "=" in URI query parameter: "user"'),
        ("postgresql://h?ssl=false", 'invalid URI query parameter: "ssl"'),
        ("postgresql://%zz", "invalid percent-encoded token"),
        ("postgresql://h/%4", "invalid percent-encoded token"),
        ("postgresql://h/%00", "forbidden value %00"),
        ("postgresql://h/%ff", "not UTF-8"),
        ("postgresql://h/\ud800", "not UTF-8"),
        ("postgresql://h/a b", "unexpected spaces found"),
        ("postgresql://a@b@c", 'more than one "@"'),
        ("postgresql://h:x", 'invalid integer value for connection option "port"'),
    ],
)
def test_malformed_strings_are_refused_with_libpqs_message(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert message in str(caught.value)


@given(st.text(st.sampled_from("ab= '\\\t%&?/:@[],#\0\ud800é") | st.characters(), max_size=40))
def test_arbitrary_strings_raise_only_config_error(text: str) -> None:
    for candidate in (text, f"postgresql://{text}", f"postgresql://h?{text}", f"host={text}"):
        try:
            config_fields(candidate)
        except ConfigError:
            pass


@given(
    st.dictionaries(
        st.sampled_from(["user", "password", "dbname", "options"]),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    )
)
def test_quoted_values_are_parsed_unchanged(values: dict[str, str]) -> None:
    quoted = {key: "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for key, value in values.items()}
    assert parse(" ".join(f"{key}={value}" for key, value in quoted.items())) == values
    encoded = "&".join(f"{key}={quote(value, safe='')}" for key, value in values.items())
    assert parse(f"postgresql://?{encoded}") == values


def test_long_strings_are_parsed_in_linear_time() -> None:
    """Each string has about a million characters."""
    assert parse("user=x " * 150_000) == {"user": "x"}
    assert parse("postgresql://?" + "user=x&" * 150_000) == {"user": "x"}
    assert parse("postgresql://" + "a:1," * 250_000)["host"] == "a," * 250_000
    with pytest.raises(ConfigError):
        parse("a" * 1_000_000)
    with pytest.raises(ConfigError):
        parse("a" * 1_000_000 + "=x")


# Secrets -----------------------------------------------------------------------------------------------------------

SECRETS = [
    "correct horse battery",
    "hunter2=x y",
    "pa'ss wd",
    "p@ss/w:rd",
    "a/b?c@d",
    "x?y=z",
    "sec&ret=1",
    "100%zz",
    "[br@cket",
    "s\\ p q=r",
    "#h/sh",
    "a:b/c?dd=ee&ff",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "template",
    [
        "host=h password={} user=u",
        "host=h password='{} user=u",
        "host=h password='{}' user=u x",
        "password={}",
        "host=h password = {} sslmode=wrong",
        "postgresql://u:{}@h/d",
        "postgresql://u:{}@h/d?sslmode=wrong",
        "postgresql://u:{}@h/d?unknown=1",
        "postgresql://h/d?user=u&password={}",
        "postgresql://h/d?password={}&sslmode=wrong",
    ],
)
def test_malformed_strings_show_no_password(template: str, secret: str) -> None:
    """The error contains no word of the password."""
    try:
        Config(**{"user": "u", **config_fields(template.format(secret))})
    except ConfigError as failure:
        shown = f"{failure} {failure!r} {failure.args}"
        words = {word for word in secret.replace("=", " ").replace("&", " ").replace("/", " ").split() if len(word) > 2}
        assert not [word for word in words if word in shown], shown


def test_unknown_keyword_is_shown_only_before_first_secret() -> None:
    """The error suggests the nearest keyword. After a secret, the unknown keyword may be a part of the secret."""
    assert 'Did you mean "application_name"?' in str(refused("aplication_name=x", 'option "aplication_name"'))
    failure = refused("password=x aplication_name=x", "^invalid connection option\n")
    assert "application_name" not in str(failure)


# Fields ------------------------------------------------------------------------------------------------------------


def test_keywords_set_their_fields() -> None:
    text = (
        "host=h hostaddr=192.0.2.7 port=1 user=u password=p dbname=d application_name=a options=o connect_timeout=3 "
        "channel_binding=require require_auth=scram-sha-256 sslnegotiation=direct "
        "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.3"
    )
    config = Config.from_conninfo(text)
    assert (config.host, config.hostaddr, config.port, config.user) == ("h", "192.0.2.7", 1, "u")
    assert (config.password, config.database, config.application_name, config.options) == ("p", "d", "a", "o")
    assert (config.connect_timeout, config.require_auth) == (3.0, "scram-sha-256")
    assert config.channel_binding.value == "require"
    assert config.tls_negotiation.value == "direct"
    assert config.tls_min_version.value == "TLSv1.3"


EMPTY_IS_ABSENT = (
    "host hostaddr port user password dbname application_name fallback_application_name options require_auth passfile "
    "requirepeer sslcert sslkey sslpassword sslrootcert sslcrl sslcrldir sslkeylogfile ssl_min_protocol_version "
    "ssl_max_protocol_version client_encoding replication krbsrvname gsslib gssdelegation sslcompression oauth_issuer"
)
EMPTY_IS_WRONG = (
    "sslmode sslnegotiation sslcertmode gssencmode channel_binding target_session_attrs load_balance_hosts "
    "connect_timeout keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout "
    "min_protocol_version max_protocol_version scram_client_key scram_server_key"
)


@pytest.mark.parametrize("keyword", EMPTY_IS_ABSENT.split())
def test_empty_texts_are_ignored(keyword: str) -> None:
    """An empty text, list or file name is the same as no value, as in libpq."""
    assert Config.from_conninfo(f"{keyword}=''") == Config()


@pytest.mark.parametrize("keyword", EMPTY_IS_WRONG.split())
def test_empty_words_and_numbers_are_refused(keyword: str) -> None:
    """As in libpq, they are invalid."""
    refused(
        f"{keyword}=''", 'invalid (integer )?(value "" for connection option|[a-z_]+ value: ""|SCRAM .* key length: 0)'
    )


def test_default_without_sslmode_is_strict() -> None:
    """The default is that of this library, not libpq's ``prefer``."""
    config = Config.from_conninfo("host=h user=u")
    assert (config.tls_mode, config.tls_verify, config.tls_default_roots) == (TlsMode.REQUIRE, TlsVerify.FULL, True)
    assert not config.tls_fallback


MODES = {
    "disable": (TlsMode.DISABLE, TlsVerify.FULL, False),  # FULL, so that an override of the mode is strict
    "allow": (TlsMode.ALLOW, TlsVerify.NONE, False),
    "prefer": (TlsMode.PREFER, TlsVerify.NONE, True),
    "require": (TlsMode.REQUIRE, TlsVerify.NONE, False),
    "verify-ca": (TlsMode.REQUIRE, TlsVerify.CA, False),
    "verify-full": (TlsMode.REQUIRE, TlsVerify.FULL, False),
}


@pytest.mark.parametrize("mode", MODES)
def test_sslmode_without_root_file(mode: str, home: Path) -> None:
    """Each sslmode has libpq's meaning. The verifying modes use the path of the default file, which is missing."""
    config = Config.from_conninfo(f"host=h user=u sslmode={mode}")
    assert (config.tls_mode, config.tls_verify, config.tls_fallback) == MODES[mode]
    expected = str(home / ".postgresql" / "root.crt") if mode.startswith("verify") else None
    assert config.tls_root_cert_path == expected
    assert config.tls_default_roots == (expected is None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("given", ["", "/given.pem"])
def test_every_sslmode_with_tls_verifies_chain_with_root_file(mode: str, given: str, home: Path) -> None:
    """The root file is named by the string or is the default file."""
    default = home / ".postgresql" / "root.crt"
    default.parent.mkdir()
    default.write_text("")
    config = Config.from_conninfo(f"host=h user=u sslmode={mode} sslrootcert='{given}'")
    if mode == "disable":
        assert (config.tls_mode, config.tls_verify, config.tls_root_cert_path) == (*MODES[mode][:2], None)
        return
    verify = TlsVerify.FULL if mode == "verify-full" else TlsVerify.CA
    assert (config.tls_mode, config.tls_verify) == (MODES[mode][0], verify)
    assert (config.tls_root_cert_path, config.tls_default_roots) == (given or str(default), False)


def test_only_root_file_is_trusted_without_sslmode(home: Path) -> None:
    """The system's roots are not trusted. Chain and hostname are verified."""
    config = Config.from_conninfo("host=h user=u sslrootcert=/given.pem")
    assert (config.tls_verify, config.tls_root_cert_path, config.tls_default_roots) == (
        TlsVerify.FULL,
        "/given.pem",
        False,
    )
    (home / ".postgresql").mkdir()
    (home / ".postgresql" / "root.crt").write_text("")
    config = Config.from_conninfo("host=h user=u")
    assert config.tls_root_cert_path == str(home / ".postgresql" / "root.crt")
    assert not config.tls_default_roots


@pytest.mark.parametrize("mode", ["", "sslmode=verify-full"])
def test_system_roots_require_verify_full(mode: str) -> None:
    """``sslrootcert=system`` trusts the system's roots and verifies the hostname."""
    config = Config.from_conninfo(f"host=h user=u sslrootcert=system {mode}")
    assert (config.tls_mode, config.tls_verify) == (TlsMode.REQUIRE, TlsVerify.FULL)
    assert (config.tls_root_cert_path, config.tls_default_roots) == (None, True)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "verify-full"])
def test_weak_modes_are_refused_with_system_roots(mode: str) -> None:
    """Anyone can get a certificate from a public CA, so only the hostname identifies the server."""
    refused(
        f"sslrootcert=system sslmode={mode}",
        rf'weak sslmode "{mode}" may not be used with sslrootcert=system \(use "verify-full"\)',
    )


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_weak_modes_are_refused_with_direct_tls(mode: str) -> None:
    """Direct TLS requires ``require`` or stronger."""
    refused(
        f"sslnegotiation=direct sslmode={mode}", f'weak sslmode "{mode}" may not be used with sslnegotiation=direct'
    )


@pytest.mark.parametrize("mode", list(MODES))
def test_untrusted_strings_use_no_files(mode: str, home: Path) -> None:
    """With ``allow_files=False`` file names in the string are refused and default files are not used."""
    (home / ".postgresql").mkdir()
    (home / ".postgresql" / "root.crt").write_text("")
    refused(f"sslmode={mode} sslrootcert=/etc/shadow", "names a file|weak sslmode", allow_files=False)
    if mode.startswith("verify"):
        refused(f"sslmode={mode}", "needs a root certificate file", allow_files=False)
    else:
        assert config_fields(f"sslmode={mode}", allow_files=False).get("tls_root_cert_path") is None
    assert config_fields("", allow_files=False)["tls_root_cert_path"] is None
    assert config_fields("sslrootcert=system", allow_files=False)["tls_default_roots"]


def test_missing_or_inaccessible_home_directory_has_no_default_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inaccessible(_: Path) -> bool:
        raise PermissionError("inaccessible")

    def unknown(_: int) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr(Path, "exists", inaccessible)
    assert Config.from_conninfo("host=h user=u sslmode=require").tls_verify is TlsVerify.NONE
    assert Config.from_conninfo("user=u").host == "localhost"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert Config.from_conninfo("host=h user=u sslmode=prefer").tls_root_cert_path is None
    refused("sslmode=verify-full", "needs a root certificate file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sslmode=on", 'invalid sslmode value: "on"'),
        ("sslmode=REQUIRE", 'invalid sslmode value: "REQUIRE"'),
        ("port=x", 'invalid integer value "x" for connection option "port"'),
        ("port=-1", 'invalid port number: "-1"'),
        ("port=0", 'invalid port number: "0"'),
        ("port=123456", 'invalid port number: "123456"'),
        ("port=99999999999", 'invalid integer value "99999999999" for connection option "port"'),
        ("port=\u0665", "invalid integer value"),
        ("connect_timeout=soon", 'invalid integer value "soon" for connection option "connect_timeout"'),
        ("connect_timeout=1e9", "invalid integer value"),
        ("connect_timeout=2.", "invalid integer value"),
        ("keepalives_idle=x", 'invalid integer value "x" for connection option "keepalives_idle"'),
        ("keepalives_count=2147483648", "invalid integer value"),
        ("tcp_user_timeout=1s", "invalid integer value"),
        ("gssencmode=require", '"gssencmode=require" is not supported'),
        ("gssencmode=on", 'invalid gssencmode value: "on"'),
        ("target_session_attrs=master", 'invalid target_session_attrs value: "master"'),
        ("load_balance_hosts=RANDOM", 'invalid load_balance_hosts value: "RANDOM"'),
        ("client_encoding=latin1", "is not supported"),
        ("replication=database", "is not supported"),
        ("sslcertmode=on", 'invalid sslcertmode value: "on"'),
        ("sslnegotiation=tls", 'invalid sslnegotiation value: "tls"'),
        ("channel_binding=REQUIRE", 'invalid channel_binding value: "REQUIRE"'),
        ("require_auth=x", 'invalid require_auth value: "x"'),
        ("require_auth=' md5'", 'invalid require_auth value: " md5"'),
        ("require_auth=md5,!none", 'negative require_auth method "!none" cannot be mixed'),
        ("require_auth=!md5,none", 'require_auth method "none" cannot be mixed with negative methods'),
        ("require_auth=!md5,!md5", 'require_auth method "!md5" is specified more than once'),
        ("min_protocol_version=3", 'invalid min_protocol_version value: "3"'),
        ("max_protocol_version=3.1", 'invalid max_protocol_version value: "3.1"'),
        ("ssl_min_protocol_version=SSLv3", 'invalid "ssl_min_protocol_version" value: "SSLv3"'),
        ("ssl_max_protocol_version=TLSv1.4", 'invalid "ssl_max_protocol_version" value: "TLSv1.4"'),
        ("ssl_max_protocol_version=TLSv1.1", "invalid SSL protocol version range"),
        ("scram_client_key=x", "invalid SCRAM client key$|invalid SCRAM client key\n"),
        ("scram_client_key=AAAA", "invalid SCRAM client key length: 3"),
        ("scram_server_key='AAAA AAAA'", "invalid SCRAM server key"),
        ("sslcert=/c sslkey=pkcs11:token=t;pin-value=hunter2", "contains the PIN of a token"),
        ("sslcert=/c sslkey=pkcs11:token=secret;x", '"sslkey" is not a valid PKCS #11 URI'),
        ("sslcert=/c sslkey=token:hunter2", r'names a key of an OpenSSL engine \("token:'),
        ("tls_mode=on", "invalid tls_mode value"),
        ("tls_sni=2", "invalid tls_sni value"),
        ("scram_max_iterations=many", "invalid scram_max_iterations value"),
        ("scram_min_iterations=few", "invalid scram_min_iterations value"),
        ("scram_channel_binding=tls-server-endpoint", "invalid scram_channel_binding value"),
        ("channel_binding=require scram_channel_binding=''", "which disables channel binding"),
        ("server_settings=x", 'missing "="'),
    ],
)
def test_invalid_and_unsupported_values_are_refused(text: str, message: str) -> None:
    """Unsupported values are refused if the string would have another meaning without them."""
    assert "hunter2" not in str(refused(text, message))


@pytest.mark.parametrize("text", ["port=0", "port=65536", "postgresql://h:0"])
def test_ports_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid port number"):
        Config.from_conninfo(f"{text}{'' if ':' in text else ' user=u'}", user="u")


@pytest.mark.parametrize(
    "text",
    [
        "gssencmode=disable",
        "gssencmode=prefer",
        "krbsrvname=x",
        "gsslib=x",
        "gssdelegation=1",
        "sslsni=1",
        "sslcompression=1",
        "sslkey=/k",
        "oauth_issuer=x oauth_client_id=x oauth_client_secret=x oauth_scope=x",
        "replication=off",
        "client_encoding=auto",
        "min_protocol_version=3.0",
        "max_protocol_version=3.0",
        "keepalives_idle=0 keepalives_interval=-1 keepalives_count=0 tcp_user_timeout=0",
        "ssl_min_protocol_version=TLSv1",
        "sslcertmode=allow",
        "tls_mode='' tls_pins='' tls_server_name='' server_settings='' scram_max_iterations='' tls_max_version=''",
    ],
)
def test_keywords_without_effect_are_accepted(text: str) -> None:
    """Keywords are accepted if their values require no unsupported feature."""
    assert Config.from_conninfo(f"host=h user=u {text}") == Config(host="h", user="u")


@pytest.mark.parametrize(("text", "seconds"), [("0", None), ("-1", None), ("1", 1.0), (" 30 ", 30.0)])
def test_connect_timeout_is_in_seconds(text: str, seconds: float | None) -> None:
    """Zero and negative values mean no limit."""
    assert Config.from_conninfo(f"host=h user=u connect_timeout='{text}'").connect_timeout == seconds


def test_default_host_is_socket_directory_or_localhost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a host, the default is the directory that has a server's socket, otherwise localhost."""
    monkeypatch.setattr(paths, "SOCKET_DIRECTORIES", (str(tmp_path),))
    assert config_fields("")["host"] == "localhost"
    (tmp_path / ".s.PGSQL.5433").touch()
    assert config_fields("port=5433")["host"] == str(tmp_path)
    assert config_fields("port=5432")["host"] == "localhost"
    assert config_fields("hostaddr=192.0.2.7 port=5433")["host"] == "192.0.2.7"


def test_arguments_take_precedence_over_string() -> None:
    config = Config.from_conninfo("host=h user=u sslmode=prefer", user="v", tls_root_cert_path="/mine.pem")
    assert (config.user, config.host, config.tls_root_cert_path) == ("v", "h", "/mine.pem")


def test_tls_mode_as_argument_replaces_sslmode_and_fallback() -> None:
    config = Config.from_conninfo("host=h user=u sslmode=prefer", tls_mode="require")
    assert (config.tls_mode, config.tls_fallback) == (TlsMode.REQUIRE, False)


def test_keepalives_and_fallback_application_name() -> None:
    """Both keywords have the same meaning as in libpq."""
    assert Config.from_conninfo("host=h user=u keepalives=1").keepalives
    assert not Config.from_conninfo("host=h user=u keepalives=0").keepalives
    with pytest.raises(ConfigError, match="invalid integer value"):
        Config.from_conninfo("host=h user=u keepalives=yes")
    assert Config.from_conninfo("host=h user=u fallback_application_name=f").application_name == "f"
    assert Config.from_conninfo("host=h user=u fallback_application_name=f application_name=a").application_name == "a"


def test_no_break_space_does_not_separate_keywords() -> None:
    """As in libpq, a no-break space is not whitespace, so it is a part of a keyword."""
    with pytest.raises(ConfigError, match='missing "="'):
        Config.from_conninfo("\xa0")


def test_every_keyword_of_libpq_is_known() -> None:
    conninfo = pytest.importorskip("psycopg.conninfo", reason="needs libpq: pip install psycopg[binary]")
    pq = pytest.importorskip("psycopg.pq")
    assert conninfo is not None
    unknown = []
    for option in pq.Conninfo.get_defaults():
        try:
            Config.from_conninfo(f"host=h user=u {option.keyword.decode()}=''")
        except ConfigError as exc:
            if "invalid connection option" in str(exc):
                unknown.append(option.keyword.decode())
    assert unknown == []


@pytest.mark.parametrize(
    "text",
    [
        "host=h;password=hunter2;user=u",
        "host=h sslmode=require;password=hunter2",
        "port=5432; Password = hunter2",
        "postgresql://u:12/34hunter2@db.example.com/x",
        "postgresql://u:12/hunter2@db.example.com:5432/x?sslmode=require",
    ],
)
def test_strings_with_password_in_place_of_host_are_refused(text: str) -> None:
    """With semicolons, or a slash in a password, the password would become the hostname and be sent to DNS."""
    with pytest.raises(ConfigError) as caught:
        Config.from_conninfo(text)
    assert "hunter2" not in str(caught.value)


def test_semicolons_in_value_are_accepted() -> None:
    """A semicolon that separates no parameters is an ordinary character. In a password every semicolon is."""
    assert parse("dbname=a;b password=a;user=b") == {"dbname": "a;b", "password": "a;user=b"}


def test_sockets_are_not_searched_in_world_writable_directories() -> None:
    """In such a directory any local user could create a socket and receive the connection."""
    assert not any(Path(folder).exists() and Path(folder).stat().st_mode & 0o002 for folder in DIRECTORIES)
    assert "/tmp" not in DIRECTORIES  # noqa: S108 - asserts that it is not used
