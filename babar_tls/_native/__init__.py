"""Load the compiled helper for PBKDF2 and the end-point hash, or hashlib if it is not available.

``BABAR_TLS_NATIVE`` selects the implementation: ``0`` or ``hashlib``, or the name of a kernel (``sha-ni``, ``armv8``,
``portable``). If the kernel is not available, an error is raised.

If the CPU has no SHA instructions, hashlib is used by default, because OpenSSL's assembly is faster than portable C.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConfigError
from . import fallback

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["IMPLEMENTATION", "PROBLEM", "functions"]

_VARIABLE = "BABAR_TLS_NATIVE"


def _choose() -> tuple[ModuleType, str, str | None]:
    """Return the module to use, the name of the implementation, and the reason why it is not compiled, or None."""
    requested = os.environ.get(_VARIABLE, "").strip().lower()
    if requested in ("0", "hashlib"):
        return fallback, fallback.IMPLEMENTATION, f"{_VARIABLE}={requested}"
    try:
        from . import compiled  # noqa: PLC0415 - the extension may not have been built
    except ImportError as exc:
        if requested:
            raise ConfigError(
                f"{_VARIABLE}={requested}, but the compiled helper cannot be loaded: {exc}",
                remedy="pip install 'babar-tls[native]' on a machine with a C compiler, or unset the variable.",
            ) from exc
        return fallback, fallback.IMPLEMENTATION, str(exc)
    if requested and not compiled.select(requested):
        kernels = ", ".join(name for name, capable in compiled.kernels().items() if capable)
        raise ConfigError(
            f"{_VARIABLE}={requested} is not available on this machine", remedy=f"Available: {kernels}, hashlib."
        )
    name = compiled.selected()
    if name == "portable" and not requested:
        return fallback, fallback.IMPLEMENTATION, "this CPU has no SHA instructions, and hashlib is faster"
    return compiled, name, None


#: Either `compiled` or `fallback`, which have the same functions.
functions, IMPLEMENTATION, PROBLEM = _choose()
