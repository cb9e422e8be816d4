"""A listener that does not respond, like an address behind a firewall that drops packets."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def full_queue(host: str = "127.0.0.2") -> Iterator[tuple[str, int]]:
    """Return the address of a listener whose queue is full: Linux drops further SYN packets.

    Args:
        host: The address to listen on.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address
