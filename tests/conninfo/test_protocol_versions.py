"""The oldest and newest version of PostgreSQL's protocol, as keywords and as arguments of `Config.from_conninfo`."""

from __future__ import annotations

from typing import Any

import pytest

from babar_tls.config import Config
from babar_tls.config.enums import ProtocolVersion
from babar_tls.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("", {"min_protocol_version": "3.2"}, ("3.2", "latest")),
        ("", {"min_protocol_version": ProtocolVersion.V3_2}, ("3.2", "latest")),
        ("", {"min_protocol_version": "latest"}, ("latest", "latest")),
        ("", {"min_protocol_version": "3.0"}, ("3.0", "3.0")),
        ("", {"min_protocol_version": "3.2", "max_protocol_version": "3.2"}, ("3.2", "3.2")),
        ("max_protocol_version=3.2", {"min_protocol_version": "3.2"}, ("3.2", "3.2")),
        ("min_protocol_version=3.2", {"min_protocol_version": "3.0"}, ("3.0", "3.0")),
        ("min_protocol_version=3.2", {"max_protocol_version": "3.2"}, ("3.2", "3.2")),
    ],
)
def test_oldest_protocol_version_selects_the_newest(
    text: str, arguments: dict[str, Any], expected: tuple[str, str]
) -> None:
    """An argument has the same effect as the keyword."""
    config = Config.from_conninfo(f"user=u {text}", environ={}, **arguments)
    assert (config.min_protocol_version.value, config.max_protocol_version.value) == expected


@pytest.mark.parametrize("value", ["3.9", "", 3.2])
def test_invalid_protocol_version_as_argument_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="min_protocol_version"):
        Config.from_conninfo("user=u", environ={}, min_protocol_version=value)


def test_argument_contradicts_the_newest_protocol_version() -> None:
    with pytest.raises(ConfigError, match='"min_protocol_version" is greater than "max_protocol_version"'):
        Config.from_conninfo("user=u max_protocol_version=3.0", environ={}, min_protocol_version="3.2")
