"""A client of a backend and a server of the standard library, connected in memory, as in `check_backend`."""

from __future__ import annotations

from babar_tls.testing.backend_checks._pair import TLS_VERSIONS, Pair, only

__all__ = ["TLS_VERSIONS", "Pair", "only"]
