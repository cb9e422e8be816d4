"""The parameters of a configuration with their values and sources. Secrets are hidden."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from ..conninfo.keywords import KEYWORDS
from ..conninfo.setting import CONNECTION_STRING, DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import Config
    from ..config.host import Host
    from ..conninfo import Field

_HIDDEN = "(hidden)"

#: The source of a parameter that nothing sets.
DEFAULT_SOURCE = DEFAULT


class Parameter(NamedTuple):
    """A parameter: the name of its field in `Config`, its value as text, and its source."""

    name: str
    value: str
    source: str


def list_parameters(config: Config, fields: Mapping[str, Field], overrides: Mapping[str, str]) -> list[Parameter]:
    """Return all parameters of a configuration.

    Args:
        config: The configuration.
        fields: The fields that its connection string determines.
        overrides: The sources of fields that replace those of the connection string.
    """
    sources = {name: _source(field.keyword, field.source) for name, field in fields.items()} | dict(overrides)
    left_out = {"host", "port", "hostaddr"} if config.hosts else {"hosts"}
    return [
        Parameter(name, _shown(name, getattr(config, name)), sources.get(name, DEFAULT_SOURCE))
        for name in (item.name for item in dataclasses.fields(config))
        if name not in left_out
    ]


def _source(keyword: str | None, source: str) -> str:
    return f"{source}: {keyword}" if keyword and source == CONNECTION_STRING else source


def _shown(name: str, value: Any) -> str:
    if value in (None, (), ""):
        return "-"
    if isinstance(value, bytes) or callable(value) or (name in KEYWORDS and KEYWORDS[name].secret):
        return _HIDDEN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if name == "hosts":
        return ", ".join(_place(host) for host in value)
    if name == "server_settings":
        return " ".join(f"{setting}={text}" for setting, text in value)
    return ", ".join(value) if isinstance(value, tuple) else str(getattr(value, "value", value))


def _place(host: Host) -> str:
    return f"{host.host}:{host.port}" + (f" at {host.hostaddr}" if host.hostaddr else "")
