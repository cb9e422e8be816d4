"""URLs of SQLAlchemy as configurations."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra sqlalchemy")
pytest.importorskip("pg8000", reason="needs the extra pg8000")
pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from babar_tls import Config, ConfigError
from babar_tls.config.host import Host
from babar_tls.integrations import sqlalchemy as secure
from babar_tls.integrations._sqlalchemy_url import config_from_url, url_from_config


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)


def read(rest: str) -> Config:
    return config_from_url(make_url("postgresql+babar://" + rest))


@pytest.mark.parametrize(
    ("rest", "hosts"),
    [
        ("u@h/db", [Host("h", 5432)]),
        ("u@h:6000/db", [Host("h", 6000)]),
        ("u@[::1]/db", [Host("::1", 5432)]),
        ("u@[::1]:6000/db", [Host("::1", 6000)]),
        ("u@[fe80::1%25eth0]/db", [Host("fe80::1%eth0", 5432)]),
        ("u@a,b/db", [Host("a", 5432), Host("b", 5432)]),
        ("u@/db?host=a:1&host=b:2", [Host("a", 1), Host("b", 2)]),
        ("u@/db?host=a:1&host=b", [Host("a", 1), Host("b", 5432)]),
        ("u@/db?host=[::1]:1&host=[::2]", [Host("::1", 1), Host("::2", 5432)]),
        ("u@/db?host=a&host=b&port=7", [Host("a", 7), Host("b", 7)]),
        ("u@/db?host=a&host=b&port=7&port=8", [Host("a", 7), Host("b", 8)]),
        ("u@/db?host=a,b&port=1,2", [Host("a", 1), Host("b", 2)]),
        ("u@/db?host=a,b", [Host("a", 5432), Host("b", 5432)]),
        ("u@/db?host=a:6000", [Host("a", 6000)]),
        ("u@/db?host=/run/postgresql", [Host("/run/postgresql", 5432)]),
        ("u@/db?host=/run/a:b&port=9", [Host("/run/a:b", 9)]),
        ("u@/db?host=@abstract", [Host("@abstract", 5432)]),
        ("u@%2Frun%2Fpostgresql/db", [Host("/run/postgresql", 5432)]),
        ("u@h/db?hostaddr=192.0.2.7", [Host("h", 5432, "192.0.2.7")]),
    ],
)
def test_hosts(rest: str, hosts: list[Host]) -> None:
    config = read(rest)
    assert list(config.targets) == hosts
    assert (config.user, config.database) == ("u", "db")


def test_parameters_are_keywords_of_libpq_and_fields() -> None:
    config = read(
        "u@h/db?sslmode=verify-full&channel_binding=require&connect_timeout=7&tls_backend=rustls&options=-c%20a=b"
    )
    assert config == Config.from_conninfo(
        "host=h user=u dbname=db sslmode=verify-full channel_binding=require connect_timeout=7 tls_backend=rustls "
        "options='-c a=b'"
    )


@pytest.mark.parametrize(
    "rest",
    [
        "u@h/db?sslmodes=require",
        "u@h/db?sslmode=requiree",
        "u@h/db?sslmode=require&sslmode=disable",
        "u@h/db?ssl=require",
        "u@h/db?statement_cache_size=0",
        "u@/db?host=a:1&host=b:2&port=3",
        "u@/db?host=a:x&host=b",
    ],
)
def test_unknown_and_repeated_parameters_are_refused(rest: str) -> None:
    with pytest.raises(ConfigError):
        read(rest)


@pytest.mark.parametrize(
    ("parameter", "remedy"),
    [
        ("ssl=require", "sslmode=require"),
        ("sslmodes=require", '"sslmode"'),
        ("timeout=5", 'connect_args={"timeout": …}'),
        ("command_timeout=5", "asyncpg"),
        ("statement_cache_size=0", "connect_args"),
        ("prepared_statement_cache_size=0", "asyncpg"),
        ("tcp_keepalive=1", "pg8000"),
        ("async_fallback=true", "pg8000"),
        ("timeout=5&timeout=6", "connect_args"),
    ],
)
@pytest.mark.parametrize("credentials", ["u", "u:geheim"])
def test_unknown_parameters_are_named_with_their_remedy(credentials: str, parameter: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"{credentials}@h/d?sslmode=require&{parameter}")
    assert f'"{parameter.partition("=")[0]}"' in caught.value.message
    assert remedy in str(caught.value.remedy)
    assert "geheim" not in str(caught.value)


def test_rest_of_a_password_that_is_not_encoded_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        read("u:p@x?geheim=y@h/db")
    assert "geheim" not in str(caught.value)


def test_old_keyword_of_libpq_is_accepted() -> None:
    assert read("u@h/db?requiressl=1") == read("u@h/db?sslmode=require")


@pytest.mark.parametrize("name", ["password", "sslpassword", "tls_client_key_password", "scram_client_key"])
def test_secret_in_the_query_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        read(f"u@h/db?{name}=geheim")
    assert "geheim" not in str(caught.value)


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(user=TEXTS, password=TEXTS, application=TEXTS)
def test_user_password_and_parameters_survive_the_url(user: str, password: str, application: str) -> None:
    url = URL.create(
        "postgresql+babar", user, password, "db.example.com", 5433, "shop", {"application_name": application}
    )
    for again in (url, make_url(url.render_as_string(hide_password=False))):
        config = config_from_url(again)
        assert (config.user, config.password, config.application_name) == (user, password, application)


@given(
    hosts=st.lists(
        st.builds(
            Host,
            st.sampled_from(["a", "b.example.com", "::1", "192.0.2.1", "/run/postgresql"]),
            st.integers(1, 65535),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_url_of_a_config_names_its_hosts(hosts: list[Host]) -> None:
    url = url_from_config(Config(hosts=hosts, user="u", password="geheim", database="db"), "postgresql+babar")
    assert "geheim" not in url.render_as_string(hide_password=False)
    again = make_url(url.render_as_string(hide_password=False))
    assert again == url
    names = [(host.host, 0 if host.is_unix_socket else host.port) for host in config_from_url(again).targets]
    assert names == [(host.host, 0 if host.is_unix_socket else host.port) for host in hosts]


def test_password_with_special_characters() -> None:
    config = read("u:p%3A%2F%40%25%20%27x@h/db")
    assert config.password == "p:/@% 'x"


@pytest.mark.parametrize(
    "target",
    [
        "postgresql+babar://u:geheim@h/db?sslmode=require",
        "postgresql://u:geheim@h/db?sslmode=require",
        "host=h user=u password=geheim dbname=db sslmode=require",
        URL.create("postgresql", "u", "geheim", "h", None, "db", {"sslmode": "require"}),
        Config.from_conninfo("host=h user=u password=geheim dbname=db sslmode=require"),
    ],
    ids=lambda target: type(target).__name__,
)
@pytest.mark.parametrize("create", [secure.create_engine, secure.create_async_engine])
def test_targets_of_create_engine(create: Any, target: Any) -> None:
    engine = create(target)
    assert "geheim" not in f"{engine!r} {engine.url} {engine.url!r} {vars(engine.dialect)}"
    (config,), _ = engine.dialect.create_connect_args(engine.url)
    assert config == Config.from_conninfo("host=h user=u password=geheim dbname=db sslmode=require")
    assert engine.url.host == "h"
    assert (engine.dialect.name, engine.dialect.driver) in [("postgresql", "pg8000"), ("postgresql", "asyncpg")]


@pytest.mark.parametrize("create", [secure.create_engine, secure.create_async_engine])
@pytest.mark.parametrize(
    "target", ["host=h user=u password=a+b://c", "password='a+b' host=h user=u", "user=u host=h options='-c a=b+c://'"]
)
def test_connection_strings_may_contain_a_plus_sign(create: Any, target: str) -> None:
    engine = create(target)
    (config,), _ = engine.dialect.create_connect_args(engine.url)
    assert config == Config.from_conninfo(target)


@pytest.mark.parametrize("target", ["service=my+svc", "service=a+b://c"])
def test_service_may_contain_a_plus_sign(target: str) -> None:
    with pytest.raises(ConfigError, match="service"):
        secure.create_engine(target)


def test_dialect_by_url() -> None:
    for name, dialect in (("babar", secure.Dialect), ("babar_pg8000", secure.Dialect)):
        assert type(sqlalchemy.create_engine(f"postgresql+{name}://u@h/db").dialect) is dialect
    for name in ("babar", "babar_asyncpg"):
        assert type(create_async_engine(f"postgresql+{name}://u@h/db").dialect) is secure.AsyncDialect


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg2://u@h/db", "mysql+pymysql://u@h/db", "postgresql+asyncpg://u@h/db"]
)
def test_url_of_another_driver_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="dialect"):
        secure.create_engine(url)


@pytest.mark.parametrize(
    "create", [secure.create_engine, secure.create_async_engine, sqlalchemy.create_engine, create_async_engine]
)
@pytest.mark.parametrize("query", ["sslmode=always", "password=p"])
def test_errors_contain_no_local_variables_with_the_password(create: Any, query: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create(make_url(f"postgresql+babar://u:{'-'.join('geheim')}@h/db?{query}"))
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "-".join("geheim") not in text


def test_several_hosts_in_place_of_one() -> None:
    with pytest.raises(ConfigError, match="port") as caught:
        secure.create_engine("postgresql+babar://u:geheim@a:1,b:2/db")
    assert "geheim" not in str(caught.value)


def test_url_and_config_that_contradict_each_other_are_refused() -> None:
    config = Config(host="h", user="u")
    sqlalchemy.create_engine("postgresql+babar://", config=config)
    with pytest.raises(ConfigError, match="contradict"):
        sqlalchemy.create_engine("postgresql+babar://other/db", config=config)


@pytest.mark.parametrize("again", [secure.create_engine, sqlalchemy.create_engine, create_async_engine])
@pytest.mark.parametrize(
    "target",
    [
        Config(host="h", user="u", channel_binding="require", tls_min_version="TLSv1.3"),
        Config(host="/run/postgresql", user="u", require_peer="postgres"),
        Config(hosts=[Host("a"), Host("b")], user="u", require_auth="scram-sha-256"),
        "postgresql://u:geheim@h/db?sslmode=require&channel_binding=require",
    ],
    ids=["host", "socket", "hosts", "string"],
)
def test_url_of_an_engine_with_a_config_does_not_make_a_weaker_engine(target: Any, again: Any) -> None:
    engine = secure.create_engine(target)
    for url in (engine.url, str(engine.url), engine.url.set(database="other")):
        with pytest.raises(ConfigError, match="only a part of its configuration") as caught:
            again(url)
        assert "Config" in str(caught.value.remedy)
    config = target if isinstance(target, Config) else Config.from_conninfo(target)
    copy = sqlalchemy.create_engine(engine.url, config=config)
    assert copy.dialect.create_connect_args(copy.url)[0] == [config]


def test_faults_of_the_url_are_reported_when_the_engine_is_created() -> None:
    with pytest.raises(ConfigError, match="sslmode"):
        sqlalchemy.create_engine("postgresql+babar://u@h/db?sslmode=always")
    with pytest.raises(ConfigError, match="prepared_statement_cache_size"):
        create_async_engine("postgresql+babar://u@h/db?prepared_statement_cache_size=many")
