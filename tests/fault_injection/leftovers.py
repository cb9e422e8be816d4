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

#: The prefix of connect threads, which may wait for another connect for a few seconds.
_LINGERING = "babar-tls"


def network_sockets() -> set[str]:
    """Return the identities of the TCP sockets of this process, connected or not.

    Other descriptors are excluded: an idle connect thread may have some.
    """
    return {target for entry, target in _descriptors() if target.startswith("socket:") and _is_network(int(entry.name))}


def descriptors() -> set[str]:
    """Return all sockets, pipes and pollers; files are excluded, because libraries keep some open."""
    return {target for _, target in _descriptors() if not target.startswith("/")}


def threads(*, lingering: bool) -> set[threading.Thread]:
    """Return the running threads, with or without idle connect threads."""
    return {thread for thread in threading.enumerate() if lingering or not thread.name.lower().startswith(_LINGERING)}


def connection_leftovers() -> set[object]:
    """Return the resources that must be released at the end of a connect."""
    return {*network_sockets(), *threads(lingering=False)}


def all_leftovers() -> set[object]:
    """Return the resources that must be released a few seconds after the last connect."""
    return {*descriptors(), *threads(lingering=True)}


def remaining(count: Callable[[], set[object]], before: set[object], seconds: float) -> set[object]:
    """Return the resources that are not in `before`, after waiting up to `seconds` for their release."""
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
