"""check_backend needs cryptography."""

from __future__ import annotations

import pytest

pytest.importorskip("cryptography")
