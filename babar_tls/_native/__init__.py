"""The compiled helper for PBKDF2 and the end-point hash: loads it, or says why not.

Without it everything works, on hashlib. ``BABAR_TLS_NATIVE`` chooses: ``0`` or ``hashlib`` for none, a kernel's name
(``sha-ni``, ``armv8``, ``portable``) for that one; what cannot be had is an error and not another choice.

Where the CPU has no SHA instructions, hashlib is chosen although the helper is there: OpenSSL's assembly beats
portable C.
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
    """The module to use, its name for the public, and why it is not the compiled one."""
    wanted = os.environ.get(_VARIABLE, "").strip().lower()
    if wanted in ("0", "hashlib"):
        return fallback, fallback.IMPLEMENTATION, f"{_VARIABLE}={wanted}"
    try:
        from . import compiled  # noqa: PLC0415 - the extension may not have been built
    except ImportError as exc:
        if wanted:
            raise ConfigError(
                f"{_VARIABLE}={wanted}, but the compiled helper cannot be loaded: {exc}",
                remedy="pip install 'babar-tls[native]' on a machine with a C compiler, or unset the variable.",
            ) from exc
        return fallback, fallback.IMPLEMENTATION, str(exc)
    if wanted and not compiled.select(wanted):
        kernels = ", ".join(name for name, capable in compiled.kernels().items() if capable)
        raise ConfigError(
            f"{_VARIABLE}={wanted} is not to be had on this machine", remedy=f"Here there are: {kernels}, hashlib."
        )
    name = compiled.selected()
    if name == "portable" and not wanted:
        return fallback, fallback.IMPLEMENTATION, "this CPU has no SHA instructions, and hashlib is faster"
    return compiled, name, None


#: Either `compiled` or `fallback`: both have the same functions.
functions, IMPLEMENTATION, PROBLEM = _choose()
