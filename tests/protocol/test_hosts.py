"""Several hosts are tried in libpq's order, and a server that has answered is not gone round."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from babar_tls.config import Config, Host, LoadBalanceHosts, TargetSessionAttrs
from babar_tls.errors import (
    AuthRefused,
    CertificateError,
    ClientCertificateError,
    Closed,
    ConfigError,
    Error,
    InvalidPassword,
    ProtocolError,
    ServerError,
    ServerSignatureError,
    TargetSessionError,
    TimeoutError,
    TlsError,
    TlsRefused,
    Unreachable,
    UnsupportedAuth,
)
from babar_tls.protocol.hosts import Candidate, search, shuffled

from .configs import make

A, B, C = Host("a.example"), Host("b.example", 5433), Host("c.example", 5434, "192.0.2.7")
PASSES_ON: list[Error] = [
    Unreachable("Connection refused"),
    TimeoutError("timeout expired"),
    TargetSessionError("session is read-only"),
    ServerError({"C": "57P03", "M": "the database system is starting up"}),
]
ENDS: list[Error] = [
    AuthRefused({"C": "28000", "M": "no pg_hba.conf entry"}),
    InvalidPassword({"C": "28P01", "M": "password authentication failed"}),
    ServerError({"C": "3D000", "M": "database does not exist"}),
    ServerError({"C": "53300", "M": "too many clients already"}),
    TlsError("SSL error"),
    TlsRefused("server does not support SSL"),
    CertificateError("expired", reason="expired"),
    ClientCertificateError("not accepted"),
    Closed("server closed the connection unexpectedly"),
    ProtocolError("nonsense"),
    UnsupportedAuth("not allowed"),
    ServerSignatureError("incorrect server signature"),
    ConfigError("no such file"),
]


def several(**overrides: Any) -> Config:
    return make(host="localhost", hosts=[A, B, C], **overrides)


def visit(config: Config, *failures: Error) -> tuple[list[Candidate], Error | None]:
    """The places that are tried while these failures happen, and the error that ends it."""
    places = search(config)
    visited = [next(places)]
    for failure in failures:
        try:
            visited.append(places.throw(failure))
        except Error as error:
            return visited, error
    return visited, None


def test_one_host() -> None:
    """One host is tried once, and its error is raised as it is."""
    failure = Unreachable("Connection refused")
    visited, error = visit(make(), failure)
    assert [place.config for place in visited] == [make()]
    assert error is failure
    assert error.attempts == (failure,)


@pytest.mark.parametrize("failure", PASSES_ON, ids=lambda error: type(error).__name__)
def test_what_another_host_may_mend(failure: Error) -> None:
    """Nobody there, no time, another kind of server, a server that is not ready: the next host is tried."""
    visited, error = visit(several(), failure)
    assert error is None
    assert [place.config.targets[0] for place in visited] == [A, B]
    assert (visited[1].config.host, visited[1].config.port, visited[1].config.hosts) == ("b.example", 5433, ())


@pytest.mark.parametrize("failure", ENDS, ids=lambda error: f"{type(error).__name__}-{getattr(error, 'code', '')}")
def test_what_ends_the_search(failure: Error) -> None:
    """A server that has answered has answered: it is not gone round to another."""
    visited, error = visit(several(), failure)
    assert error is failure
    assert len(visited) == 1


def test_every_attempt_is_listed() -> None:
    """The last error is raised, and its text has every attempt in order and the last one's remedy."""
    failures = [Unreachable("Connection refused", remedy="first"), TimeoutError("timeout expired", remedy="second")]
    failures.append(Unreachable("No route to host", remedy="Try again."))
    for failure, name in zip(failures, "abc", strict=True):
        failure.endpoint = f'server at "{name}.example", port 1'
    visited, error = visit(several(), *failures)
    assert len(visited) == 3
    assert error is failures[-1]
    assert error.attempts == tuple(failures)
    assert str(error) == (
        'connection to server at "a.example", port 1 failed: Connection refused\n'
        'connection to server at "b.example", port 1 failed: timeout expired\n'
        'connection to server at "c.example", port 1 failed: No route to host\n'
        "Try again."
    )


def test_attempts_within_a_host_are_listed_too() -> None:
    """The addresses of a name, and TLS before plain text, stand in the list where they happened."""
    first, second, third, last = (Unreachable(f"failure {number}") for number in range(4))
    second.earlier = (first,)
    last.earlier = (third,)
    _, error = visit(make(host="localhost", hosts=[A, B]), second, last)
    assert error is last
    assert error.attempts == (first, second, third, last)


@pytest.mark.parametrize("wanted", [item for item in TargetSessionAttrs if item is not item.PREFER_STANDBY])
def test_what_is_wanted_goes_along(wanted: TargetSessionAttrs) -> None:
    """Each place says what its session must be like."""
    visited, _ = visit(several(target_session_attrs=wanted), PASSES_ON[0], PASSES_ON[1])
    assert [place.wanted for place in visited] == [wanted] * 3


def test_prefer_standby_goes_round_twice() -> None:
    """Where none of the hosts is a standby, all are tried again for any session."""
    primary = [TargetSessionError("server is not in hot standby mode") for _ in range(3)]
    visited, error = visit(several(target_session_attrs="prefer-standby"), *primary)
    assert error is None
    assert [(place.config.host, place.wanted.value) for place in visited] == [
        ("a.example", "standby"),
        ("b.example", "standby"),
        ("c.example", "standby"),
        ("a.example", "any"),
    ]


def test_random_order() -> None:
    """With load_balance_hosts=random each host is the first one about as often as any other, and all are tried."""
    config = several(load_balance_hosts="random")
    firsts: Counter[str] = Counter()
    for _ in range(300):
        visited, _ = visit(config, PASSES_ON[0], PASSES_ON[0])
        assert {place.config.targets[0] for place in visited} == {A, B, C}
        firsts[visited[0].config.host] += 1
    assert min(firsts.values()) > 40  # of 100 on average: less than once in 10^12 runs


def test_addresses_of_a_name() -> None:
    """The addresses of a name are shuffled with the hosts, and otherwise keep the resolver's order."""
    addresses = list(range(20))
    assert shuffled(make(), addresses) is addresses
    mixed = shuffled(make(load_balance_hosts=LoadBalanceHosts.RANDOM), addresses)
    assert sorted(mixed) == addresses
    assert mixed != addresses  # but once in 20!
