"""Fixtures for both styles and all backends, and a check that each test closes its sockets and threads."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls import Config, available_backends
from babar_tls.net.key_cache import key_cache
from babar_tls.net.thread_pool import THREAD_NAME
from babar_tls.testing import CertificateAuthority
from babar_tls.tls.key_share_cache import key_share_cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import ServerCertificate

pytest.importorskip("cryptography")

_TIMEOUT = 5.0  # seconds for threads to end


def descriptors() -> list[str]:
    """Return the identities of this process's open sockets, pipes and pollers.

    Files are not included: libraries open some on first use and keep them.
    """
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - the link of a socket is not a path
        except OSError:
            continue  # the descriptor of iterdir() is closed already
        if not target.startswith("/"):
            found.append(target)
    return sorted(found)


def threads() -> int:
    """Return the number of threads, except connect threads, which end after a short time."""
    return sum(thread.name != THREAD_NAME for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_leaked_resources() -> Iterator[None]:
    """Check that the test leaves no socket or thread open, without a garbage collection."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to list open descriptors")
    key_cache.clear()
    key_share_cache.clear()
    before = descriptors(), threads()
    yield
    deadline = time.monotonic() + _TIMEOUT
    while (descriptors(), threads()) != before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (descriptors(), threads()) == before


@pytest.fixture(autouse=True, scope="module")
def no_leaked_connect_threads() -> Iterator[None]:
    """Check that idle connect threads end after a short time."""
    yield
    deadline = time.monotonic() + _TIMEOUT
    while (names := [thread.name for thread in threading.enumerate()]).count(THREAD_NAME):
        assert time.monotonic() < deadline, names
        time.sleep(0.01)


@pytest.fixture(params=["blocking", "asyncio"])
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["stdlib", "openssl", "rustls"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param not in available_backends():
        pytest.skip(f"backend {request.param} is not installed")
    return request.param


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="session")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def config(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return a strict client configuration; the test replaces `port`."""
    path = tmp_path_factory.mktemp("hostile") / "root.crt"
    authority.write(path)
    return Config(
        host="127.0.0.1",
        user="app",
        password="a secret of ours",
        connect_timeout=20,
        tls_root_cert_path=str(path),
        tls_default_roots=False,
    )
