"""Hosts are tried in the order of libpq, and an authentication error ends the search."""

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
CONTINUES: list[Error] = [
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


def several_hosts(**overrides: Any) -> Config:
    return make(host="localhost", hosts=[A, B, C], **overrides)


def try_hosts(config: Config, *failures: Error) -> tuple[list[Candidate], Error | None]:
    """Return the places that are tried with these failures, and the final error."""
    places = search(config)
    visited = [next(places)]
    for failure in failures:
        try:
            visited.append(places.throw(failure))
        except Error as error:
            return visited, error
    return visited, None


def test_single_host_is_tried_once() -> None:
    """Its error is raised unchanged."""
    failure = Unreachable("Connection refused")
    visited, error = try_hosts(make(), failure)
    assert [place.config for place in visited] == [make()]
    assert error is failure
    assert error.attempts == (failure,)


@pytest.mark.parametrize("failure", CONTINUES, ids=lambda error: type(error).__name__)
def test_unavailable_host_is_followed_by_the_next(failure: Error) -> None:
    visited, error = try_hosts(several_hosts(), failure)
    assert error is None
    assert [place.config.targets[0] for place in visited] == [A, B]
    assert (visited[1].config.host, visited[1].config.port, visited[1].config.hosts) == ("b.example", 5433, ())


@pytest.mark.parametrize("failure", ENDS, ids=lambda error: f"{type(error).__name__}-{getattr(error, 'code', '')}")
def test_other_errors_end_the_search(failure: Error) -> None:
    visited, error = try_hosts(several_hosts(), failure)
    assert error is failure
    assert len(visited) == 1


def test_error_lists_all_attempts_in_order() -> None:
    """It has the remedy of the last one."""
    failures = [Unreachable("Connection refused", remedy="first"), TimeoutError("timeout expired", remedy="second")]
    failures.append(Unreachable("No route to host", remedy="Try again."))
    for failure, name in zip(failures, "abc", strict=True):
        failure.endpoint = f'server at "{name}.example", port 1'
    visited, error = try_hosts(several_hosts(), *failures)
    assert len(visited) == 3
    assert error is failures[-1]
    assert error.attempts == tuple(failures)
    assert str(error) == (
        'connection to server at "a.example", port 1 failed: Connection refused\n'
        'connection to server at "b.example", port 1 failed: timeout expired\n'
        'connection to server at "c.example", port 1 failed: No route to host\n'
        "Try again."
    )


def test_error_lists_attempts_within_a_host() -> None:
    """These are addresses, and attempts with and without TLS."""
    first, second, third, last = (Unreachable(f"failure {number}") for number in range(4))
    second.earlier = (first,)
    last.earlier = (third,)
    _, error = try_hosts(make(host="localhost", hosts=[A, B]), second, last)
    assert error is last
    assert error.attempts == (first, second, third, last)


@pytest.mark.parametrize("wanted", [item for item in TargetSessionAttrs if item is not item.PREFER_STANDBY])
def test_places_have_the_required_session_type(wanted: TargetSessionAttrs) -> None:
    visited, _ = try_hosts(several_hosts(target_session_attrs=wanted), CONTINUES[0], CONTINUES[1])
    assert [place.wanted for place in visited] == [wanted] * 3


def test_prefer_standby_tries_all_hosts_again_for_any_session() -> None:
    primary = [TargetSessionError("server is not in hot standby mode") for _ in range(3)]
    visited, error = try_hosts(several_hosts(target_session_attrs="prefer-standby"), *primary)
    assert error is None
    assert [(place.config.host, place.wanted.value) for place in visited] == [
        ("a.example", "standby"),
        ("b.example", "standby"),
        ("c.example", "standby"),
        ("a.example", "any"),
    ]


def test_load_balance_hosts_random_shuffles_hosts() -> None:
    config = several_hosts(load_balance_hosts="random")
    firsts: Counter[str] = Counter()
    for _ in range(300):
        visited, _ = try_hosts(config, CONTINUES[0], CONTINUES[0])
        assert {place.config.targets[0] for place in visited} == {A, B, C}
        firsts[visited[0].config.host] += 1
    assert min(firsts.values()) > 40  # 100 on average; fails less than once in 10^12 runs


def test_addresses_are_shuffled_only_with_load_balance_hosts_random() -> None:
    addresses = list(range(20))
    assert shuffled(make(), addresses) is addresses
    mixed = shuffled(make(load_balance_hosts=LoadBalanceHosts.RANDOM), addresses)
    assert sorted(mixed) == addresses
    assert mixed != addresses  # fails once in 20! runs
