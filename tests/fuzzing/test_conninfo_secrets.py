"""No error about a connection string shows a part of a secret, wherever the secret stands and whatever is wrong."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from babar_tls import Config
from babar_tls.conninfo import parse, syntax
from babar_tls.conninfo.keywords import KEYWORDS
from babar_tls.diagnostics import tracebacks
from babar_tls.errors import Error

from .profile import failure, fuzz

if TYPE_CHECKING:
    from collections.abc import Callable

SECRETS = [keyword.name for keyword in KEYWORDS.values() if keyword.secret]
SHOWN = 4  # characters that count as a part

PARTS = ["Zq7W", "x3kA", "vB9t", "Rm2L", "hUnt", "eR2x", "&k4Pq=", " mN5s=", "%4", "%zz"]
PIECES = st.sampled_from([*PARTS, *" \t\n'\"\\@/:?#%&=[],;"])
TEXTS = st.lists(PIECES, min_size=1, max_size=8).map("".join).filter(lambda text: any(map(str.isalnum, text)))


def in_quotes(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def everything(error: BaseException) -> str:
    """Return all that a report of an error contains, values of local variables included."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [(frame.name, frame.locals) for frame in report.stack if frame.filename != __file__]
    return f"{error!s} {error!r} {error.args!r} {vars(error)!r} {frames!r}"


def leaked(secret: str, text: str, report: str) -> list[str]:
    """Return the parts of a secret in a report that the rest of the string does not explain.

    Parts of punctuation only do not count: the remedies contain backslashes, and quotes around examples.
    """
    rest = text.replace(secret, "\0")
    parts = {secret[start : start + SHOWN] for start in range(len(secret) - SHOWN + 1)}
    return [part for part in parts if part in report and part not in rest and any(map(str.isalnum, part))]


def check(text: str, secret: str, call: Callable[[str], Any]) -> None:
    error: Error | None = None
    try:
        call(text)
    except Error as exc:
        error = exc
    if error is not None:
        assert leaked(secret, text, everything(error)) == [], str(error)


def from_conninfo(text: str) -> Config:
    return Config.from_conninfo(text, environ={})


ENDS = st.sampled_from(["", " x", " user=u", " usr=u", " sslmode=wrong", "'", " port=x", " require_auth=x", "\\"])
STRINGS = st.sampled_from(["{}{}={}{}", "{}{} = {}{}", "{}{}='{}{}", "{}{}='{}'{}", "{}user='{}={}{}", "{}{}\n=\n{}{}"])
BEFORE = st.sampled_from(["", "host=h ", "host=h user=u ", "user='x' host = h ", "passfile=/x ", "\ufeff", '"'])


@fuzz(8, before=BEFORE, name=st.sampled_from(SECRETS), secret=TEXTS, form=STRINGS, end=ENDS)
def test_keyword_string_shows_no_part_of_a_secret(before: str, name: str, secret: str, form: str, end: str) -> None:
    for value in (secret, in_quotes(secret)):
        text = form.format(before, name, value, end)
        check(text, secret, from_conninfo)
        check(text, secret, parse)


@fuzz(
    4,
    keyword=st.sampled_from(
        ["host", "hostaddr", "port", "sslmode", "require_auth", "service", "connect_timeout", "keepalives", "tls_sni"]
    ),
    separator=st.sampled_from([",", ";", "&", "\\ ", "?", ";; ", "', '"]),
    name=st.sampled_from(SECRETS),
    secret=TEXTS,
)
def test_value_shows_no_part_of_a_secret_that_it_contains(keyword: str, separator: str, name: str, secret: str) -> None:
    for text in (f"{keyword}=x{separator}{name}={secret}", f"{keyword}='x{separator}{name}={secret}'"):
        check(text, secret, from_conninfo)
    check(f"postgresql://h?{keyword}=x,{name}%3D{secret}", secret, from_conninfo)


QUERIES = st.sampled_from(["", "?", "?sslmode=wrong", "?usr=x", "?x", "?user=a=b", "?sslmode=require&", "?user=%zz"])
FORMS = st.sampled_from(
    [
        "postgresql://u:{}@h{}",
        "postgresql://:{}@h/d{}",
        "postgresql://u:{}@[::1]/d{}",
        "postgresql://u:{}@h1:1,h2:x/d{}",
        "postgresql://u:{}@[::1{}",
        "postgresql+asyncpg://u:{}@h{}",
        "jdbc:postgresql://u:{}@h{}",
        "psql postgresql://u:{}@h{}",
        " 'postgresql://u:{}@h{}'",
        "export DATABASE_URL=postgresql://u:{}@h{}",
        "POSTGRES://u:{}@h{}",
        "postgresql:u:{}@h{}",
        "host=postgresql://u:{}@h{}",
        "host=h dbname=postgresql://u:{}@h{}",
    ]
)


@fuzz(8, form=FORMS, secret=TEXTS, query=QUERIES)
def test_uri_shows_no_part_of_its_password(form: str, secret: str, query: str) -> None:
    for value in (secret, quote(secret, safe=""), secret.replace(" ", "")):
        text = form.format(value, query)
        check(text, value, from_conninfo)
        check(text, value, parse)


@fuzz(
    4,
    name=st.sampled_from([*SECRETS, "Password", "pwd", "passwd", "pass%77ord"]),
    secret=TEXTS,
    before=st.sampled_from(["", "user=u&", "usr=u&", "user&"]),
    query=st.sampled_from(["", "&x", "&usr=x", "&sslmode=wrong", "&user=%zz", "=x"]),
)
def test_query_shows_no_part_of_a_secret(name: str, secret: str, before: str, query: str) -> None:
    for value in (secret, quote(secret, safe="")):
        text = f"postgresql://h/d?{before}{name}={value}{query}"
        check(text, value, from_conninfo)
        check(text, value, parse)


@fuzz(2, secret=TEXTS)
def test_secret_of_the_environment_is_not_shown(secret: str) -> None:
    def call(text: str) -> Config:
        return Config.from_conninfo(text, environ={"PGPASSWORD": secret, "PGSSLMODE": "wrong"})

    check("host=h", secret, call)


@fuzz(1, name=st.sampled_from(SECRETS), secret=TEXTS.filter(lambda text: not set(text) & set("\n")), end=ENDS)
def test_service_file_shows_no_part_of_a_secret(name: str, secret: str, end: str, tmp_path_factory: Any) -> None:
    assume("\n" not in end)
    path = tmp_path_factory.mktemp("service") / "services"
    for line in (f"{name}={secret}{end}", f"{name} = {secret}", f"x{name}={secret}", secret):
        path.write_text(f"[s]\n{line}\nsslmode=wrong\n")
        check(f"service=s servicefile={path}", secret, from_conninfo)


def test_name_that_resembles_a_secret_is_no_secret() -> None:
    assert from_conninfo("host=passwords.example.com user=pwd").host == "passwords.example.com"
    with pytest.raises(Error, match='"passwords" not found'):
        from_conninfo("service=passwords")


def test_every_secret_hides_what_follows_it() -> None:
    for name in [*SECRETS, "PGPASSWORD", "passwd", "pwd", "passphrase", "Password"]:
        assert syntax._SECRET.search(name), name
    for name in ("user", "sslkey", "passfile", "tls_client_key"):
        assert not syntax._SECRET.search(name), name


# Sanity ------------------------------------------------------------------------------------------------------------


def test_parser_that_shows_what_follows_a_secret_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syntax, "_SECRET", re.compile("(?!)"))
    assert isinstance(failure(test_query_shows_no_part_of_a_secret), AssertionError)


def test_local_variables_that_stay_in_a_traceback_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracebacks, "clear_frames", lambda *_: None)
    assert isinstance(failure(test_keyword_string_shows_no_part_of_a_secret), AssertionError)
