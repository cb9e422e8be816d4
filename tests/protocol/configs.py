"""Configurations for tests that never touch a network."""

from __future__ import annotations

from typing import Any

from babar_tls.config import Config

PASSWORD = "s3cret-pencil"
DEFAULTS: dict[str, Any] = {"host": "db.example.com", "user": "app", "password": PASSWORD}


def make(**overrides: Any) -> Config:
    """TLS required and verified in full, unless told otherwise."""
    return Config(**{**DEFAULTS, **overrides})
