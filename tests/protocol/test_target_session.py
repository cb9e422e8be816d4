"""`target_session_attrs`: what the server reports decides, and one that reports nothing is asked."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from babar_tls.config import TargetSessionAttrs
from babar_tls.errors import ProtocolError, ServerError, TargetSessionError
from babar_tls.protocol.handshake import handshake
from babar_tls.protocol.messages import TERMINATE, frame, query

from .configs import make
from .script import OK, READY, error, status, talk

if TYPE_CHECKING:
    from .script import Answer, Driver

KEY = frame(b"K", struct.pack("!I", 4711) + b"key!")

#: default_transaction_read_only, in_hot_standby, and the wishes that such a session fulfils.
SESSIONS = [
    ("off", "off", {"any", "read-write", "primary", "prefer-standby"}),
    ("on", "off", {"any", "read-only", "primary", "prefer-standby"}),
    ("off", "on", {"any", "read-only", "standby", "prefer-standby"}),
    ("on", "on", {"any", "read-only", "standby", "prefer-standby"}),
]
TEXTS = {
    "read-write": "session is read-only",
    "read-only": "session is not read-only",
    "primary": "server is in hot standby mode",
    "standby": "server is not in hot standby mode",
}


def row(value: str) -> bytes:
    """The answer to a query for one value."""
    description = frame(b"T", struct.pack("!H", 1) + b"x\0" + struct.pack("!IHIHIH", 0, 0, 25, 0xFFFF, 0xFFFFFFFF, 0))
    data = frame(b"D", struct.pack("!HI", 1, len(value)) + value.encode())
    return description + data + frame(b"C", b"SHOW\0") + READY


def log_in(wanted: str, *answers: Answer) -> Driver:
    driver = talk(*answers)
    driver.run(handshake(make(target_session_attrs=wanted)))
    return driver


@pytest.mark.parametrize("wanted", [item.value for item in TargetSessionAttrs])
@pytest.mark.parametrize(("read_only", "standby", "fulfilled"), SESSIONS)
def test_reported(wanted: str, read_only: str, standby: str, fulfilled: set[str]) -> None:
    """PostgreSQL 14 and later say what they are, and nothing has to be asked."""
    report = status("default_transaction_read_only", read_only) + status("in_hot_standby", standby)
    driver = talk(OK + report + KEY + READY)
    if wanted in fulfilled:
        driver.run(handshake(make(target_session_attrs=wanted)))
        assert len(driver.sent) == 2  # SSLRequest and StartupMessage
        return
    with pytest.raises(TargetSessionError, match=TEXTS[wanted]):
        driver.run(handshake(make(target_session_attrs=wanted)))
    assert driver.sent[2:] == [TERMINATE]


@pytest.mark.parametrize(
    ("wanted", "question", "fulfilled", "other"),
    [
        ("read-write", "SHOW transaction_read_only", "off", "on"),
        ("read-only", "SHOW transaction_read_only", "on", "off"),
        ("primary", "SELECT pg_catalog.pg_is_in_recovery()", "f", "t"),
        ("standby", "SELECT pg_catalog.pg_is_in_recovery()", "t", "f"),
    ],
)
def test_asked(wanted: str, question: str, fulfilled: str, other: str) -> None:
    """An older server, and a pooler that reports nothing, are asked."""
    driver = log_in(wanted, OK + KEY + READY, row(fulfilled))
    assert driver.sent[2:] == [query(question)]
    with pytest.raises(TargetSessionError, match=TEXTS[wanted]):
        log_in(wanted, OK + KEY + READY, row(other))


def test_a_server_that_does_not_answer() -> None:
    """An error, or anything but one value, is no answer."""
    with pytest.raises(ServerError, match="no such thing"):
        log_in("read-write", OK + KEY + READY, error("42704", "no such thing", severity="ERROR") + READY)
    with pytest.raises(ProtocolError, match="return one value"):
        log_in("primary", OK + KEY + READY, frame(b"C", b"SELECT 0\0") + READY)


def test_the_search_decides() -> None:
    """What is wanted of this host may be less than what the configuration prefers."""
    driver = talk(OK + status("in_hot_standby", "off") + KEY + READY)
    config = make(target_session_attrs="prefer-standby")
    with pytest.raises(TargetSessionError, match="not in hot standby mode"):
        driver.run(handshake(config, TargetSessionAttrs.STANDBY))
    driver = talk(OK + status("in_hot_standby", "off") + KEY + READY)
    driver.run(handshake(config, TargetSessionAttrs.ANY))


NOTICE = error("00000", "x" * 500, kind=b"N", severity="NOTICE")


@pytest.mark.parametrize(
    ("flood", "text"),
    [
        pytest.param(NOTICE * 100, "more than 65536 bytes in response to the query", id="notices"),
        pytest.param(
            status("n", "v") * 500,
            "more than 200 messages in response to the query",
            id="parameters",
        ),
        pytest.param(
            frame(b"D", b"\0\0") * 500,
            "more than 200 messages in response to the query",
            id="rows",
        ),
        pytest.param(b"D" + struct.pack("!I", 0x3FFFFFFF), "impossible length", id="long row"),
        pytest.param(b"N" + struct.pack("!I", 30_001), "impossible length", id="long notice"),
        pytest.param(frame(b"d", b"data"), "b'd' in response to a query", id="copy data"),
        pytest.param(frame(b"R", b"\0\0\0\0"), "b'R' in response to a query", id="authentication"),
    ],
)
def test_the_limits_hold_until_the_answer_is_there(flood: bytes, text: str) -> None:
    driver = talk(OK + KEY + READY, flood, *[flood] * 2000)
    with pytest.raises(ProtocolError, match=text):
        driver.run(handshake(make(target_session_attrs="read-write")))
    assert driver.waits < 200


def test_the_answer_lifts_the_limits() -> None:
    long = frame(b"D", struct.pack("!HI", 1, 100_000) + b"x" * 100_000)
    established = talk(OK + KEY + READY, row("off")).run(handshake(make(target_session_attrs="read-write")))
    established.reader.feed(long)
    assert established.reader.next_message() == (b"D", long[5:])
