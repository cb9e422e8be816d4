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
    from .hooks import *
    from .net.secure_socket import *
    from .net.secure_stream import *
    from .net.secure_transport import *
    from .security import *
    from .session import *
    from .tls.contract import *
    from .tls.parameters import *
    from .tls.registry import *

__version__ = "0.1.0"

__all__ = [
    "AsyncSession",
    "AuthError",
    "AuthRefused",
    "BackendUnavailable",
    "Busy",
    "Capabilities",
    "CertificateError",
    "ChannelBinding",
    "ChannelBindingError",
    "ChannelBindingRefused",
    "ChannelBindingUnsupported",
    "ClientCertMode",
    "ClientCertificateError",
    "Closed",
    "Config",
    "ConfigError",
    "ConfigOptions",
    "ConnectEvent",
    "Error",
    "Host",
    "IntegrationError",
    "InvalidPassword",
    "IoError",
    "LoadBalanceHosts",
    "PasswordMissing",
    "PasswordUnavailable",
    "ProtocolError",
    "ProtocolVersion",
    "SecureSocket",
    "SecureStream",
    "SecureTransport",
    "SecurityReport",
    "ServerError",
    "ServerSignatureError",
    "Session",
    "StreamFacts",
    "TargetSessionAttrs",
    "TargetSessionError",
    "TlsBackend",
    "TlsError",
    "TlsMode",
    "TlsNegotiation",
    "TlsParameters",
    "TlsRefused",
    "TlsStream",
    "TlsVerify",
    "TlsVersion",
    "Unreachable",
    "UnsupportedAuth",
    "__version__",
    "available_backends",
    "backend_names",
    "connect",
    "connect_async",
    "on_connect",
]
if TYPE_CHECKING:  # it can be imported by its name, but ``import *`` must not replace the built-in class
    __all__ += ["TimeoutError"]

#: The modules whose `__all__` this package exports. Those that import the least come first.
_MODULES = (
    "errors",
    "config",
    "security",
    "hooks",
    "tls.parameters",
    "tls.contract",
    "tls.registry",
    "session",
    "aio",
    "net.secure_stream",
    "net.secure_transport",
    "net.secure_socket",
)


if not TYPE_CHECKING:  # with this function, type checkers would accept every name

    def __getattr__(name: str) -> Any:
        """Import the module of a public name (PEP 562)."""
        if not name.startswith("_"):
            for module in map(_load, _MODULES):
                if name in module.__all__:
                    globals()[name] = value = getattr(module, name)
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _load(module: str) -> Any:
    return import_module(f"{__name__}.{module}")
