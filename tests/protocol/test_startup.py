"""The parameters of the StartupMessage, and those that a driver or a proxy supplies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.errors import ConfigError
from babar_tls.protocol.handshake import handshake
from babar_tls.protocol.messages import startup
from babar_tls.protocol.startup import startup_parameters

from .configs import make
from .script import OK, WELCOME, Driver, error, talk

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
CONFIGURED = make(application_name="configured", options="-c x=y", server_settings={"DateStyle": "ISO"})


def test_startup_message_has_the_configured_parameters() -> None:
    """They are encoded in UTF-8. The database is sent only if it is configured."""
    assert startup_parameters(make()) == [("client_encoding", "UTF8"), ("user", "app")]
    config = make(
        database="d", application_name="ä", options="-c x=y", server_settings={"search_path": "s", "DateStyle": "ISO"}
    )
    expected = [
        ("client_encoding", "UTF8"),
        ("user", "app"),
        ("database", "d"),
        ("application_name", "ä"),
        ("options", "-c x=y"),
        ("DateStyle", "ISO"),
        ("search_path", "s"),
    ]
    assert startup_parameters(config) == expected
    driver = talk(WELCOME)
    driver.run(handshake(config))
    assert driver.sent[1] == startup(expected)


@pytest.mark.parametrize(
    ("supplied", "expected"),
    [
        (("application_name", "psql"), "application_name"),
        (("options", "-c a=b"), "options"),
        (("client_encoding", "LATIN1"), "client_encoding"),
        (("DateStyle", "German"), "DateStyle"),
        (("datestyle", "German"), "DateStyle"),
        (("Application_Name", "psql"), "application_name"),
    ],
)
def test_supplied_parameter_replaces_the_configured_one(supplied: tuple[str, str], expected: str) -> None:
    """PostgreSQL ignores the case of the names of settings."""
    before = startup_parameters(CONFIGURED)
    after = startup_parameters(CONFIGURED, [supplied])
    assert after == [supplied if name == expected else (name, value) for name, value in before]


@pytest.mark.parametrize(
    "supplied",
    [("replication", "database"), ("_pq_.something", ""), ("search_path", "a, b"), ("application_name ", "x")],
)
def test_other_supplied_parameters_are_added(supplied: tuple[str, str]) -> None:
    assert startup_parameters(CONFIGURED, [supplied]) == [*startup_parameters(CONFIGURED), supplied]


def test_last_value_of_a_supplied_parameter_is_sent() -> None:
    supplied = [("DateStyle", "ISO"), ("_pq_.a", "1"), ("datestyle", "SQL"), ("_pq_.A", "2")]
    expected = [*startup_parameters(make()), ("datestyle", "SQL"), ("_pq_.a", "1"), ("_pq_.A", "2")]
    assert startup_parameters(make(), supplied) == expected


def test_supplied_user_and_database_may_repeat_the_configuration() -> None:
    assert startup_parameters(make(), [("user", "app"), ("database", "app")]) == startup_parameters(make())
    config = make(database="d")
    assert startup_parameters(config, [("database", "d"), ("user", "app")]) == startup_parameters(config)


@pytest.mark.parametrize(
    ("supplied", "text"),
    [
        (("user", "postgres"), "'user' contradicts the configuration"),
        (("User", "postgres"), "'User' contradicts the configuration"),
        (("database", "postgres"), "'database' contradicts the configuration"),
        (("database", ""), "'database' contradicts the configuration"),
        (("a\0b", ""), "contains a NUL"),
        (("DateStyle", "ISO\0user\0postgres"), "'DateStyle' contains a NUL"),
        (("DateStyle", "\udcff"), "'DateStyle' contains a lone surrogate"),
        (("", "x"), "a startup parameter has no name"),
        (("DateStyle", b"ISO"), "DateStyle must be a str, not bytes"),
    ],
)
def test_invalid_supplied_parameter_is_refused_before_connecting(supplied: tuple[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        next(handshake(make(), startup=[supplied]))


def test_every_attempt_sends_the_supplied_parameters() -> None:
    config, supplied = make(tls_mode="allow"), [("replication", "true")]
    driver = Driver([[error("28000")], [b"S", WELCOME]])
    driver.run(handshake(config, startup=iter(supplied)))
    assert driver.sent[0] == driver.sent[2] == startup(startup_parameters(config, supplied))


@given(st.lists(st.tuples(NAMES, VALUES)), st.dictionaries(NAMES, VALUES))
def test_startup_message_has_each_name_once(supplied: list[tuple[str, str]], settings: dict[str, str]) -> None:
    """The choice between a configured and a supplied value is not left to the server."""
    try:
        config = make(server_settings=settings)
        parameters = startup_parameters(config, supplied)
    except ConfigError:
        return
    folded = [name if name.startswith("_pq_.") else name.encode().lower() for name, _ in parameters]
    assert len(folded) == len(set(folded))
    assert ("user", config.user) in parameters
    # The reader of the server finds the same parameters.
    *parts, last = startup(parameters)[8:-1].split(b"\0")
    assert last == b""
    assert [(name.decode(), value.decode()) for name, value in zip(parts[::2], parts[1::2], strict=True)] == parameters


# Notices -------------------------------------------------------------------------------------------------------------


def test_notices_before_the_session_is_ready_are_kept_in_order() -> None:
    first, second, third = (error("00000", text, kind=b"N") for text in ("first", "second", "third"))
    established = talk(first + OK + second + third + WELCOME[len(OK) :]).run(handshake(make()))
    assert established.notices == [notice[5:] for notice in (first, second, third)]


def test_notices_of_a_failed_attempt_are_dropped() -> None:
    notice = error("00000", "first attempt", kind=b"N")
    driver = Driver([[notice + error("28000")], [b"S", WELCOME]])
    assert driver.run(handshake(make(tls_mode="allow"))).notices == []
