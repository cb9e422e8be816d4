"""`babar-tls explain` with URLs of JDBC and SQLAlchemy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from babar_tls.config import Config
from babar_tls.conninfo import parse
from babar_tls.errors import ConfigError
from babar_tls.explain.foreign_urls import translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Outcome

SECRET = "hush-hush"
JAVA_ROOTS = "sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"
NO_VERIFICATION = "sslfactory=org.postgresql.ssl.NonValidatingFactory"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide a home without files, and an environment without PG* variables."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGUSER", "PGPASSWORD", "PGSSLMODE", "PGHOST", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)


def explained(cli: Callable[..., Outcome], text: str, *arguments: str) -> dict[str, Any]:
    outcome = cli("explain", text, "--json", *arguments)
    assert outcome.status in {0, 2}, outcome
    assert SECRET not in outcome.out + outcome.err
    assert outcome.document["problems"] or outcome.status == 0
    return outcome.document


def values(text: str) -> dict[str, str]:
    """Return libpq's keywords of a URL of another library."""
    url = translate(text)
    assert url is not None
    return parse(url.conninfo)


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("jdbc:postgresql:", {"host": "localhost", "port": "5432"}),
        ("jdbc:postgresql:/", {"host": "localhost", "port": "5432"}),
        ("jdbc:postgresql://", {"host": "localhost", "port": "5432"}),
        ("jdbc:postgresql:shop", {"host": "localhost", "port": "5432", "dbname": "shop"}),
        ("jdbc:postgresql://h/", {"host": "h", "port": "5432"}),
        ("jdbc:postgresql://h:1,[::1]:2,:3/a%20b", {"host": "h,::1,localhost", "port": "1,2,3", "dbname": "a b"}),
        (
            "jdbc:postgresql://h/d?user=u&password=p%26&ApplicationName=it%27s+me&connectTimeout=3",
            {"user": "u", "password": "p&", "application_name": "it's me", "connect_timeout": "3"},
        ),
        (
            "jdbc:postgresql://h/d?sslNegotiation=direct&sslmode=REQUIRE",
            {"sslnegotiation": "direct", "sslmode": "require"},
        ),
        (
            "jdbc:postgresql://h/d?targetServerType=preferSlave&loadBalanceHosts=true",
            {"target_session_attrs": "prefer-standby", "load_balance_hosts": "random"},
        ),
        ("jdbc:postgresql://h/d?channelBinding=require", {"channel_binding": "require"}),
        ("jdbc:postgresql://h/d?requireAuth=!md5", {"require_auth": "!md5"}),
    ],
)
def test_jdbc_properties_become_keywords(text: str, keywords: dict[str, str]) -> None:
    assert values(text).items() >= keywords.items()


@pytest.mark.parametrize(
    ("query", "mode", "roots"),
    [
        ("", "prefer", None),
        ("ssl=false", "prefer", None),
        ("ssl=true", "verify-full", None),
        ("ssl", "verify-full", None),
        ("ssl=true&sslmode=require", "require", None),
        ("sslmode=require&sslrootcert=/ca.pem", "require", None),
        ("sslmode=verify-ca&sslrootcert=/ca.pem", "verify-ca", "/ca.pem"),
        (f"sslmode=verify-full&{JAVA_ROOTS}", "verify-full", "system"),
        (f"sslmode=require&{JAVA_ROOTS}", "verify-ca", None),
        (f"sslmode=verify-full&{NO_VERIFICATION}", "require", None),
    ],
)
def test_tls_has_the_meaning_of_pgjdbc(query: str, mode: str, roots: str | None) -> None:
    found = values(f"jdbc:postgresql://h/d?{query}")
    assert (found["sslmode"], found.get("sslrootcert")) == (mode, roots)


VERIFY = f"sslmode=verify-full&{JAVA_ROOTS}"


@pytest.mark.parametrize(
    ("text", "append", "remove"),
    [
        ("jdbc:postgresql://h/d", f"?{VERIFY}&channelBinding=require&requireAuth=scram-sha-256", []),
        ("jdbc:postgresql://h/d?user=u&ssl=false", f"&{VERIFY}&channelBinding=require&requireAuth=scram-sha-256", []),
        (f"jdbc:postgresql://h/d?sslmode=verify-ca&{JAVA_ROOTS}&channelBinding=require", "&sslmode=verify-full", []),
        (f"jdbc:postgresql://h/d?ssl=true&{NO_VERIFICATION}&channelBinding=require", f"&{VERIFY}", []),
        (
            f"jdbc:postgresql://h/d?sslrootcert=/ca.pem&{NO_VERIFICATION}&channelBinding=require",
            "&sslmode=verify-full",
            ["sslfactory"],
        ),
        (f"jdbc:postgresql://h/d?sslmode=verify-full&{JAVA_ROOTS}&channelBinding=require", "", []),
        (
            "postgresql+psycopg2://u:p@h/d",
            "?sslmode=verify-full&sslrootcert=system&require_auth=scram-sha-256&channel_binding=require",
            [],
        ),
        (
            "postgresql+asyncpg://u:p@h/d?ssl=require",
            "?sslmode=verify-full&sslrootcert=system&require_auth=scram-sha-256&channel_binding=require",
            ["ssl"],
        ),
        (
            "postgresql+asyncpg://u:p@h/d?ssl=verify-full",
            "?sslmode=verify-full&require_auth=scram-sha-256&channel_binding=require",
            ["ssl"],
        ),
        (
            "postgresql+psycopg2://u:p@h/d?sslmode=require",
            "?sslmode=verify-full&sslrootcert=system&require_auth=scram-sha-256&channel_binding=require",
            ["sslmode"],
        ),
        (
            "postgresql+asyncpg://u:p@h/d?application_name=a&sslmode=require",
            "&sslmode=verify-full&sslrootcert=system&require_auth=scram-sha-256&channel_binding=require",
            ["sslmode"],
        ),
        (
            "jdbc:postgresql://h/d?channelBinding=require&sslmode=require&sslrootcert=system",
            f"&{VERIFY}",
            ["sslrootcert"],
        ),
        ("postgresql+babar://u:p@h/d", "?require_auth=scram-sha-256&channel_binding=require", []),
    ],
)
def test_changes_have_the_form_of_the_url(
    cli: Callable[..., Outcome], text: str, append: str, remove: list[str]
) -> None:
    """After the changes, the URL has no weakness that a parameter removes."""
    changes = explained(cli, text)["changes"]
    assert (changes["append"], changes["remove"]) == (append, remove)
    if append:
        assert "append: " in cli("explain", text).out
    for name in remove:
        text = re.sub(f"(?<=[?&]){name}=[^&]*&?", "", text).rstrip("?&")
    assert explained(cli, f"{text}{append}")["changes"]["add"] == ""


def test_uri_gets_what_to_append(cli: Callable[..., Outcome]) -> None:
    out = cli("explain", f"postgresql://u:{SECRET}@h/db?sslmode=require").out
    assert "    append: &sslmode=verify-full&sslrootcert=system\n" in out
    assert "    append: ?channel_binding=require\n" in cli("explain", "postgresql://h").out
    assert "    add: channel_binding=require\n" in cli("explain", "host=h").out


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "babar", "babar_asyncpg"])
def test_parameters_of_libpq_are_unchanged(driver: str) -> None:
    found = values(f"postgresql+{driver}://u:p%40@h:1/d?sslmode=verify-ca&application_name=a%20b")
    assert found == {
        "user": "u",
        "password": "p@",
        "host": "h",
        "port": "1",
        "dbname": "d",
        "sslmode": "verify-ca",
        "application_name": "a b",
    }


def test_hosts_of_sqlalchemy_are_joined() -> None:
    found = values("postgresql+psycopg://u@/d?host=a:1&host=[::1]:2&host=c")
    assert (found["host"], found["port"]) == ("a,::1,c", "1,2,")
    assert values("postgresql+psycopg://u@/d?host=/run/postgresql")["host"] == "/run/postgresql"


def test_variables_that_the_driver_does_not_read_are_ignored(
    cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGUSER", "somebody")
    jdbc = explained(cli, "jdbc:postgresql://h/d")["parameters"]
    assert not any("environment" in item["source"] for item in jdbc)
    psycopg = {item["name"]: item["source"] for item in explained(cli, "postgresql+psycopg://h/d")["parameters"]}
    assert psycopg["tls_verify"] == "environment variable PGSSLMODE"


@pytest.mark.parametrize(
    "text",
    [
        f"jdbc:postgresql://u:{SECRET}@h/d",
        f"jdbc:postgresql://h?password={SECRET}",
        f"jdbc:postgresql://h/d/e?password={SECRET}",
        f"jdbc:postgresql://h:{SECRET}/d",
        f"jdbc:postgresql://[::1/d?password={SECRET}",
        f"jdbc:postgresql://h/d?password={SECRET}%ff",
        f"jdbc:postgresql://h/d?password={SECRET}%00",
        f"jdbc:postgresql://h/d?sslmode={SECRET}",
        f"jdbc:mysql://h/d?password={SECRET}",
        f"postgresql+asyncpg://u:{SECRET}@h/d?ssl=perhaps",
        f"postgresql+asyncpg://u:{SECRET}@x@h/d",
        f"postgresql+mystery://u:{SECRET}@h/d",
        f"postgresql+psycopg://u:{SECRET}@h/d?prepared_statement_name_func=x",
    ],
)
def test_malformed_url_is_refused_without_its_secret(cli: Callable[..., Outcome], text: str) -> None:
    outcome = cli("explain", text)
    assert outcome.status == 2
    if "sslmode" not in text:
        assert SECRET not in outcome.err


def test_configurations_refuse_foreign_urls() -> None:
    for text in ("jdbc:postgresql://h/d", "postgresql+asyncpg://h/d", "postgresql+babar://h/d"):
        with pytest.raises(ConfigError, match="invalid URI scheme"):
            Config.from_conninfo(text)


PARTS = st.lists(
    st.sampled_from(
        [
            "/",
            "//",
            ":",
            "@",
            "?",
            "&",
            "=",
            ",",
            "[",
            "]",
            "%",
            "%41",
            "%ff",
            "h",
            "1",
            "user=",
            "password=",
            "ssl",
            "ssl=true",
            "sslmode=",
            "require",
            "verify-full",
            "sslfactory=",
            "sslrootcert=",
            "system",
            "sslcert=",
            "sslMode=",
            "host=",
            "a:1",
            "#",
            " ",
            "'",
            "\\",
            "\0",
            "\udc80",
            "é",
        ]
    )
).map("".join)


@given(
    prefix=st.sampled_from(["jdbc:postgresql:", "jdbc:postgresql://", "postgresql+asyncpg://", "postgres+psycopg://"]),
    rest=PARTS,
)
@example(prefix="postgresql+asyncpg://", rest="?\udc80")
def test_every_url_is_translated_or_refused(prefix: str, rest: str) -> None:
    try:
        url = translate(prefix + rest)
        if url is not None:
            Config.from_conninfo(url.conninfo)
            assert url.write({}) == ""
            assert url.write({"sslmode": "verify-full", "sslrootcert": "system"}).startswith("sslmode=verify-full")
            assert set(url.removed({"sslmode": "verify-full"})) <= set(url.replaced)
    except ConfigError:
        pass


@given(secret=st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x4FFF), min_size=1), form=st.integers(0, 3))
def test_notes_and_errors_contain_no_secret(secret: str, form: int) -> None:
    text = (
        f"jdbc:postgresql://h/d?password={secret}&{secret}={secret}",
        f"jdbc:postgresql://h:{secret}/d?password={secret}",
        f"postgresql+asyncpg://u:{secret}@h/d?ssl=require",
        f"postgresql+pg8000://u:{secret}@h/d?{secret}={secret}",
    )[form]
    try:
        url = translate(text)
        assert url is not None
        shown = " ".join((*url.notes, *url.advise({"channel_binding": "require"}), repr(url)))
    except ConfigError as error:
        shown = str(error)
    assert secret not in shown
