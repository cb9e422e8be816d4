"""Checking an engine takes certificates, and these take cryptography."""

from __future__ import annotations

import pytest

pytest.importorskip("cryptography")
