"""Connection strings mean what they mean to libpq, and no mistake in one shows its password."""

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


# Cutting -----------------------------------------------------------------------------------------------------------


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
        ("password=a\u00a0b\x1cc\u2028d", {"password": "a\u00a0b\x1cc\u2028d"}),  # no spaces to C
        ("user=a user=b", {"user": "b"}),
    ],
)
def test_keyword_strings(text: str, values: dict[str, str]) -> None:
    """Keyword strings have libpq's spaces, quotes and backslashes."""
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
def test_uris(text: str, values: dict[str, str]) -> None:
    """URIs are cut where libpq cuts them."""
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
def test_malformed_strings(text: str, message: str) -> None:
    """A malformed string is refused in libpq's words."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert message in str(caught.value)


@given(st.text(st.sampled_from("ab= '\\\t%&?/:@[],#\0\ud800é") | st.characters(), max_size=40))
def test_arbitrary_strings(text: str) -> None:
    """Any string is cut or refused, and nothing else."""
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
def test_quoting_round_trip(values: dict[str, str]) -> None:
    """Whatever is quoted by libpq's rules comes back."""
    quoted = {key: "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for key, value in values.items()}
    assert parse(" ".join(f"{key}={value}" for key, value in quoted.items())) == values
    encoded = "&".join(f"{key}={quote(value, safe='')}" for key, value in values.items())
    assert parse(f"postgresql://?{encoded}") == values


def test_long_strings() -> None:
    """A string of a megabyte is cut in the time that its length takes."""
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
    """Whatever is wrong with a string, no word of its password is in the error."""
    try:
        Config(**{"user": "u", **config_fields(template.format(secret))})
    except ConfigError as failure:
        shown = f"{failure} {failure!r} {failure.args}"
        words = {word for word in secret.replace("=", " ").replace("&", " ").replace("/", " ").split() if len(word) > 2}
        assert not [word for word in words if word in shown], shown


def test_shown_where_it_helps() -> None:
    """A keyword before the first secret is shown, with the nearest known one; after it, it may be a part of that."""
    assert 'Did you mean "application_name"?' in str(refused("aplication_name=x", 'option "aplication_name"'))
    failure = refused("password=x aplication_name=x", "^invalid connection option\n")
    assert "application_name" not in str(failure)


# Meaning -----------------------------------------------------------------------------------------------------------


def test_fields() -> None:
    """Every keyword that is a field becomes that field."""
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
def test_empty_values(keyword: str) -> None:
    """An empty text, list or file name is as good as none, as in libpq."""
    assert Config.from_conninfo(f"{keyword}=''") == Config()


@pytest.mark.parametrize("keyword", EMPTY_IS_WRONG.split())
def test_empty_words_and_numbers(keyword: str) -> None:
    """An empty word or number is no value, as in libpq."""
    refused(
        f"{keyword}=''", 'invalid (integer )?(value "" for connection option|[a-z_]+ value: ""|SCRAM .* key length: 0)'
    )


def test_no_sslmode_is_strict() -> None:
    """A string without sslmode gets this library's default, not libpq's ``prefer``."""
    config = Config.from_conninfo("host=h user=u")
    assert (config.tls_mode, config.tls_verify, config.tls_default_roots) == (TlsMode.REQUIRE, TlsVerify.FULL, True)
    assert not config.tls_fallback


MODES = {
    "disable": (TlsMode.DISABLE, TlsVerify.FULL, False),  # of TLS that there is not, so that an override is strict
    "allow": (TlsMode.ALLOW, TlsVerify.NONE, False),
    "prefer": (TlsMode.PREFER, TlsVerify.NONE, True),
    "require": (TlsMode.REQUIRE, TlsVerify.NONE, False),
    "verify-ca": (TlsMode.REQUIRE, TlsVerify.CA, False),
    "verify-full": (TlsMode.REQUIRE, TlsVerify.FULL, False),
}


@pytest.mark.parametrize("mode", MODES)
def test_sslmode_without_a_root_file(mode: str, home: Path) -> None:
    """Without a root file sslmode means what libpq's table says; verifying modes name the file that they miss."""
    config = Config.from_conninfo(f"host=h user=u sslmode={mode}")
    assert (config.tls_mode, config.tls_verify, config.tls_fallback) == MODES[mode]
    expected = str(home / ".postgresql" / "root.crt") if mode.startswith("verify") else None
    assert config.tls_root_cert_path == expected
    assert config.tls_default_roots == (expected is None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("given", ["", "/given.pem"])
def test_sslmode_with_a_root_file(mode: str, given: str, home: Path) -> None:
    """A root file, given or at its default place, makes every mode that has TLS verify the chain."""
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


def test_no_sslmode_with_a_root_file(home: Path) -> None:
    """Without sslmode a root file is trusted alone, and chain and name are verified."""
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
def test_system_roots(mode: str) -> None:
    """``sslrootcert=system`` trusts the system's roots and verifies the name."""
    config = Config.from_conninfo(f"host=h user=u sslrootcert=system {mode}")
    assert (config.tls_mode, config.tls_verify) == (TlsMode.REQUIRE, TlsVerify.FULL)
    assert (config.tls_root_cert_path, config.tls_default_roots) == (None, True)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "verify-full"])
def test_weak_modes_with_system_roots(mode: str) -> None:
    """A certificate of a public authority proves nothing but its name, so weaker modes are refused."""
    refused(
        f"sslrootcert=system sslmode={mode}",
        rf'weak sslmode "{mode}" may not be used with sslrootcert=system \(use "verify-full"\)',
    )


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_weak_modes_with_direct_tls(mode: str) -> None:
    """Direct TLS needs at least ``require``."""
    refused(
        f"sslnegotiation=direct sslmode={mode}", f'weak sslmode "{mode}" may not be used with sslnegotiation=direct'
    )


@pytest.mark.parametrize("mode", list(MODES))
def test_untrusted_strings(mode: str, home: Path) -> None:
    """With ``allow_files=False`` no file is named, neither by the string nor by default."""
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
        ("min_protocol_version=latest max_protocol_version=3.0", '"min_protocol_version" is greater than "max_'),
        ("min_protocol_version=3.2", '"min_protocol_version=3.2" is not supported'),
        ("ssl_min_protocol_version=SSLv3", 'invalid "ssl_min_protocol_version" value: "SSLv3"'),
        ("ssl_max_protocol_version=TLSv1.4", 'invalid "ssl_max_protocol_version" value: "TLSv1.4"'),
        ("ssl_max_protocol_version=TLSv1.1", "invalid SSL protocol version range"),
        ("scram_client_key=x", "invalid SCRAM client key$|invalid SCRAM client key\n"),
        ("scram_client_key=AAAA", "invalid SCRAM client key length: 3"),
        ("scram_server_key='AAAA AAAA'", "invalid SCRAM server key"),
        ("sslcert=/c sslkey=pkcs11:token=secret;pin-value=hunter2", r'names a key in a token \("pkcs11:'),
        ("tls_mode=on", "invalid tls_mode value"),
        ("tls_sni=2", "invalid tls_sni value"),
        ("scram_max_iterations=many", "invalid scram_max_iterations value"),
        ("scram_min_iterations=few", "invalid scram_min_iterations value"),
        ("scram_channel_binding=tls-server-endpoint", "invalid scram_channel_binding value"),
        ("channel_binding=require scram_channel_binding=''", "which disables channel binding"),
        ("server_settings=x", 'missing "="'),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    """What is impossible, or would change the string's meaning if it were dropped, is refused."""
    assert "hunter2" not in str(refused(text, message))


@pytest.mark.parametrize("text", ["port=0", "port=65536", "postgresql://h:0"])
def test_ports_out_of_range(text: str) -> None:
    """A port that no server can have is refused when the configuration is built."""
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
        "min_protocol_version=3.0 max_protocol_version=latest",
        "max_protocol_version=3.0",
        "keepalives_idle=0 keepalives_interval=-1 keepalives_count=0 tcp_user_timeout=0",
        "ssl_min_protocol_version=TLSv1",
        "sslcertmode=allow",
        "tls_mode='' tls_pins='' tls_server_name='' server_settings='' scram_max_iterations='' tls_max_version=''",
    ],
)
def test_what_is_harmless(text: str) -> None:
    """Keywords that ask for nothing that we lack are accepted."""
    assert Config.from_conninfo(f"host=h user=u {text}") == Config(host="h", user="u")


@pytest.mark.parametrize(("text", "seconds"), [("0", None), ("-1", None), ("1", 1.0), (" 30 ", 30.0)])
def test_connect_timeout(text: str, seconds: float | None) -> None:
    """Zero and less mean no limit."""
    assert Config.from_conninfo(f"host=h user=u connect_timeout='{text}'").connect_timeout == seconds


def test_default_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a host libpq goes to the socket directory where a server listens, else to localhost."""
    monkeypatch.setattr(paths, "SOCKET_DIRECTORIES", (str(tmp_path),))
    assert config_fields("")["host"] == "localhost"
    (tmp_path / ".s.PGSQL.5433").touch()
    assert config_fields("port=5433")["host"] == str(tmp_path)
    assert config_fields("port=5432")["host"] == "localhost"
    assert config_fields("hostaddr=192.0.2.7 port=5433")["host"] == "192.0.2.7"


def test_overrides() -> None:
    """Arguments take precedence over the string."""
    config = Config.from_conninfo("host=h user=u sslmode=prefer", user="v", tls_root_cert_path="/mine.pem")
    assert (config.user, config.host, config.tls_root_cert_path) == ("v", "h", "/mine.pem")


def test_override_of_the_mode_replaces_all_of_it() -> None:
    """`tls_mode` as an argument takes the place of the string's sslmode, its second connection included."""
    config = Config.from_conninfo("host=h user=u sslmode=prefer", tls_mode="require")
    assert (config.tls_mode, config.tls_fallback) == (TlsMode.REQUIRE, False)


def test_keepalives_and_the_fallback_name() -> None:
    """``keepalives`` and ``fallback_application_name`` mean what they mean to libpq."""
    assert Config.from_conninfo("host=h user=u keepalives=1").keepalives
    assert not Config.from_conninfo("host=h user=u keepalives=0").keepalives
    with pytest.raises(ConfigError, match="invalid integer value"):
        Config.from_conninfo("host=h user=u keepalives=yes")
    assert Config.from_conninfo("host=h user=u fallback_application_name=f").application_name == "f"
    assert Config.from_conninfo("host=h user=u fallback_application_name=f application_name=a").application_name == "a"


def test_space_that_is_none() -> None:
    """A no-break space is no blank, and stands where a keyword should."""
    with pytest.raises(ConfigError, match='missing "="'):
        Config.from_conninfo("\xa0")


def test_every_keyword_of_libpq_is_known() -> None:
    """No keyword of libpq's own list is an unknown one."""
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
def test_strings_of_another_kind(text: str) -> None:
    """Semicolons, and a slash in a password, would make the rest a name for the DNS: refused, and not shown."""
    with pytest.raises(ConfigError) as caught:
        Config.from_conninfo(text)
    assert "hunter2" not in str(caught.value)


def test_semicolons_in_a_value() -> None:
    """A semicolon that separates nothing is a character like others, and in a password all are."""
    assert parse("dbname=a;b password=a;user=b") == {"dbname": "a;b", "password": "a;user=b"}


def test_no_sockets_where_anybody_may_make_one() -> None:
    """Where no host is named, no socket is looked for in a directory that everybody may write to."""
    assert not any(Path(folder).exists() and Path(folder).stat().st_mode & 0o002 for folder in DIRECTORIES)
    assert "/tmp" not in DIRECTORIES  # noqa: S108 - that is the point
