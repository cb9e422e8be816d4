"""Establish PostgreSQL connections: TLS, verification of the server, SCRAM bound to the TLS channel.

::

    from babar_tls import Config, Session

    with Session.connect(Config(host="db.example.com", user="app", password="secret")) as session:
        print(session.params["server_version"], session.security)

Public names are imported on first use: ``import babar_tls`` loads no TLS library, no sockets and no asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aio import *
    from .config import *
    from .errors import *
    from .net.secure_socket import *
    from .net.secure_stream import *
    from .net.secure_transport import *
    from .security import *
    from .session import *
    from .tls.contract import *
    from .tls.parameters import *
    from .tls.registry import *

__version__ = "0.1.0"

#: The modules whose `__all__` this package exports. Those that import the least come first.
_MODULES = (
    "errors",
    "config",
    "security",
    "tls.parameters",
    "tls.contract",
    "tls.registry",
    "session",
    "aio",
    "net.secure_stream",
    "net.secure_transport",
    "net.secure_socket",
)


def __getattr__(name: str) -> Any:
    """Import the module of a public name (PEP 562)."""
    if name == "__all__":
        return ["__version__", *sorted(public for module in _MODULES for public in _load(module).__all__)]
    if not name.startswith("_"):
        for module in map(_load, _MODULES):
            if name in module.__all__:
                globals()[name] = value = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})


def _load(module: str) -> Any:
    return import_module(f"{__name__}.{module}")
