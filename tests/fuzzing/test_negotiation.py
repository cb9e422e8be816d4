"""NegotiateProtocolVersion: arbitrary bytes are read as a simple model reads them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import strategies as st

from babar_tls.config import Config, ProtocolVersion
from babar_tls.errors import ProtocolError
from babar_tls.protocol import startup
from babar_tls.protocol.startup import Negotiated, Startup

from .profile import fuzz

OPTIONS = ("_pq_.a", "_pq_.é")
VERSIONS = st.sampled_from([0x30000, 0x30001, 0x30002, 0x30003, 0x20000, 0x40000, 0, -1, 2**31 - 1])
NAMES = st.sampled_from([*OPTIONS, "_pq_.b", "_pq_", "user", "DateStyle", "", "\x1b[2J"]) | st.text(max_size=8)
PAYLOADS = st.binary(max_size=64) | st.builds(
    lambda version, count, names, rest: (
        struct.pack("!ii", version, len(names) if count is None else count)
        + b"".join(name.encode() + b"\0" for name in names)
        + rest
    ),
    VERSIONS,
    st.none() | st.integers(-(2**31), 2**31 - 1) | st.integers(-1, 4),
    st.lists(NAMES, max_size=3),
    st.sampled_from([b"", b"", b"", b"\0", b"x"]),
)
RANGES = st.sampled_from([("3.0", "3.0"), ("3.0", "3.2"), ("3.2", "3.2"), ("3.0", "latest")])


def negotiated(payload: bytes, minimum: str, maximum: str) -> Negotiated | str:
    """Return the result, or the text of the error."""
    config = Config(
        user="u",
        min_protocol_version=ProtocolVersion(minimum),
        max_protocol_version=ProtocolVersion(maximum),
    )
    try:
        return Startup(config, [(name, "") for name in OPTIONS]).negotiate(payload)
    except ProtocolError as error:
        return str(error)


def is_valid(payload: bytes, minimum: str, maximum: str) -> bool:
    """Return True if a server may send this message: it lists the acceptable messages."""
    known = {"3.0": 0x30000, "3.2": 0x30002, "latest": 0x30002}
    acceptable = set()
    for version in {0x30000, known[maximum]}:
        for names in ((), OPTIONS[:1], OPTIONS[1:], OPTIONS, OPTIONS[::-1]):
            if version >= known[minimum] and (version != known[maximum] or names):
                encoded = "".join(f"{name}\0" for name in names).encode()
                acceptable.add(struct.pack("!ii", version, len(names)) + encoded)
    return payload in acceptable


@fuzz(4, payload=PAYLOADS, limits=RANGES)
def test_only_messages_that_change_the_request_are_accepted(payload: bytes, limits: tuple[str, str]) -> None:
    result = negotiated(payload, *limits)
    assert isinstance(result, Negotiated) is is_valid(payload, *limits)
    if isinstance(result, Negotiated):
        names = "".join(f"{name}\0" for name in result.unsupported).encode()
        assert struct.pack("!ii", result.version, len(result.unsupported)) + names == payload
    else:
        assert all(line.isprintable() for line in result.splitlines())


@pytest.mark.parametrize(
    ("name", "value", "payload"),
    [
        ("_PROTOCOL_3_1", -1, struct.pack("!ii", 0x30001, 0)),
        ("_OPTION_PREFIX", "", struct.pack("!ii", 0x30000, 1) + b"user\0"),
    ],
)
def test_missing_check_is_detected(monkeypatch: pytest.MonkeyPatch, name: str, value: object, payload: bytes) -> None:
    """The property fails for a message that only this check refuses. A search for one would need luck."""
    test: Any = test_only_messages_that_change_the_request_are_accepted
    test.check(payload, ("3.0", "3.2"))
    monkeypatch.setattr(startup, name, value)
    with pytest.raises(AssertionError):
        test.check(payload, ("3.0", "3.2"))
