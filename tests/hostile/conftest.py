"""Two styles, three engines, one authority, and a count of what is left behind."""

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

_PATIENCE = 5.0  # seconds, for threads that are about to end


def descriptors() -> list[str]:
    """The sockets, pipes and pollers that this process has open, by their identities.

    Files are left out: libraries open some of their own the first time that they are used, and keep them.
    """
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - what a socket's link says is no path
        except OSError:
            continue  # that of the listing itself
        if not target.startswith("/"):
            found.append(target)
    return sorted(found)


def threads() -> int:
    """The number of threads, apart from those that connect, which end a moment later."""
    return sum(thread.name != THREAD_NAME for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a socket or a thread behind; nobody collects garbage to get there."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to count what is open")
    key_cache.clear()
    key_share_cache.clear()
    before = descriptors(), threads()
    yield
    deadline = time.monotonic() + _PATIENCE
    while (descriptors(), threads()) != before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (descriptors(), threads()) == before


@pytest.fixture(autouse=True, scope="module")
def connecting_threads_end() -> Iterator[None]:
    """Check that the threads which connect end by themselves. They wait for another connect for a moment."""
    yield
    deadline = time.monotonic() + _PATIENCE
    while (names := [thread.name for thread in threading.enumerate()]).count(THREAD_NAME):
        assert time.monotonic() < deadline, names
        time.sleep(0.01)


@pytest.fixture(params=["blocking", "asyncio"])
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["stdlib", "openssl", "rustls"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param not in available_backends():
        pytest.skip(f"the {request.param} engine is not installed")
    return request.param


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="session")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def config(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A client that takes no risks; `port` is to be replaced."""
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
