"""Strings copied from other libraries and tools are refused; the error has the cause and the correct spelling."""

from __future__ import annotations

from typing import Any

import pytest

from babar_tls import Config, ConfigError, Session
from babar_tls.conninfo import parse
from babar_tls.conninfo.keywords import KEYWORDS

pytestmark = pytest.mark.usefixtures("home")

SECRET = "hunter2xyz"
URI = f"postgresql://u:{SECRET}@h/d"
AFTER_SCHEME = URI.removeprefix("postgresql")


def refused(conninfo: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.from_conninfo(conninfo)
    error = caught.value
    assert SECRET[:5] not in f"{error} {error!r} {vars(error)}"
    assert error.remedy
    return error


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2", "pg8000", "psycopg2cffi", "psycopg_async"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_driver_in_scheme_is_named(scheme: str, driver: str) -> None:
    error = refused(f"{scheme}+{driver}{AFTER_SCHEME}?sslmode=require")
    assert f'"{scheme}+{driver}"' in error.message
    assert 'Use "postgresql://"' in str(error)


@pytest.mark.parametrize(
    "text",
    [
        f"jdbc:{URI}",
        f"jdbc:postgresql://h/d?user=u&password={SECRET}",
        f"Postgresql{AFTER_SCHEME}",
        f"POSTGRES{AFTER_SCHEME}",
        f"postgis{AFTER_SCHEME}",
        f"postgresql:u:{SECRET}@h",
        f"postgresql:/u:{SECRET}@h?x=1",
    ],
)
def test_other_scheme_is_refused(text: str) -> None:
    error = refused(text)
    assert "URI scheme" in error.message
    assert 'Use "postgresql://"' in str(error)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (f'"{URI}"', "quote before URI"),
        (f"'{URI}'", "quote before URI"),
        (f"`{URI}`", "quote before URI"),
        (f"“{URI}”", "quote before URI"),
        (f"<{URI}>", "quote before URI"),
        (f" {URI}", "spaces before URI"),
        (f"\u00a0{URI}", "spaces before URI"),
        (f"\n{URI}", "U+000A before URI"),
        (f"\ufeff{URI}", "U+FEFF before URI"),
        (f"\u200b{URI}", "U+200B before URI"),
        (f"{URI}\n", "U+000A in URI"),
        (f"{URI}\r\n", "U+000D in URI"),
        (f"{URI}\u200b", "U+200B in URI"),
        (f"postgresql://u:{SECRET}@h\u200b/d", "U+200B in URI"),
        (f"psql {URI}", "command before URI"),
        (f'psql "{URI}"', "command before URI"),
        (f"$ psql {URI}", "command before URI"),
        (f"DATABASE_URL={URI}", "assignment before URI"),
        (f'DATABASE_URL="{URI}"', "assignment before URI"),
        (f"DATABASE_URL = {URI}?sslmode=require", "assignment before URI"),
        (f"DATABASE_URL: {URI}", "assignment before URI"),
        (f"export DATABASE_URL={URI}", "command before URI"),
        (f"$env:DATABASE_URL={URI}", "assignment before URI"),
        (f'"host=h password={SECRET}"', "quote before connection info string"),
        (f"psql 'host=h password={SECRET}'", "command before connection info string"),
        (f"\ufeffhost=h password={SECRET}", "U+FEFF before connection info string"),
        (f"host=h\u200b password={SECRET}", "U+200B in host"),
        (f"host=“h” password={SECRET}", "U+201C in host"),
        (f"host=h\u00a0password={SECRET}", "U+00A0 in host"),
    ],
)
def test_characters_around_string_are_named(text: str, cause: str) -> None:
    assert cause in refused(text).message


@pytest.mark.parametrize("host", [f"u:{SECRET}@h", f"u:a@{SECRET}", f"{SECRET}@h", f"g,u:{SECRET}@h"])
@pytest.mark.parametrize("hostaddr", ["", "127.0.0.1,127.0.0.1"])
def test_user_and_password_before_a_host_are_refused(host: str, hostaddr: str) -> None:
    hostaddr = hostaddr if "," in host else hostaddr.partition(",")[0]
    text = f"host='{host}' hostaddr='{hostaddr}'"
    assert 'host contains an "@"' in refused(text).message
    with pytest.raises(ConfigError, match='host contains an "@"') as caught:
        Config(host=host.rpartition(",")[2])
    assert SECRET[:5] not in f"{caught.value!r}{caught.value}"


def test_abstract_socket_name_with_hostaddr_is_accepted() -> None:
    assert Config.from_conninfo("host=@a hostaddr=127.0.0.1 user=u", environ={}).host == "@a"


@pytest.mark.parametrize("keyword", ["hostaddr", "service", "sslmode", "port", "connect_timeout", "sslcertmode"])
@pytest.mark.parametrize("text", [URI, f"u:{SECRET}@h"])
def test_uri_as_value_of_other_keyword_is_not_shown(keyword: str, text: str) -> None:
    refused(f"host=h {keyword}='{text}'")
    with pytest.raises(ConfigError) as caught:
        Config.from_conninfo("host=h", environ={f"{KEYWORDS[keyword].envvar}": text})
    assert SECRET[:5] not in f"{caught.value!r}{caught.value}"


@pytest.mark.parametrize("value", ["job; user=etl", "a;host=b", "see; password = x"])
def test_semicolons_in_a_quoted_value_are_accepted(value: str) -> None:
    assert parse(f"host=h application_name='{value}'")["application_name"] == value


def test_typographic_quotes_around_a_value_are_named() -> None:
    assert "Typographic quotes" in str(refused(f"host=h options=“-c b a=c” password={SECRET}"))


@pytest.mark.parametrize(
    ("parameter", "remedy"),
    [
        ("ssl=require", "sslmode=require"),
        ("ssl=1", "sslmode=require"),
        ("ssl=TRUE", "sslmode=require"),
        ("ssl=false", "sslmode=disable"),
        ("ssl=0", "sslmode=disable"),
        ("ssl=verify-full", "sslmode=verify-full"),
        ("ssl=prefer", "sslmode=prefer"),
        ("ssl=no-verify", "sslmode=require"),
        ("ssl=what", "sslmode"),
        ("sslaccept=strict", "sslmode=verify-full"),
        ("sslaccept=accept_invalid_certs", "sslmode=require"),
        ("supa=base-pooler.x", "Remove it"),
        ("pgbouncer=true", "statement_cache_size=0 to connect"),
        ("prepared_statement_cache_size=0", "SQLAlchemy"),
        ("statement_cache_size=0", "asyncpg, pass it to connect"),
        ("command_timeout=5", "asyncpg, pass it to connect"),
        ("connection_limit=1", "Remove it"),
        ("pool_timeout=1", "Remove it"),
        ("schema=public", "search_path"),
        ("currentSchema=public", "search_path"),
        ("search_path=public", "search_path"),
        ("connectTimeout=5", "connect_timeout"),
        ("targetServerType=primary", "target_session_attrs"),
        ("ApplicationName=x", "application_name"),
        ("sslMode=require", '"sslmode"'),
        ("statement_timeout=5s", "options"),
    ],
)
def test_parameters_of_other_libraries_have_a_remedy(parameter: str, remedy: str) -> None:
    for text in (f"{URI}?{parameter}", f"host=h {parameter} password={SECRET}", f"{URI}?sslmode=require&{parameter}"):
        error = refused(text)
        assert f'"{parameter.partition("=")[0]}"' in error.message
        assert remedy in str(error.remedy)


def test_jdbc_spelling_that_libpq_accepts_is_accepted() -> None:
    assert parse("postgresql://h?ssl=true") == {"host": "h", "sslmode": "require"}


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:a@{SECRET}@h/d",
        f"postgresql://u:{SECRET}@@h/d",
        f"postgresql://u:a@b/{SECRET}@h/d",
        f"postgresql://u:@{SECRET}/x@h/d",
        f"postgresql://u:a/{SECRET}@h/d",
        f"postgresql://u:/{SECRET}@h/d",
        f"postgresql://u:1/{SECRET}@h/d",
        f"postgresql://u:{SECRET}/@h/d",
        f"postgresql://u:a b{SECRET}@h/d",
        f"postgresql://u:a%{SECRET}@h/d",
        f"postgresql://u:a/b?{SECRET}@h/d",
    ],
)
def test_password_without_percent_encoding_is_not_used_as_host(text: str) -> None:
    assert "%" in str(refused(text).remedy)


def test_password_with_number_sign_is_read_as_by_libpq() -> None:
    assert parse("postgresql://u:a#b@h/d")["password"] == "a#b"


def test_at_sign_in_database_is_accepted_if_it_cannot_be_part_of_password() -> None:
    assert parse("postgresql://u@h/a@b")["dbname"] == "a@b"
    assert parse("postgresql://h/a@b")["dbname"] == "a@b"
    assert parse("postgresql://u:p@h/a%40b")["dbname"] == "a@b"


class Dsn:
    """An object whose text is a URI, like pydantic's PostgresDsn."""

    def __str__(self) -> str:
        return URI

    __repr__ = __str__


class Url(Dsn):
    """A URI that can hide its password, like SQLAlchemy's URL."""

    def __str__(self) -> str:
        return "postgresql://u:***@h/d"

    def render_as_string(self, hide_password: bool = True) -> str:
        return str(self) if hide_password else URI


class Secret(Dsn):
    def get_secret_value(self) -> str:
        return URI


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (Dsn(), "str(dsn)"),
        (Url(), "url.render_as_string(hide_password=False)"),
        (Secret(), "dsn.get_secret_value()"),
        (URI.encode(), "dsn.decode()"),
        (None, 'Pass ""'),
        ({"host": "h"}, "Config(**fields)"),
        (5, "str(dsn)"),
    ],
)
def test_objects_are_refused_with_the_expression_for_their_text(value: Any, remedy: str) -> None:
    assert remedy in str(refused(value).remedy)
    with pytest.raises(ConfigError, match="must be a str"):
        Session.connect(Config.from_conninfo(value))
    with pytest.raises(ConfigError, match="must be a str"):
        parse(value)


@pytest.mark.parametrize("mask", ["***", "**********"])
def test_masked_password_is_refused(mask: str) -> None:
    assert "render_as_string(hide_password=False)" in str(refused(f"postgresql://u:{mask}@h/d").remedy)
    assert parse("postgresql://u:%2A%2A%2A@h/d")["password"] == "***"


@pytest.mark.parametrize("name", ["host", "user", "database", "application_name"])
@pytest.mark.parametrize("text", [URI, f"postgresql+asyncpg{AFTER_SCHEME}", f"jdbc:{URI}", f"POSTGRES{AFTER_SCHEME}"])
def test_connection_string_is_refused_as_value_of_field(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is a connection string") as caught:
        Config(**{name: text})
    assert "Config.from_conninfo" in str(caught.value.remedy)
    assert SECRET[:5] not in f"{caught.value!r}"
