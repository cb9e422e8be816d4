"""A CA, and honest, flooding and slow servers, each kind in its own process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls import Config, available_backends

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from babar_tls.testing import CertificateAuthority, ServerCertificate

    from .peers import PeerProcess

#: /proc is needed to count open descriptors.
collect_ignore_glob = [] if Path("/proc/self/fd").exists() else ["test_*.py"]


@pytest.fixture(params=["stdlib", "openssl", "rustls"], scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name not in available_backends():
        pytest.skip(f"backend {name} is not installed")
    return name


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    from babar_tls.testing import CertificateAuthority

    return CertificateAuthority()


@pytest.fixture(scope="session")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue("localhost", "127.0.0.1", key="p256")


@pytest.fixture(scope="session")
def honest(certificate: ServerCertificate) -> Iterator[PeerProcess]:
    from .peers import PeerProcess

    with PeerProcess("honest", certificate=certificate) as process:
        yield process


@pytest.fixture(scope="session")
def flooding(certificate: ServerCertificate) -> Iterator[PeerProcess]:
    from .peers import FLOODS, PeerProcess

    with PeerProcess(*FLOODS, certificate=certificate, nice=True) as process:
        yield process


@pytest.fixture(scope="session")
def slow(certificate: ServerCertificate) -> Iterator[PeerProcess]:
    from .peers import SLOW, PeerProcess

    with PeerProcess(*SLOW, certificate=certificate) as process:
        yield process


@pytest.fixture(scope="session")
def config(
    authority: CertificateAuthority, honest: PeerProcess, tmp_path_factory: pytest.TempPathFactory, backend: str
) -> Config:
    """Return the configuration of a connect to the honest server."""
    from .peers import PASSWORD, USER

    path = tmp_path_factory.mktemp("connecting") / "root.crt"
    authority.write(path)
    return Config(
        host="127.0.0.1",
        port=honest.ports["honest"],
        user=USER,
        password=PASSWORD,
        connect_timeout=8,
        tls_root_cert_path=str(path),
        tls_default_roots=False,
        tls_backend=backend,
    )


@pytest.fixture(params=["asyncio", "uvloop"], scope="session")
def new_event_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    create: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip(request.param).new_event_loop
    create().close()  # libuv opens a pipe with its first loop and keeps it open
    return create
