"""Recognize services other than PostgreSQL by their first bytes, for error messages only."""

from __future__ import annotations

import re

#: SSH servers send their version first (RFC 4253 §4.2). The first S may have been read as the response to SSLRequest.
_SERVICES = (
    (re.compile(rb"S?SH-[12]\.\d+-"), "an SSH server"),
    (re.compile(rb"HTTP/\d"), "an HTTP server"),
    (re.compile(rb"<(?:!doctype )?html", re.IGNORECASE), "an HTTP server"),
    (re.compile(rb"220[ -]"), "a mail or FTP server"),
    (re.compile(rb"-(?:ERR|DENIED|NOAUTH|MISCONF) "), "a Redis server"),
    (re.compile(rb"[\x15\x16]\x03[\x00-\x04]"), "a server that requires TLS from the first byte"),
)


def describe_service(data: bytes) -> str | None:
    """Return the kind of server that sends these bytes first, or None if it is unknown.

    Args:
        data: The first bytes that were received, or the bytes after an ``S``.
    """
    return next((name for pattern, name in _SERVICES if pattern.match(data)), None)
