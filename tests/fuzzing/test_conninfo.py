"""Connection strings: libpq accepts and refuses the same ones, with the same values, and errors show no password."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st

from babar_tls.conninfo import parse, resolve, syntax
from babar_tls.errors import ConfigError, Error

from .mutations import edited
from .profile import corpus, failure, fuzz

pq = pytest.importorskip("psycopg.pq", reason="libpq is the oracle: pip install psycopg[binary]")
if pq.version() < 180000:
    pytest.skip("older versions of libpq have fewer keywords", allow_module_level=True)

CORPUS = corpus("conninfo")

#: Parts of our errors for strings that libpq's parser accepts and this library refuses on purpose.
STRICTER = (
    'more than one "@" before the host',  # libpq would resolve a host name that contains half of a password
    'invalid integer value for connection option "port"',  # libpq parses the number later, and shows it
    'unexpected "@" in the path',  # a password with a slash makes libpq take the user for the host
    'parameters are separated by ";"',  # the rest of a string of another library would be a host name
    "unexpected character U+",  # control characters and invisible ones in a URI remain from copying
    "masked by asterisks",  # what SQLAlchemy's str(url) has in place of the password
    "is not UTF-8",  # the protocol's encoding is UTF-8
)


def read_by_libpq(text: str) -> dict[str, str] | None:
    try:
        options = pq.Conninfo.parse(text.encode())
    except Exception:  # psycopg raises OperationalError, and its own errors for an empty message
        return None
    return {option.keyword.decode(): os.fsdecode(option.val) for option in options if option.val is not None}


def check_agreement(text: str) -> None:
    try:
        ours: dict[str, str] | None = parse(text)
    except ConfigError as exc:
        if any(reason in str(exc) for reason in STRICTER):
            return
        ours = None
    assert ours == read_by_libpq(text)


# Grammar -----------------------------------------------------------------------------------------------------------

#: Keywords of this version of libpq, and unknown ones.
KEYWORDS = st.sampled_from(
    [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    + ["host", "user", "password", "port", "dbname", "sslmode", "requiressl", "ssl", "User", "pasword", "x", "é"]
)
CHARACTERS = st.sampled_from("ab1é\u00a0 '\\=%@/,:?#&+[];\t\n\v\u20ac") | st.characters(
    codec="utf-8", exclude_characters="\0"
)
VALUES = st.text(CHARACTERS, max_size=8)
SPACES = st.sampled_from(["", "", " ", "  ", "\t", "\n", "\r\n", "\v\f", "\u00a0"])


def in_quotes(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def escaped(value: str) -> str:
    return "".join("\\" + char if char in " \t\n\v\f\r'\\" else char for char in value)


ASSIGNMENTS = st.builds(
    "{}{}={}{}{}".format,
    KEYWORDS,
    SPACES,
    SPACES,
    st.one_of(VALUES.map(in_quotes), VALUES.map(in_quotes), VALUES.map(escaped), VALUES),
    st.sampled_from([" ", " ", "\n", "\t ", ""]),
)
KEYWORD_STRINGS = st.lists(ASSIGNMENTS, max_size=5).map("".join)


def encoded(safe: str) -> st.SearchStrategy[str]:
    """Percent-encode a value except for `safe`, rarely not at all."""
    return st.tuples(VALUES, st.integers(0, 9)).map(lambda drawn: quote(drawn[0], safe=safe) if drawn[1] else drawn[0])


HOSTS = st.one_of(
    st.sampled_from(
        ["", "h", "db.example.com", "192.0.2.7", "[::1]", "[fe80::1%25lo]", "%2Ftmp", " h ", "[", "[]", "[::1]x"]
    ),
    encoded(""),
)
PORTS = st.sampled_from(["", "", "", ":", ":5433", ":5433x", ":%35", ": 1"])
QUERIES = st.lists(st.builds("{}={}".format, KEYWORDS | encoded(""), encoded("/?#")), max_size=3).map("&".join)
URIS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["postgresql", "postgres", "postgresql", "postgres", "Postgres", "postgresq"]),
    st.one_of(
        st.just(""),
        encoded("+").map("{}@".format),
        st.tuples(encoded("+"), encoded(":?#@")).map(lambda pair: ":".join(pair) + "@"),
    ),
    st.lists(st.tuples(HOSTS, PORTS).map("".join), min_size=1, max_size=3).map(",".join),
    st.one_of(st.sampled_from(["", "/", "/d"]), encoded("/").map("/{}".format)),
    st.one_of(st.just(""), st.just("?"), QUERIES.map("?{}".format), QUERIES.map("?{}&".format)),
)
PIECES = st.sampled_from([*list("=%@:/?&,[]' \\a5;#"), "", "", "%00", "%2", "%zz", "://", "password=", "''", "\\\\"])


@fuzz(4, data=st.data(), text=KEYWORD_STRINGS)
def test_keyword_strings_mean_what_they_mean_to_libpq(data: st.DataObject, text: str) -> None:
    check_agreement(text)
    check_agreement(data.draw(edited(text, PIECES)))


@fuzz(4, data=st.data(), text=URIS)
def test_uris_mean_what_they_mean_to_libpq(data: st.DataObject, text: str) -> None:
    check_agreement(text)
    check_agreement(data.draw(edited(text, PIECES)))


@fuzz(
    1,
    text=st.text(CHARACTERS, max_size=25),
    prefix=st.sampled_from(["", "user=", "postgresql://", "postgres://h?user="]),
)
def test_arbitrary_text_means_what_it_means_to_libpq(text: str, prefix: str) -> None:
    check_agreement(prefix + text)


# Secrets -----------------------------------------------------------------------------------------------------------

#: Words of passwords that a caller has not quoted or percent-encoded; no error may show one of them.
WORDS = ("Zq7Wx3kA", "vB9tRm2LuE", "hUnteR2xyz")
PASSWORDS = st.lists(st.sampled_from(WORDS) | st.sampled_from(" =@/'\\%&?:;#,[]+\t"), min_size=1, max_size=6).map(
    "".join
)
BEFORE = st.sampled_from(["", "host=h ", "host=h user=u ", "host='h' user=u ", "sslmode=require ", "port=x "])
AFTER = st.sampled_from(["", " user=u", " dbname=d sslmode=x", " port=x", " sslmode=verify-full", " nonsense", "'"])
CARELESS = st.one_of(
    st.builds("{}password={}{}".format, BEFORE, PASSWORDS, AFTER),
    st.builds("{}password='{}'{}".format, BEFORE, PASSWORDS, AFTER),
    st.builds("{}password = {}{}".format, BEFORE, PASSWORDS, AFTER),
    st.builds(
        "postgresql://u:{}@{}{}".format,
        PASSWORDS,
        st.sampled_from(["h", "h:5432", "h:x", "h1,h2:5432", "[::1]", "[::1", ""]),
        st.sampled_from(["", "/", "/d", "/d?sslmode=x", "/d?nonsense=1", "?x", "/d?sslmode=require&"]),
    ),
    st.builds("postgresql://h/d?user=u&password={}{}".format, PASSWORDS, st.sampled_from(["", "&sslmode=x", "&x"])),
)


@fuzz(4, text=CARELESS)
def test_error_shows_no_part_of_a_password_that_should_have_been_quoted(text: str) -> None:
    error: Error | None = None
    try:
        resolve(text, allow_files=False, environ={})
    except Error as exc:
        error = exc
    if error is not None:
        assert [word for word in WORDS if word in str(error)] == []


@pytest.mark.parametrize("name", CORPUS)
def test_stored_strings_mean_what_they_mean_to_libpq(name: str) -> None:
    check_agreement(CORPUS[name].decode())


# Sanity ------------------------------------------------------------------------------------------------------------


def test_other_blanks_than_those_of_c_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = syntax._VALUE.pattern.replace(syntax._SPACES, syntax._SPACES + "\u00a0")
    monkeypatch.setattr(syntax, "_VALUE", re.compile(pattern, re.DOTALL))
    assert isinstance(failure(test_keyword_strings_mean_what_they_mean_to_libpq), AssertionError)


def test_plus_that_is_decoded_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = syntax._decode
    monkeypatch.setattr(syntax, "_decode", lambda text: correct(text).replace("+", " "))
    assert isinstance(failure(test_uris_mean_what_they_mean_to_libpq), AssertionError)


def test_error_that_shows_the_string_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    correct: Any = syntax._parse_keywords

    def broken(text: str) -> Any:
        try:
            return correct(text)
        except ConfigError as exc:
            raise ConfigError(f"{exc.message} in {text}") from None

    monkeypatch.setattr(syntax, "_parse_keywords", broken)
    test = test_error_shows_no_part_of_a_password_that_should_have_been_quoted
    assert isinstance(failure(test), AssertionError)
