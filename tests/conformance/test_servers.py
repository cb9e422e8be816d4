"""Servers as they are: modes, pg_hba.conf, credentials, channel binding, methods, root files, client certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .agreement import check
from .libpq_process import require_libpq
from .table_servers import PLAIN, POSTGRES15, TLS, VERSIONS, versions
from .world import require_postgres15

if TYPE_CHECKING:
    from .libpq_process import Libpq
    from .world import World

require_libpq()


@pytest.mark.parametrize("batch", TLS)
def test_tls(world: World, libpq: Libpq, batch: str) -> None:
    """With TLS, libpq and this library do the same."""
    check(world, libpq, TLS[batch])


@pytest.mark.parametrize("batch", PLAIN)
def test_plain(world: World, libpq: Libpq, batch: str) -> None:
    """Without TLS, libpq and this library do the same."""
    check(world, libpq, PLAIN[batch])


@pytest.mark.parametrize("batch", POSTGRES15)
def test_postgres15(world: World, libpq: Libpq, batch: str) -> None:
    """PostgreSQL 15 does not support direct TLS and ALPN."""
    require_postgres15()
    check(world, libpq, POSTGRES15[batch])


@pytest.mark.parametrize("limits", VERSIONS)
def test_versions(world: World, libpq: Libpq, limits: str) -> None:
    """Both clients use the same TLS version, or both fail."""
    low, high = VERSIONS[limits]
    world.present("good")
    server = world.server("certs")
    server.set_settings({"ssl_min_protocol_version": low, "ssl_max_protocol_version": high})
    try:
        check(world, libpq, versions("certs", limits))
    finally:
        server.set_settings({"ssl_min_protocol_version": None, "ssl_max_protocol_version": None})
