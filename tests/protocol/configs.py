"""Configurations for tests that never touch a network."""

from __future__ import annotations

from typing import Any

from babar_tls.config import Config

PASSWORD = "s3cret-pencil"
DEFAULTS: dict[str, Any] = {"host": "db.example.com", "user": "app", "password": PASSWORD}


def make(**overrides: Any) -> Config:
    """Return a configuration that requires and verifies TLS by default."""
    return Config(**{**DEFAULTS, **overrides})
