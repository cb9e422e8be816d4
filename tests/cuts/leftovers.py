"""Sockets, other descriptors and threads that this process has open."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Threads of the library, which may wait for another connect for a few seconds before they end.
_LINGERING = "babar-tls"


def network_sockets() -> set[str]:
    """Return the TCP sockets of this process, by their identities, connected or not.

    Descriptors of another kind are left out: a lingering thread of the library may have some.
    """
    return {target for entry, target in _descriptors() if target.startswith("socket:") and _is_network(int(entry.name))}


def descriptors() -> set[str]:
    """Return all sockets, pipes and pollers; not files, because libraries open some of their own and keep them."""
    return {target for _, target in _descriptors() if not target.startswith("/")}


def threads(*, lingering: bool) -> set[threading.Thread]:
    """Return the running threads, with or without those that may linger."""
    return {thread for thread in threading.enumerate() if lingering or not thread.name.lower().startswith(_LINGERING)}


def connection_leftovers() -> set[object]:
    """Return what must be gone as soon as a connect is over."""
    return {*network_sockets(), *threads(lingering=False)}


def all_leftovers() -> set[object]:
    """Return what must be gone when no connect was made for a few seconds."""
    return {*descriptors(), *threads(lingering=True)}


def remaining(count: Callable[[], set[object]], before: set[object], seconds: float) -> set[object]:
    """Return what is there now and was not before, after waiting up to `seconds` for it to go."""
    deadline = time.monotonic() + seconds
    while (left := count() - before) and time.monotonic() < deadline:
        time.sleep(0.005)
    return left


def _descriptors() -> list[tuple[Path, str]]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append((entry, os.readlink(entry)))  # noqa: PTH115 - the target of a socket's link is not a path
        except OSError:
            continue  # closed in the meantime, as that of the listing itself
    return found


def _is_network(descriptor: int) -> bool:
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        return False  # closed in the meantime
    try:
        with socket.socket(fileno=duplicate) as sock:
            return sock.family in (socket.AF_INET, socket.AF_INET6)
    except OSError:
        os.close(duplicate)
        return False
