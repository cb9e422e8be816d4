"""A connect fails in time if a TLS record of the server is truncated, stalled or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import ScramServer

from .conftest import VERSIONS
from .connects import faults_found, record, run
from .faults import ACTIONS
from .positions import PARTS, around_boundaries, plan
from .servers import ITERATIONS, PASSWORD, USER, RecordRelay, unexpected_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls import Config
    from babar_tls.testing import ServerCertificate

    from .faults import Action

#: Positions in the short form.
_SAMPLE = {"close": 20, "stall": 20, "flip": 40}
_MIN_LENGTH = 1000

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def relays(certificate: ServerCertificate, no_leaks_in_module: None) -> Iterator[dict[str, RecordRelay]]:
    servers, relays = [], {}
    for name, version in VERSIONS.items():
        server = ScramServer(
            {USER: PASSWORD},
            certificate,
            channel_bindings=["tls-server-end-point"],
            iterations=ITERATIONS,
            minimum_version=version,
            maximum_version=version,
        )
        server.start()
        servers.append(server)
        relays[name] = RecordRelay(server.port)
        relays[name].start()
    yield relays
    for server in [*relays.values(), *servers]:
        server.close()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("action", ACTIONS)
def test_faulty_record_fails_the_connect_in_time(
    *,
    relays: dict[str, RecordRelay],
    bound: Config,
    backend: str,
    style: str,
    version: str,
    action: Action,
    part: int,
    count: Callable[[int], None],
) -> None:
    relay = relays[version]
    config = bound.replace(port=relay.port, tls_backend=backend)
    recorded = record(config, relay.faults)
    assert recorded.sent >= _MIN_LENGTH
    boundaries = around_boundaries(recorded.spans, "record type")
    if action == "flip":
        boundaries |= around_boundaries(recorded.spans, "record length")
    name = f"{backend} {style} {version} {action}"
    faults = plan(action, recorded.sent, boundaries, name=name, part=part, sample=_SAMPLE[action])
    trials = run(config, style, relay.faults, faults)
    relay.faults.clear()
    assert len(trials) == len(faults)
    assert not faults_found(trials, config)
    assert not unexpected_errors(relay)
    count(len(trials))
