"""The comparison of verdicts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from babar_tls.config.enums import TlsVerify

from .connection import BACKENDS, Server, Verdict
from .differences import EVERY_PATH, LENIENCIES, STRICTNESSES, forgiven, smaller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .certificates import World


def check(world: World, folder: Path) -> set[str]:
    """Compare every backend with OpenSSL.

    Returns:
        The names of the documented differences that the world shows.

    Raises:
        AssertionError: A verdict differs and is not documented.
    """
    server = Server(world, folder)
    verdict = server.connect_with_openssl()
    shown: set[str] = set()
    for backend in BACKENDS:
        ours, theirs = server.connect(backend), verdict
        if backend == "openssl" and world.verify is TlsVerify.CA:
            # pyOpenSSL cannot keep OpenSSL from applying name constraints to a common name; libpq does not either.
            theirs = Server(dataclasses.replace(world, common_name=True), folder).connect_with_openssl()
        if ours.accepted is not theirs.accepted:
            names = set(_differences(world, theirs, ours, folder)) if backend == "rustls" else set()
            assert names, f"{backend}: {ours.text or 'accepted'}; OpenSSL: {theirs.text or 'accepted'}; {world}"
            shown |= names
    return shown


def _differences(world: World, theirs: Verdict, ours: Verdict, folder: Path) -> Iterator[str]:
    if theirs.accepted:
        yield from (one.name for one in STRICTNESSES if one.text in ours.text and one.applies(world))
        return
    changed = forgiven(world)
    if not _accepts(changed, folder):
        accepted = any(_accepts(one, folder) for one in smaller(changed))
        assert accepted, f"rustls accepts what OpenSSL refuses ({theirs.text}): {world}"
        yield EVERY_PATH
    yield from (one.name for one in LENIENCIES if one.forgive(world) != world)


def _accepts(world: World, folder: Path) -> bool:
    return bool(world.trusted) and Server(world, folder).connect_with_openssl().accepted
