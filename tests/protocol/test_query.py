"""The simple query protocol and COPY TO STDOUT: rows, errors, and the state of the session afterwards."""

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


def test_rows_are_tuples_of_text() -> None:
    """NULL is `None`. The query is sent once."""
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
    ],
)
def test_rows_of_the_last_statement_with_rows_are_returned(answer: bytes, rows: list[Row]) -> None:
    """Notices and notifications are ignored."""
    assert run(answer + READY) == rows


def test_data_of_a_copy_is_not_lost_silently() -> None:
    """The error follows ReadyForQuery, so that the session stays usable."""
    ready = reader()
    peer = driver(COPY_OUT + frame(b"d", b"1\n") + COPY_DONE + done("COPY 1") + READY, row("2") + READY)
    with pytest.raises(ConfigError, match="cannot return the data of COPY"):
        peer.run(simple_query("copy (select 1) to stdout", ready, {}))
    assert peer.run(simple_query("select 2", ready, {})) == [("2",)]


def test_error_is_raised_after_ready_for_query() -> None:
    """The next query then gets its own answer."""
    ready = reader()
    peer = driver(COLUMNS + row("1") + error("22012", "division by zero", severity="ERROR"), READY, row("2") + READY)
    with pytest.raises(ServerError, match="ERROR:  division by zero") as caught:
        peer.run(simple_query("select 1/0", ready, {}))
    assert caught.value.code == "22012"
    assert peer.run(simple_query("select 2", ready, {})) == [("2",)]


def test_first_error_is_raised() -> None:
    with pytest.raises(ServerError, match="first"):
        run(error("22012", "first", severity="ERROR") + error("22012", "second", severity="ERROR") + READY)


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_fatal_error_ends_the_query_at_once(severity: str) -> None:
    with pytest.raises(ServerError, match=f"{severity}:  bye"):
        run(error("57P01", "bye", severity=severity))


def test_error_has_detail_hint_and_position() -> None:
    answer = error("42703", "no column", severity="ERROR", D="detail", H="hint", P="8")
    with pytest.raises(ServerError) as caught:
        run(answer + READY)
    failure = caught.value
    assert (failure.detail, failure.hint, failure.position) == ("detail", "hint", 8)
    assert str(failure) == "ERROR:  no column\nDETAIL:  detail\nHINT:  hint"


@pytest.mark.parametrize("position", ["", "x", "-1", "1.5", "٤", "9" * 5000])
def test_invalid_error_position_is_none(position: str) -> None:
    with pytest.raises(ServerError) as caught:
        run(error("42703", severity="ERROR", P=position) + READY)
    assert caught.value.position is None


def test_parameter_status_updates_parameters() -> None:
    parameters = {"TimeZone": "UTC", "DateStyle": "ISO"}
    run(status("TimeZone", "Asia/Kolkata") + done("SET") + READY, parameters=parameters)
    assert parameters == {"TimeZone": "Asia/Kolkata", "DateStyle": "ISO"}


def test_copy_from_stdin_is_refused() -> None:
    """The error of the server is raised."""
    peer = driver(COPY_IN, error("57014", "COPY from stdin failed", severity="ERROR") + READY)
    with pytest.raises(ServerError, match="COPY from stdin failed"):
        peer.run(simple_query("copy t from stdin", reader(), {}))
    assert peer.sent[1:] == [COPY_FAIL]


@pytest.mark.parametrize("kind", [b"W", b"R", b"K", b"1", b"?", b"v"])
def test_unexpected_message_is_a_protocol_error(kind: bytes) -> None:
    with pytest.raises(ProtocolError, match="in response to a query"):
        run(frame(kind) + READY)
    with pytest.raises(ProtocolError, match="in response to COPY"):
        driver(frame(kind) + READY).run(copy_out("copy", reader(), {}))


def test_connection_closed_within_an_answer_is_an_error() -> None:
    for answers in ([], [row("1")], [row("1")[:7]], [error("22012", severity="ERROR")]):
        with pytest.raises(Closed, match="server closed the connection unexpectedly"):
            run(*answers)
        with pytest.raises(Closed):
            driver(*answers).run(copy_out("copy", reader(), {}))


@given(st.lists(st.tuples(st.sampled_from(list("DTGZESCINAHdc")), st.binary(max_size=20)), max_size=8))
def test_arbitrary_answers_give_a_result_or_an_error(answers: list[tuple[str, bytes]]) -> None:
    data = b"".join(frame(kind.encode(), payload) for kind, payload in answers)
    for exchange in (simple_query("x", reader(), {}), copy_out("x", reader(), {})):
        try:
            driver(data).run(exchange)
        except Error:
            pass


# COPY --------------------------------------------------------------------------------------------------------------


def test_each_copy_data_message_is_one_item() -> None:
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
def test_fragmentation_does_not_change_copy_data(rows: list[bytes | None], cuts: list[int]) -> None:
    """Batches are never empty."""
    data = COPY_OUT + b"".join(NOTICE if item is None else frame(b"d", item) for item in rows) + COPY_DONE + READY
    peer = driver(*split(data, cuts))
    peer.run(copy_out("copy t to stdout", reader(), {}))
    assert peer.items == [item for item in rows if item is not None]
    assert all(peer.batches)


@given(st.lists(st.text(max_size=20), max_size=12), st.lists(st.integers(0, 2000), max_size=12))
def test_fragmentation_does_not_change_rows(values: list[str], cuts: list[int]) -> None:
    data = COLUMNS + NOTICE.join(row(value, None) for value in values) + done("SELECT") + READY
    assert run(*split(data, cuts)) == [(value, None) for value in values]


def test_error_within_a_copy_follows_its_data() -> None:
    """It is raised after ReadyForQuery."""
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
def test_copy_to_of_another_statement_is_a_config_error(answer: bytes) -> None:
    """It is raised after ReadyForQuery."""
    ready = reader()
    peer = driver(answer + READY, COPY_OUT + frame(b"d", b"x") + COPY_DONE + READY)
    with pytest.raises(ConfigError, match="requires a COPY … TO STDOUT"):
        peer.run(copy_out("select 1", ready, {}))
    peer.run(copy_out("copy", ready, {}))
    assert peer.items == [b"x"]


def test_copy_to_of_copy_from_stdin_is_refused() -> None:
    """The error of the server is raised."""
    peer = driver(COPY_IN, error("57014", "COPY from stdin failed", severity="ERROR") + READY)
    with pytest.raises(ServerError, match="COPY from stdin failed"):
        peer.run(copy_out("copy t from stdin", reader(), {}))
    assert peer.sent[1:] == [COPY_FAIL]


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_fatal_error_ends_a_copy_at_once(severity: str) -> None:
    peer = driver(COPY_OUT + frame(b"d", b"1\n") + error("57P01", "bye", severity=severity))
    with pytest.raises(ServerError, match="bye"):
        peer.run(copy_out("copy", reader(), {}))
