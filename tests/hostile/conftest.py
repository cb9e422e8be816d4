"""Two styles, three engines, one authority, and a count of what is left behind."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls import Config, available_backends
from babar_tls.driving import key_cache
from babar_tls.testing import CertificateAuthority

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


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a socket or a thread behind; nobody collects garbage to get there."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to count what is open")
    key_cache.clear()
    while any(thread.name == "babar-tls worker" for thread in threading.enumerate()):
        time.sleep(0.01)  # another test's; it ends by itself
    before = descriptors(), threading.active_count()
    yield
    deadline = time.monotonic() + _PATIENCE
    while (descriptors(), threading.active_count()) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (descriptors(), threading.active_count()) == before


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
