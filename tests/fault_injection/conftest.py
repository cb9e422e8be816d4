"""Fixtures for each backend, style and TLS version, and checks that tests leak no resources."""

from __future__ import annotations

import gc
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls import Config, available_backends
from babar_tls.testing import CertificateAuthority
from babar_tls.tls.key_share_cache import key_share_cache

from .leftovers import all_leftovers, connection_leftovers, remaining
from .servers import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import ServerCertificate

_TIMEOUT = 10.0  # seconds for connections and threads to end
_CONNECTS = "connects with a fault"
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report the number of connects, including those of pytest-xdist workers."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    properties = [dict(getattr(report, "user_properties", ())) for report in reports if hasattr(report, "when")]
    if connects := sum(found.get(_CONNECTS, 0) for found in properties):
        terminalreporter.write_line(f"tests/fault_injection: {connects} {_CONNECTS}")


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Return a function that records the number of connects of a test for the summary."""
    return lambda connects: request.node.user_properties.append((_CONNECTS, connects))


@pytest.fixture(scope="module", autouse=True)
def no_leaks_in_module() -> Iterator[None]:
    """Fail if a descriptor or a thread is left after the module's servers were closed."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to list open descriptors, and addresses in 127.0.0.0/8")
    before = all_leftovers()
    yield
    assert not remaining(all_leftovers, before, _TIMEOUT)


@pytest.fixture(autouse=True)
def no_leaks_in_test(no_leaks_in_module: None) -> Iterator[None]:
    """Fail if a test leaves a connection or a thread, or an object that warns when it is garbage-collected."""
    before = connection_leftovers()
    yield
    left = remaining(connection_leftovers, before, _TIMEOUT)  # before the collector closes anything
    gc.collect()
    assert not left


@pytest.fixture(params=["blocking", "asyncio"])
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["stdlib", "openssl", "rustls"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param not in available_backends():
        pytest.skip(f"backend {request.param} is not installed")
    return request.param


@pytest.fixture(params=list(VERSIONS))
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="session")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    """Return a certificate whose signatures have a constant length, so that all connects have the same boundaries."""
    return authority.issue("localhost", key="ed25519")


@pytest.fixture(scope="session")
def bound(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return a configuration that requires verified TLS and channel binding; tests replace `port` and `tls_backend`."""
    path = tmp_path_factory.mktemp("fault_injection") / "root.crt"
    authority.write(path)
    return Config(
        host="localhost",
        user=USER,
        password=PASSWORD,
        tls_root_cert_path=str(path),
        tls_default_roots=False,
        channel_binding="require",
    )


@pytest.fixture(scope="session")
def plain() -> Config:
    """Return a configuration that requires SCRAM without TLS; tests replace `port`."""
    return Config(
        host="localhost",
        user=USER,
        password=PASSWORD,
        tls_mode="disable",
        channel_binding="disable",
        require_auth="scram-sha-256",
    )


@pytest.fixture(autouse=True)
def full_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always offer all key-exchange groups: repeating a narrowed offer would hide a fault of the first attempt."""
    monkeypatch.setattr(key_share_cache, "parameters", lambda server: server.parameters)
