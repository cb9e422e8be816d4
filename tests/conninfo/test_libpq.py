"""Comparison with libpq: strings, variables and service files have the same meaning, or are refused.

libpq is called through `psycopg.pq`.
"""

from __future__ import annotations

import os
import random
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from babar_tls.config import Config
from babar_tls.conninfo import parse, resolve
from babar_tls.conninfo.keywords import ALIAS, KEYWORDS, OWN
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pq = pytest.importorskip("psycopg.pq", reason="libpq is the oracle: pip install psycopg[binary]")
if pq.version() < 180000:
    pytest.skip("needs libpq 18", allow_module_level=True)

#: Strings that libpq's parser accepts and babar-tls refuses: a part of the error, and the reason. babar-tls accepts all
#: other strings that libpq accepts.
STRICTER = {
    'more than one "@" before the host': "a part of the password would become the hostname, and be sent to DNS",
    'invalid integer value for connection option "port"': "a port that is not a number may be the start of a password",
    'unexpected "@" in the path': "the text before it is a password with a slash, so the user would become the host",
    "separated by": "the rest of another library's string, with its password, would become the hostname",
    "is not UTF-8": "only UTF-8 is supported",
}


pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """Reserve a port that refuses connections."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


# Parsing -----------------------------------------------------------------------------------------------------------


def read_by_libpq(text: str) -> dict[str, str] | None:
    try:
        options = pq.Conninfo.parse(text.encode())
    except Exception:
        return None
    return {option.keyword.decode(): os.fsdecode(option.val) for option in options if option.val is not None}


def difference(text: str) -> tuple[Any, ...] | None:
    """Return the text and both results if they differ, or `None`; differences in `STRICTER` are allowed."""
    theirs = read_by_libpq(text)
    try:
        ours: dict[str, str] | None = parse(text)
    except ConfigError as exc:
        if any(reason in str(exc) for reason in STRICTER):
            return None
        ours = None
    return None if ours == theirs else (text, theirs, ours)


KEYS = [
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "application_name",
    "options",
    "sslmode",
    "requiressl",
    "connect_timeout",
]


def keyword_string(chance: random.Random) -> str:
    spaces = (" ", "  ", "\t", "\n", " \r\n", "\v\f")
    pieces = []
    for _ in range(chance.randint(0, 5)):
        value = "".join(chance.choices("ab1é\u00a0 '\\=%@/,", k=chance.randint(0, 6)))
        style = chance.random()
        if style < 0.6:
            value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        elif style < 0.9:
            value = "".join("\\" + char if char in " '\\" else char for char in value)
        around = chance.choice(("", "", " ", "\t "))
        pieces.append(chance.choice(KEYS) + around + "=" + around + value + chance.choice(spaces))
    return "".join(pieces)


def uri(chance: random.Random) -> str:
    def value(safe: str) -> str:
        text = "".join(chance.choices("ab1é :/?#@&=%+", k=chance.randint(0, 5)))
        return quote(text, safe=safe if chance.random() < 0.9 else safe + "?#=&+: ")

    def place() -> str:
        host = chance.choice(("", "h", "db.example.com", "192.0.2.7", "[::1]", "[fe80::1%25lo]", "%2Ftmp", " h "))
        return host + chance.choice(("", "", ":", ":5433"))

    credentials = chance.choice(("", value("+") + "@", f"{value('+')}:{value(':?#')}@"))
    places = ",".join(place() for _ in range(chance.choice((1, 1, 1, 2, 3))))
    path = chance.choice(("", "/", "/" + value("/")))
    query = "&".join(f"{chance.choice(KEYS)}={value('/?#')}" for _ in range(chance.randint(0, 3)))
    scheme = chance.choice(("postgresql", "postgres"))
    return f"{scheme}://{credentials}{places}{path}" + chance.choice(("", "?" + query, "?" + query + "&"))


def damaged(chance: random.Random) -> str:
    """Return a string with a few characters replaced, removed or inserted."""
    text = list(chance.choice((keyword_string, uri))(chance))
    for _ in range(chance.randint(1, 3)):
        position = chance.randrange(len(text) + 1)
        text[position : position + chance.randint(0, 1)] = chance.choices("=%@:/?&,[]' \\a5", k=chance.randint(0, 2))
    return "".join(text)


@pytest.mark.parametrize("generate", [keyword_string, uri, damaged])
def test_generated_strings_are_parsed_as_by_libpq(generate: Callable[[random.Random], str]) -> None:
    """Valid and damaged strings have the same values as in libpq, or are refused if libpq refuses them."""
    chance = random.Random(5432)  # noqa: S311 - the same strings in every run
    texts = [generate(chance) for _ in range(1500)]
    assert [found for found in map(difference, texts) if found] == []
    assert sum(read_by_libpq(text) is not None for text in texts) > 300


@pytest.mark.parametrize(
    "text",
    [
        "requiressl=1",
        "requiressl=0 sslmode=allow",
        "sslmode=allow requiressl=1",
        "postgresql://?sslmode=allow&ssl=true",
        "postgresql:// /d",
        "postgresql://a,b",
        "postgresql://:5,:6",
        "postgresql://[::1],b:2/x?port=1",
        "postgresql://[a/b?c]/d",
        "postgresql://[::1]]",
        "postgresql://h,[::1",
        "postgresql://[]",
        "postgresql://a?host=",
        "postgresql://a,%20b",
        "postgresql://a ,b",
        "postgresql://a%2Cb:1",
        "postgresql://h?=x",
        "postgresql://h?%75ser=x",
        "postgresql://h/?&",
        "POSTGRESQL://h",
        " postgresql://h",
        "user='a''b'",
        "'user'=a",
    ],
)
def test_corner_cases_are_parsed_as_by_libpq(text: str) -> None:
    assert difference(text) is None


# Keywords ----------------------------------------------------------------------------------------------------------


def test_keywords_and_variables_are_those_of_libpq() -> None:
    """All other keywords are in `OWN`. The keywords that libpq hides are marked as secret."""
    theirs = {
        option.keyword.decode(): (option.envvar.decode() if option.envvar else None)
        for option in pq.Conninfo.get_defaults()
    }
    own = {keyword.name for keyword in OWN} | {ALIAS}
    ours = {name: keyword.envvar for name, keyword in KEYWORDS.items() if name not in own}
    assert ours.pop("servicefile") == "PGSERVICEFILE"  # a keyword in libpq 19
    assert ours == theirs
    hidden = {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*"}
    assert hidden <= {name for name, keyword in KEYWORDS.items() if keyword.secret}


# Values ------------------------------------------------------------------------------------------------------------

VALUES = {
    "sslsni": "0 1 2 x 01 10",
    "keepalives": "0 1 2 x -1 +1 1x 0x10 99999999999",
    "keepalives_idle": "5 x 2147483648 1.5",
    "keepalives_interval": "5 x",
    "keepalives_count": "5 x",
    "tcp_user_timeout": "5 -1 0 x 99999999999",
    "connect_timeout": "-1 0 1 x 1x 2147483647 99999999999",
    "gssencmode": "disable x DISABLE",
    "sslcertmode": "disable allow require x",
    "min_protocol_version": "3 3.0 3.1 3.2 latest x",
    "max_protocol_version": "3 3.0 3.1 3.2 latest x",
    "ssl_min_protocol_version": "TLSv1 TLSV1.1 tlsv1.2 TLSv1.3 TLSv1.4 SSLv3",
    "ssl_max_protocol_version": "TLSv1 TLSv1.1 tlsv1.2 TLSv1.3 x",
    "scram_client_key": "x AAAA !!!!",
    "scram_server_key": "x AAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "target_session_attrs": "any read-write read-only primary standby prefer-standby x ANY",
    "load_balance_hosts": "disable random x RANDOM",
    "sslnegotiation": "postgres x",
    "sslmode": "disable allow prefer require x REQUIRE",
    "channel_binding": "disable prefer require x REQUIRE",
    "require_auth": "md5 x password,,md5 !x ! scram-sha-256,!md5 !md5,none none,none !none,!none PASSWORD md5,none",
    "port": "0 1 65535 65536 x -1 +1 1x 000001 99999999999 1, 1,1",
    "host": "a,b a,",
    "hostaddr": "x ::1 127.0.0.1,127.0.0.1",
    "requirepeer": "x",
    "krbsrvname": "x",
    "gssdelegation": "1 x",
    "sslcompression": "1 x",
    "oauth_issuer": "x",
    "client_encoding": "auto UTF8",
}
CASES = [(keyword, value) for keyword, values in VALUES.items() for value in ["", *values.split()]]
PAIRS = [
    "min_protocol_version=3.2 max_protocol_version=3.0",
    "min_protocol_version=latest max_protocol_version=3.2",
    "min_protocol_version=3.2 max_protocol_version=latest",
    "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
    "sslrootcert=system sslmode=require",
    "sslrootcert=system sslmode=verify-full",
    "sslrootcert=system",
    "sslnegotiation=direct sslmode=prefer",
    "sslnegotiation=direct sslmode=require",
    "sslmode=x sslrootcert=system",
    "host=a,b,c hostaddr=127.0.0.1,127.0.0.1",
    "host=a,b hostaddr=127.0.0.1,127.0.0.1 port={port},{port}",
    "hostaddr=, port={port},{port}",
    "host=a hostaddr=,",
    "hostaddr='127.0.0.1 '",
    "keepalives=' 1\t'",
    "connect_timeout='\n2 '",
    "port=' {port} '",
]


def verdict_of_libpq(text: str) -> str | None:
    """Return the reason why libpq refuses the string before it connects, or `None`."""
    error = pq.PGconn.connect(text.encode()).error_message.decode().strip()
    if "refused" in error or "No such file or directory" in error or "could not translate host name" in error:
        return None
    line = error.splitlines()[0]
    return line.rpartition(" failed: ")[2] or line


def our_verdict(text: str) -> str | None:
    try:
        Config.from_conninfo(text)
    except ConfigError as exc:
        return str(exc)
    return None


@pytest.mark.parametrize("text", [*(f"{keyword}='{value}'" for keyword, value in CASES), *PAIRS])
def test_values_are_accepted_or_refused_as_by_libpq(text: str, closed_port: int) -> None:
    """A refusal has libpq's message."""
    text = f"hostaddr=127.0.0.1 port={closed_port} {text.format(port=closed_port)}"
    theirs, ours = verdict_of_libpq(text), our_verdict(text)
    if theirs is None:
        assert ours is None
    else:
        assert ours is not None
        assert theirs.removesuffix(": Name or service not known") in ours


STRICTER_VALUES = {
    "client_encoding=latin1": "only UTF-8 is supported",
    "replication=true": "the replication protocol is not supported",
    "ssl_min_protocol_version='' ssl_max_protocol_version=TLSv1": "only TLS 1.2 and later are supported",
    "hostaddr=1.1": "not an IP address in the syntax of an RFC",
    "hostaddr=0": "not an IP address in the syntax of an RFC",
    "sslcert=/x sslkey=token:key": "no backend can use a key in a token",
}


@pytest.mark.parametrize("text", STRICTER_VALUES)
def test_unsupported_values_are_refused(text: str) -> None:
    """Values that libpq accepts and babar-tls does not support are refused, not ignored."""
    assert our_verdict(text) is not None


@pytest.mark.parametrize("variable", sorted(filter(None, (keyword.envvar for keyword in KEYWORDS.values()))))
@pytest.mark.parametrize("value", ["", "x", "0"])
def test_variables_are_used_as_by_libpq(
    variable: str, value: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable is used too. An invalid value is refused with libpq's message."""
    if variable == "PGCLIENTENCODING" and value:
        pytest.skip("only UTF-8 is supported")
    if (variable, value) == ("PGHOSTADDR", "0"):
        pytest.skip("not an IP address in the syntax of an RFC")
    monkeypatch.setenv(variable, value)
    text = "" if variable in ("PGHOST", "PGHOSTADDR") else "host=127.0.0.1"
    text += "" if variable == "PGPORT" else f" port={closed_port}"
    theirs, ours = verdict_of_libpq(text), our_verdict(text)
    if theirs is None:
        assert ours is None
    else:
        assert ours is not None
        assert theirs.removesuffix(": Name or service not known") in ours


# Sources -----------------------------------------------------------------------------------------------------------

ADDED = {"user", "passfile", "sslcertmode"}  # libpq sets these if they are missing
SERVICE = b"[s]\nhostaddr=127.0.0.1\nport=%d\n"


def read_service(body: bytes, port: int, file: Path, text: str = "service=s") -> tuple[Any, Any]:
    """Return the values of a service file, or the first line of the error: from libpq and from babar-tls."""
    file.write_bytes(body % port if b"%d" in body else body)
    connection = pq.PGconn.connect(text.encode())
    compiled = {option.keyword: option.compiled for option in pq.Conninfo.get_defaults()}
    theirs: Any = {
        option.keyword.decode(): os.fsdecode(option.val)
        for option in connection.info
        if option.val not in (None, b"", compiled[option.keyword])
    }
    if not theirs:
        theirs = connection.error_message.decode().splitlines()[0]
    else:
        theirs = {name: value for name, value in theirs.items() if name not in ADDED}
    try:
        ours: Any = {
            setting.keyword: setting.value
            for setting in resolve(text).values()
            if setting.value not in ("", os.fsdecode(compiled.get(setting.keyword.encode()) or b""))
        }
        ours = {name: value for name, value in ours.items() if name not in ADDED | {"servicefile"}}
        if isinstance(theirs, dict) and "dbname" not in ours:
            theirs.pop("dbname", None)  # libpq sets its default
    except ConfigError as exc:
        ours = str(exc).splitlines()[0]
    return theirs, ours


BODIES = [
    SERVICE + b"dbname=x\n",
    (SERVICE + b"dbname=x\n").replace(b"\n", b"\r\n"),
    SERVICE + b"dbname=x",
    b"# c\n\n  \t\n[a]\noptions=z\n [s]\n " + SERVICE[4:] + b"\tdbname=x \n",
    SERVICE + b"dbname = x\n",
    SERVICE + b"dbname= x\n",
    SERVICE + b"dbname='x'\n",
    SERVICE + b"dbname=x # c\n",
    SERVICE + b"dbname=x=y\n",
    SERVICE + b"dbname=\noptions=\n",
    SERVICE + b"#dbname=y\n;foo\n",
    SERVICE + b"dbname=x\ndbname=y\n",
    SERVICE + b"[b]\noptions=q\n[s]\noptions=w\n",
    SERVICE + b"nope=x\n",
    SERVICE + b"nope\n",
    SERVICE + b"=x\n",
    SERVICE + b"requiressl=1\n",
    SERVICE + b"ssl=true\n",
    b"[s]\nservice=b\n",
    b"[s]\nservicefile=b\n",
    b"nope\n" + SERVICE,
    b"[b]\nnope\n" + SERVICE,
    SERVICE + b"[b]\nnope\n",
    b"[s]x\n" + SERVICE[4:],
    b"[ s]\n" + SERVICE[4:],
    b"[s\n" + SERVICE[4:],
    b"[S]\n" + SERVICE[4:],
    b"",
    b"\xef\xbb\xbf" + SERVICE,
    b"[s]\n\x0b\x0c" + SERVICE[4:],
    b"[s]\n\xc2\xa0" + SERVICE[4:],
    SERVICE + b"dbname=\xff\n",
    SERVICE + b"dbname=a\0b\n",
    SERVICE + b"dbname=" + b"x" * 1014 + b"\n",
    SERVICE + b"dbname=" + b"x" * 1015 + b"\n",
    SERVICE + b"dbname=" + b"x" * 1015,
    SERVICE + b"dbname=" + b"x" * 1016,
    b"#" * 3000 + b"\n" + SERVICE,
    SERVICE + b"fallback_application_name=x\npassword=y\nsslmode=disable\n",
]


@pytest.mark.parametrize("body", BODIES)
def test_service_files_are_read_as_by_libpq(
    body: bytes, home: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A malformed file is refused with libpq's message."""
    file = home / "services"
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    theirs, ours = read_service(body, closed_port, file)
    assert ours == theirs


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.sampled_from(["[s] ", "[t]", "dbname=a", "dbname=b", " options = c", "options=d ", "#", "x", "", "="])
    )
)
def test_generated_service_files_are_read_as_by_libpq(lines: list[str], home: Path, closed_port: int) -> None:
    file = home / "services"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSERVICEFILE", str(file))
        text = f"service=s hostaddr=127.0.0.1 port={closed_port}"
        theirs, ours = read_service("\n".join(lines).encode(), closed_port, file, text)
    assert ours == theirs


def test_precedence_of_sources_is_that_of_libpq(home: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is string, service, environment. An empty value takes precedence too."""
    chance = random.Random(18)  # noqa: S311 - the same in every run
    file = home / "services"
    words = {"dbname": "PGDATABASE", "options": "PGOPTIONS", "application_name": "PGAPPNAME", "password": "PGPASSWORD"}
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    for _ in range(60):
        text, body = "service=s", SERVICE.decode() % closed_port
        for keyword, variable in words.items():
            monkeypatch.delenv(variable, raising=False)
            if chance.random() < 0.4:
                text += f" {keyword}={chance.choice(('string', repr('')))}"
            if chance.random() < 0.5:
                body += f"{keyword}={chance.choice(('service', ''))}\n"
            if chance.random() < 0.5:
                monkeypatch.setenv(variable, chance.choice(("environment", "")))
        theirs, ours = read_service(body.encode(), closed_port, file, text)
        assert ours == theirs
