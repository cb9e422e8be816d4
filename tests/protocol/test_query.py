"""The simple query protocol ends with rows or with the server's error, and stays in step either way."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.errors import Closed, ConfigError, Error, ProtocolError, ServerError
from babar_tls.protocol.message_reader import MessageReader
from babar_tls.protocol.messages import frame, query
from babar_tls.protocol.query import copy_out, simple_query

from .script import READY, Answer, Driver, Facts, error, split, status

if TYPE_CHECKING:
    from babar_tls.protocol.query import Row

COPY_IN = frame(b"G", b"\0\0\0")
COPY_OUT = frame(b"H", b"\0\0\0")
COPY_DONE = frame(b"c")
COLUMNS = frame(b"T", b"\0\0")
NOTICE = error("00000", "hello", severity="NOTICE", kind=b"N")
COPY_FAIL = frame(b"f", b"COPY FROM STDIN is not supported\0")


def row(*values: str | None) -> bytes:
    payload = struct.pack("!H", len(values))
    for value in values:
        data = None if value is None else value.encode()
        payload += struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data
    return frame(b"D", payload)


def done(tag: str) -> bytes:
    return frame(b"C", tag.encode() + b"\0")


def driver(*answers: Answer) -> Driver:
    return Driver([], facts=Facts(), _answers=list(answers))


def reader() -> MessageReader:
    ready = MessageReader()
    ready.ready()
    return ready


def run(*answers: Answer, parameters: dict[str, str] | None = None) -> list[Row]:
    rows: list[Row] = driver(*answers).run(simple_query("select", reader(), {} if parameters is None else parameters))
    return rows


# Queries -----------------------------------------------------------------------------------------------------------


def test_rows() -> None:
    """Rows are tuples of text, NULL is `None`, and the query is sent once."""
    peer = driver(COLUMNS + row("1", None) + row("", "ä") + done("SELECT 2") + READY)
    assert peer.run(simple_query("select ä", reader(), {})) == [("1", None), ("", "ä")]
    assert peer.sent == [query("select ä")]


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        (done("CREATE TABLE"), []),
        (frame(b"I"), []),
        (COLUMNS + done("SELECT 0"), []),
        (COLUMNS + row("1") + done("SELECT 1") + COLUMNS + row("2") + done("SELECT 1"), [("2",)]),
        (COLUMNS + row("1") + done("SELECT 1") + done("SET"), [("1",)]),
        (done("SET") + COLUMNS + row() + done("SELECT 1"), [()]),
        (NOTICE + COLUMNS + NOTICE + row("1") + frame(b"A", b"\0\0\0\1c\0p\0") + done("SELECT 1"), [("1",)]),
        (COPY_OUT + frame(b"d", b"1\n") + COPY_DONE + done("COPY 1"), []),
    ],
)
def test_statements(answer: bytes, rows: list[Row]) -> None:
    """The rows are those of the last statement that returns any; notices and notifications are passed over."""
    assert run(answer + READY) == rows


def test_an_error() -> None:
    """An error is raised once the server is ready again, so that the next query finds it in step."""
    ready = reader()
    peer = driver(COLUMNS + row("1") + error("22012", "division by zero", severity="ERROR"), READY, row("2") + READY)
    with pytest.raises(ServerError, match="ERROR:  division by zero") as caught:
        peer.run(simple_query("select 1/0", ready, {}))
    assert caught.value.code == "22012"
    assert peer.run(simple_query("select 2", ready, {})) == [("2",)]


def test_the_first_error_counts() -> None:
    """Of several errors the first is raised."""
    with pytest.raises(ServerError, match="first"):
        run(error("22012", "first", severity="ERROR") + error("22012", "second", severity="ERROR") + READY)


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_a_fatal_error(severity: str) -> None:
    """After FATAL nothing follows, so nothing is waited for."""
    with pytest.raises(ServerError, match=f"{severity}:  bye"):
        run(error("57P01", "bye", severity=severity))


def test_error_fields() -> None:
    """Detail, hint and position are the server's."""
    answer = error("42703", "no column", severity="ERROR", D="detail", H="hint", P="8")
    with pytest.raises(ServerError) as caught:
        run(answer + READY)
    failure = caught.value
    assert (failure.detail, failure.hint, failure.position) == ("detail", "hint", 8)
    assert str(failure) == "ERROR:  no column\nDETAIL:  detail\nHINT:  hint"


@pytest.mark.parametrize("position", ["", "x", "-1", "1.5", "٤", "9" * 5000])
def test_positions_that_are_none(position: str) -> None:
    """A position that is no number of a sensible length is none."""
    with pytest.raises(ServerError) as caught:
        run(error("42703", severity="ERROR", P=position) + READY)
    assert caught.value.position is None


def test_parameters() -> None:
    """A parameter that changes is taken over."""
    parameters = {"TimeZone": "UTC", "DateStyle": "ISO"}
    run(status("TimeZone", "Asia/Kolkata") + done("SET") + READY, parameters=parameters)
    assert parameters == {"TimeZone": "Asia/Kolkata", "DateStyle": "ISO"}


def test_copy_in_is_refused() -> None:
    """COPY FROM STDIN is refused to the server, whose error is then the query's."""
    peer = driver(COPY_IN, error("57014", "COPY from stdin failed", severity="ERROR") + READY)
    with pytest.raises(ServerError, match="COPY from stdin failed"):
        peer.run(simple_query("copy t from stdin", reader(), {}))
    assert peer.sent[1:] == [COPY_FAIL]


@pytest.mark.parametrize("kind", [b"W", b"R", b"K", b"1", b"?", b"v"])
def test_what_is_no_answer(kind: bytes) -> None:
    """A message that does not belong here breaks the conversation off."""
    with pytest.raises(ProtocolError, match="in response to a query"):
        run(frame(kind) + READY)
    with pytest.raises(ProtocolError, match="in response to COPY"):
        driver(frame(kind) + READY).run(copy_out("copy", reader(), {}))


def test_the_end_of_the_connection() -> None:
    """A server that closes in the middle is not a result."""
    for answers in ([], [row("1")], [row("1")[:7]], [error("22012", severity="ERROR")]):
        with pytest.raises(Closed, match="server closed the connection unexpectedly"):
            run(*answers)
        with pytest.raises(Closed):
            driver(*answers).run(copy_out("copy", reader(), {}))


@given(st.lists(st.tuples(st.sampled_from(list("DTGZESCINAHdc")), st.binary(max_size=20)), max_size=8))
def test_arbitrary_answers(answers: list[tuple[str, bytes]]) -> None:
    """Whatever the server answers, the end is a result or one of our errors."""
    data = b"".join(frame(kind.encode(), payload) for kind, payload in answers)
    for exchange in (simple_query("x", reader(), {}), copy_out("x", reader(), {})):
        try:
            driver(data).run(exchange)
        except Error:
            pass


# COPY --------------------------------------------------------------------------------------------------------------


def test_copy() -> None:
    """Each CopyData is one item, framed as the server framed it."""
    peer = driver(
        COPY_OUT + frame(b"d", b"1\n"),
        NOTICE + frame(b"d", b"") + frame(b"d", b"2\n3\n"),
        COPY_DONE,
        done("COPY 3") + READY,
    )
    peer.run(copy_out("copy t to stdout", reader(), {}))
    assert peer.items == [b"1\n", b"", b"2\n3\n"]
    assert peer.sent == [query("copy t to stdout")]


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.none(), st.integers(2000, 9000).map(bytes)), max_size=12),
    st.lists(st.integers(0, 60_000), max_size=12),
)
def test_any_fragmentation_of_a_copy(rows: list[bytes | None], cuts: list[int]) -> None:
    """However it is cut, and whatever is said in between, each CopyData is one item, in lists that are not empty."""
    data = COPY_OUT + b"".join(NOTICE if item is None else frame(b"d", item) for item in rows) + COPY_DONE + READY
    peer = driver(*split(data, cuts))
    peer.run(copy_out("copy t to stdout", reader(), {}))
    assert peer.items == [item for item in rows if item is not None]
    assert all(peer.batches)


@given(st.lists(st.text(max_size=20), max_size=12), st.lists(st.integers(0, 2000), max_size=12))
def test_any_fragmentation_of_rows(values: list[str], cuts: list[int]) -> None:
    """However an answer is cut, its rows are the same."""
    data = COLUMNS + NOTICE.join(row(value, None) for value in values) + done("SELECT") + READY
    assert run(*split(data, cuts)) == [(value, None) for value in values]


def test_copy_that_fails_half_way() -> None:
    """An error in the middle comes after the data before it, when the server is ready again."""
    peer = driver(
        COPY_OUT + frame(b"d", b"1\n") + error("57014", "canceled", severity="ERROR"), status("a", "b") + READY
    )
    parameters: dict[str, str] = {}
    with pytest.raises(ServerError, match="canceled"):
        peer.run(copy_out("copy", reader(), parameters))
    assert peer.items == [b"1\n"]
    assert parameters == {"a": "b"}


@pytest.mark.parametrize(
    "answer", [done("SET"), COLUMNS + row("1") + done("SELECT 1"), frame(b"I")], ids=["command", "query", "empty"]
)
def test_what_is_no_copy(answer: bytes) -> None:
    """A statement that copies nothing out is a mistake of the caller's, told when the server is ready again."""
    ready = reader()
    peer = driver(answer + READY, COPY_OUT + frame(b"d", b"x") + COPY_DONE + READY)
    with pytest.raises(ConfigError, match="requires a COPY … TO STDOUT"):
        peer.run(copy_out("select 1", ready, {}))
    peer.run(copy_out("copy", ready, {}))
    assert peer.items == [b"x"]


def test_copy_in_is_no_copy_out() -> None:
    """COPY FROM STDIN is refused to the server, and its error raised."""
    peer = driver(COPY_IN, error("57014", "COPY from stdin failed", severity="ERROR") + READY)
    with pytest.raises(ServerError, match="COPY from stdin failed"):
        peer.run(copy_out("copy t from stdin", reader(), {}))
    assert peer.sent[1:] == [COPY_FAIL]


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_a_fatal_error_in_copy(severity: str) -> None:
    """FATAL ends a copy at once."""
    peer = driver(COPY_OUT + frame(b"d", b"1\n") + error("57P01", "bye", severity=severity))
    with pytest.raises(ServerError, match="bye"):
        peer.run(copy_out("copy", reader(), {}))
