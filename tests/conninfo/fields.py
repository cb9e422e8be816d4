"""A helper that reads a connection string into the fields of `Config`, including defaults."""

from __future__ import annotations

import dataclasses
from typing import Any

from babar_tls.config import Config
from babar_tls.conninfo import read

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}


def config_fields(conninfo: str, **options: Any) -> dict[str, Any]:
    """Read a connection string into keyword arguments of `Config`."""
    return {**_DEFAULTS, **{name: field.value for name, field in read(conninfo, **options).items()}}
