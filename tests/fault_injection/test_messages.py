"""A connect fails in time if a server message is truncated, stalled or changed, unless the change is harmless."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import VERSIONS
from .connects import faults_found, record, run
from .faults import ACTIONS, Fault
from .positions import PARTS, around_boundaries, ends_of_pieces, plan
from .servers import MessageServer, unexpected_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls import Config
    from babar_tls.testing import ServerCertificate

    from .faults import Action, Encounter

#: Positions in the short form.
_SAMPLE = {"close": 20, "stall": 20, "flip": 40}
_MIN_LENGTH = 300

_STATUS, _LENGTH = "transaction status", "length of ReadyForQuery"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def servers(certificate: ServerCertificate, no_leaks_in_module: None) -> Iterator[dict[str, MessageServer]]:
    tls = {name: MessageServer(certificate, version) for name, version in VERSIONS.items()}
    servers = {"plain": MessageServer(), **tls}
    for server in servers.values():
        server.start()
    yield servers
    for server in servers.values():
        server.close()


def _check(server: MessageServer, config: Config, *, style: str, action: Action, part: int, name: str) -> int:
    """Try the faults of one test; return their number."""
    recorded = record(config, server.faults)
    assert recorded.sent >= _MIN_LENGTH
    boundaries = ends_of_pieces(recorded.spans) if action == "flip" else around_boundaries(recorded.spans, "type of")
    planned = plan(action, recorded.sent, boundaries, name=name, part=part, sample=_SAMPLE[action])
    trials = run(config, style, server.faults, planned)
    server.faults.clear()
    assert len(trials) == len(planned)
    assert not faults_found(trials, config)
    assert not unexpected_errors(server)
    return len(trials)


def _flips_of_status(recorded: Encounter) -> list[Fault]:
    (status,) = [span for span in recorded.spans if span.label == _STATUS]
    return [Fault("flip", status.start, bit) for bit in range(8)]


def _shorter_ready_for_query(recorded: Encounter) -> Fault:
    """Return the fault that changes its length from 5 to 4."""
    (length,) = [span for span in recorded.spans if span.label == _LENGTH]
    return Fault("flip", length.stop - 1, 0)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("action", ACTIONS)
def test_faulty_message_inside_tls_fails_the_connect_in_time(
    *,
    servers: dict[str, MessageServer],
    bound: Config,
    backend: str,
    style: str,
    version: str,
    action: Action,
    part: int,
    count: Callable[[int], None],
) -> None:
    server = servers[version]
    config = bound.replace(port=server.port, tls_backend=backend)
    name = f"{backend} {style} {version} {action}"
    count(_check(server, config, style=style, action=action, part=part, name=name))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("action", ACTIONS)
def test_faulty_message_without_tls_fails_the_connect_in_time(
    *,
    servers: dict[str, MessageServer],
    plain: Config,
    style: str,
    action: Action,
    part: int,
    count: Callable[[int], None],
) -> None:
    server = servers["plain"]
    config = plain.replace(port=server.port)
    count(_check(server, config, style=style, action=action, part=part, name=f"{style} {action}"))


def test_unknown_transaction_status_fails_the_connect(
    servers: dict[str, MessageServer], plain: Config, style: str
) -> None:
    server = servers["plain"]
    config = plain.replace(port=server.port)
    trials = run(config, style, server.faults, _flips_of_status(record(config, server.faults)))
    assert not faults_found(trials, config)


def test_ready_for_query_without_status_fails_the_connect(
    servers: dict[str, MessageServer], plain: Config, style: str
) -> None:
    server = servers["plain"]
    config = plain.replace(port=server.port)
    trials = run(config, style, server.faults, [_shorter_ready_for_query(record(config, server.faults))])
    assert not faults_found(trials, config)
