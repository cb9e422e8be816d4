"""Encode the messages that a server sends from AuthenticationOk to ReadyForQuery.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .messages import frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

AUTHENTICATION_OK = frame(b"R", struct.pack("!i", 0))
READY_FOR_QUERY = frame(b"Z", b"I")


def parameter_status(name: str, value: str) -> bytes:
    """Encode a ParameterStatus."""
    return frame(b"S", f"{name}\0{value}\0".encode())


def backend_key_data(process_id: int, secret_key: bytes) -> bytes:
    """Encode a BackendKeyData."""
    return frame(b"K", struct.pack("!I", process_id) + secret_key)


def greeting(parameters: Mapping[str, str], process_id: int, secret_key: bytes, notices: Iterable[bytes] = ()) -> bytes:
    """Encode the messages that end a login.

    Args:
        parameters: The values for the ParameterStatus messages.
        process_id: The server process, for cancel requests.
        secret_key: The key for cancel requests; without a key there is no BackendKeyData.
        notices: The payloads of NoticeResponses.
    """
    parts = [AUTHENTICATION_OK]
    parts += [parameter_status(name, value) for name, value in parameters.items()]
    if secret_key:
        parts.append(backend_key_data(process_id, secret_key))
    parts += [frame(b"N", payload) for payload in notices]
    parts.append(READY_FOR_QUERY)
    return b"".join(parts)
