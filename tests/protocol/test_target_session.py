"""`target_session_attrs`: reported parameters decide, or a query if the server does not report them."""

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

#: default_transaction_read_only, in_hot_standby, and the values that such a session satisfies.
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
    """Return the answer to a query for one value."""
    description = frame(b"T", struct.pack("!H", 1) + b"x\0" + struct.pack("!IHIHIH", 0, 0, 25, 0xFFFF, 0xFFFFFFFF, 0))
    data = frame(b"D", struct.pack("!HI", 1, len(value)) + value.encode())
    return description + data + frame(b"C", b"SHOW\0") + READY


def log_in(wanted: str, *answers: Answer) -> Driver:
    driver = talk(*answers)
    driver.run(handshake(make(target_session_attrs=wanted)))
    return driver


@pytest.mark.parametrize("wanted", [item.value for item in TargetSessionAttrs])
@pytest.mark.parametrize(("read_only", "standby", "satisfied"), SESSIONS)
def test_reported_parameters_decide_without_a_query(
    wanted: str, read_only: str, standby: str, satisfied: set[str]
) -> None:
    """PostgreSQL 14 and later report them."""
    report = status("default_transaction_read_only", read_only) + status("in_hot_standby", standby)
    driver = talk(OK + report + KEY + READY)
    if wanted in satisfied:
        driver.run(handshake(make(target_session_attrs=wanted)))
        assert len(driver.sent) == 2  # SSLRequest and StartupMessage
        return
    with pytest.raises(TargetSessionError, match=TEXTS[wanted]):
        driver.run(handshake(make(target_session_attrs=wanted)))
    assert driver.sent[2:] == [TERMINATE]


@pytest.mark.parametrize(
    ("wanted", "sql", "satisfied", "other"),
    [
        ("read-write", "SHOW transaction_read_only", "off", "on"),
        ("read-only", "SHOW transaction_read_only", "on", "off"),
        ("primary", "SELECT pg_catalog.pg_is_in_recovery()", "f", "t"),
        ("standby", "SELECT pg_catalog.pg_is_in_recovery()", "t", "f"),
    ],
)
def test_query_decides_if_nothing_is_reported(wanted: str, sql: str, satisfied: str, other: str) -> None:
    """This is the case with older servers and some poolers."""
    driver = log_in(wanted, OK + KEY + READY, row(satisfied))
    assert driver.sent[2:] == [query(sql)]
    with pytest.raises(TargetSessionError, match=TEXTS[wanted]):
        log_in(wanted, OK + KEY + READY, row(other))


def test_error_or_missing_value_is_an_error() -> None:
    with pytest.raises(ServerError, match="no such thing"):
        log_in("read-write", OK + KEY + READY, error("42704", "no such thing", severity="ERROR") + READY)
    with pytest.raises(ProtocolError, match="return one value"):
        log_in("primary", OK + KEY + READY, frame(b"C", b"SELECT 0\0") + READY)


def test_argument_overrides_the_configured_session_type() -> None:
    """The search for a standby may accept any session in its second pass."""
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
        pytest.param(NOTICE * 100, "more than 65536 bytes in response to a query", id="notices"),
        pytest.param(
            status("n", "v") * 500,
            "more than 200 messages in response to a query",
            id="parameters",
        ),
        pytest.param(
            frame(b"D", b"\0\0") * 500,
            "more than 200 messages in response to a query",
            id="rows",
        ),
        pytest.param(b"D" + struct.pack("!I", 0x3FFFFFFF), "impossible length", id="long row"),
        pytest.param(b"N" + struct.pack("!I", 30_001), "impossible length", id="long notice"),
        pytest.param(frame(b"d", b"data"), "b'd' in response to a query", id="copy data"),
        pytest.param(frame(b"R", b"\0\0\0\0"), "b'R' in response to a query", id="authentication"),
    ],
)
def test_limits_apply_until_the_answer_is_complete(flood: bytes, text: str) -> None:
    driver = talk(OK + KEY + READY, flood, *[flood] * 2000)
    with pytest.raises(ProtocolError, match=text):
        driver.run(handshake(make(target_session_attrs="read-write")))
    assert driver.waits < 200


def test_limits_end_after_the_answer() -> None:
    long = frame(b"D", struct.pack("!HI", 1, 100_000) + b"x" * 100_000)
    established = talk(OK + KEY + READY, row("off")).run(handshake(make(target_session_attrs="read-write")))
    established.reader.feed(long)
    assert established.reader.next_message() == (b"D", long[5:])
