"""`babar-tls explain` with URLs of JDBC and SQLAlchemy: where their drivers differ from libpq."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from .test_foreign_urls import JAVA_ROOTS, NO_VERIFICATION, SECRET, explained, home, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Outcome

__all__ = ["home"]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "babar", "asyncpg", "pg8000"])
def test_repeated_parameter_of_sqlalchemy_is_refused(cli: Callable[..., Outcome], driver: str) -> None:
    """SQLAlchemy passes a tuple to the driver, which fails."""
    outcome = cli("explain", f"postgresql+{driver}://u:{SECRET}@h/d?sslmode=require&sslmode=verify-full")
    assert (outcome.status, SECRET in outcome.err) == (2, False)
    assert "the URL contains sslmode more than once" in outcome.err
    unnamed = cli("explain", f"postgresql+{driver}://h/d?{SECRET}=1&{SECRET}=2")
    assert (unnamed.status, SECRET in unnamed.err) == (2, False)


def test_parameter_in_the_path_is_reported(cli: Callable[..., Outcome]) -> None:
    for scheme in ("postgresql", "postgresql+psycopg", "jdbc:postgresql"):
        texts = [item["text"] for item in explained(cli, f"{scheme}://h/db&sslmode=verify-full")["warnings"]]
        assert texts[0].startswith('The database name contains "&sslmode="'), scheme
    warnings = explained(cli, "dbname=a&sslmode=b host=h require_auth=scram-sha-256 channel_binding=require")[
        "warnings"
    ]
    assert warnings == []


def test_append_begins_with_a_question_mark_if_the_query_becomes_empty(cli: Callable[..., Outcome]) -> None:
    changes = explained(cli, "postgresql://h/db?sslkeylogfile=/keys")["changes"]
    assert (changes["remove"], changes["append"][0]) == (["sslkeylogfile"], "?")
    changes = explained(cli, "postgresql://h/db?user=u&sslkeylogfile=/keys")["changes"]
    assert (changes["remove"], changes["append"][0]) == (["sslkeylogfile"], "&")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            "asyncpg://h/d?sslmode=require",
            ["sslmode to asyncpg, which raises TypeError", "Use ssl, for example ssl=requ"],
        ),
        ("asyncpg://h/d?ssl=require&passfile=/p", ["ssl was read as sslmode"]),
        ("pg8000://h/d?sslmode=require&sslrootcert=/r", ["sslmode, sslrootcert to pg8000, which raises TypeError"]),
        ("pg8000://h/d?ssl=require", ["ssl to pg8000, which raises TypeError", "ssl_context"]),
        ("pg8000://h/d", ["cannot require", "verifies no certificate by default", "postgresql+babar_pg8000"]),
    ],
)
def test_difference_of_a_driver_is_noted(cli: Callable[..., Outcome], query: str, words: list[str]) -> None:
    notes = " ".join(explained(cli, f"postgresql+{query}")["notes"])
    for text in words:
        assert text in notes
    assert ("TypeError" in notes) == any("TypeError" in text for text in words)


@pytest.mark.parametrize("driver", ["babar", "babar_asyncpg"])
def test_cache_size_is_accepted_as_in_sqlalchemy(cli: Callable[..., Outcome], driver: str) -> None:
    url = f"postgresql+{driver}://h/d?prepared_statement_cache_size="
    assert explained(cli, f"{url}5")["changes"]["append"].startswith("&")
    assert cli("explain", f"{url}many").status == 2


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sslMode=require&loginTimeout=3", "sslMode (did you mean sslmode?), loginTimeout"),
        (f"password=a&{SECRET}=b&ssl=true", "properties whose names may belong to a password"),
        (
            "sslmode=verify-full&sslrootcert=system",
            f"the name of a file. For Java's trust store, replace it by {JAVA_ROOTS}",
        ),
        (
            f"{JAVA_ROOTS}&sslcert=/c&sslkey=/k",
            "DefaultJavaSSLFactory ignores sslcert and sslkey: no client certificate",
        ),
    ],
)
def test_difference_of_pgjdbc_is_noted(cli: Callable[..., Outcome], query: str, words: str) -> None:
    assert words in " ".join(explained(cli, f"jdbc:postgresql://h/d?{query}")["notes"])


@pytest.mark.parametrize("mode", ["", f"&{NO_VERIFICATION}"])
def test_client_certificate_of_jdbc_is_kept(
    cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Java's factory ignores sslcert and sslkey, so the trust store's file is advised in place of it."""
    roots = tmp_path / "roots.pem"
    roots.write_text("-")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    document = explained(cli, f"jdbc:postgresql://h/d?sslcert=/c&sslkey=/k{mode}")
    assert "sslfactory" not in document["changes"]["append"]
    assert f"sslmode=verify-full&sslrootcert={quote(str(roots), safe='')}&" in document["changes"]["append"]
    assert document["changes"]["remove"] == (["sslfactory"] if mode else [])
    assert "the CA certificates must be in a file" in " ".join(document["notes"])


def test_gssapi_mode_of_jdbc_is_translated() -> None:
    assert values("jdbc:postgresql://h/d?gssEncMode=allow")["gssencmode"] == "prefer"
    assert values("jdbc:postgresql://h/d?gssEncMode=disable")["gssencmode"] == "disable"


def test_jdbc_url_of_another_database_gets_fitting_advice(cli: Callable[..., Outcome]) -> None:
    error = cli("explain", "jdbc:mysql://h/d").err
    assert "this library connects to PostgreSQL" in error
    assert "libpq's names" not in error


def test_missing_root_file_of_another_library_is_a_problem(cli: Callable[..., Outcome]) -> None:
    """The remedy has the form of the URL. Client certificates and backends of this library are not examined."""
    for url in ("jdbc:postgresql://h/d?ssl=true", "postgresql+psycopg://h/d?sslmode=verify-full"):
        outcome = cli("explain", url, "--json")
        assert outcome.status == 2
        (problem,) = outcome.document["problems"]
        assert "root.crt" in problem["text"]
        assert ("sslfactory" if url.startswith("jdbc") else "sslrootcert=system") in problem["remedy"]
    assert explained(cli, f"jdbc:postgresql://h/d?ssl=true&{JAVA_ROOTS}")["problems"] == []
    (problem,) = explained(cli, "jdbc:postgresql://h/d?ssl=true&sslrootcert=system&sslcert=/c")["problems"]
    assert (problem["text"].split('"')[1], "sslfactory" in problem["remedy"]) == ("./system", False)
    assert explained(cli, "postgresql+psycopg://h/d?sslcert=/nonexistent")["problems"] == []
    assert "/nonexistent" in explained(cli, "postgresql+babar://h/d?sslcert=/nonexistent")["problems"][0]["text"]


def test_asyncpg_is_advised_to_use_the_dialect_of_this_library(cli: Callable[..., Outcome]) -> None:
    notes = " ".join(explained(cli, f"postgresql+asyncpg://u:{SECRET}@h/d?prepared_statement_cache_size=0")["notes"])
    assert "postgresql+babar_asyncpg" in notes
    assert "sslmode=prefer" in notes
