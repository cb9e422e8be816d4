"""An engine's client and the standard library's server, joined in memory: what `check_backend` uses too."""

from __future__ import annotations

from babar_tls.testing.backend_checks._pair import TLS_VERSIONS, Pair, only

__all__ = ["TLS_VERSIONS", "Pair", "only"]
