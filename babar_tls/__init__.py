"""The first half second of a PostgreSQL connection: TLS, verification, SCRAM bound to the channel, a ready session.

::

    from babar_tls import Config, Session

    with Session.connect(Config(host="db.example.com", user="app", password=…)) as session:
        print(session.params["server_version"], session.security)

Names are imported when they are first used, so that ``import babar_tls`` costs little and loads no TLS engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aio import AsyncSession, connect_async
    from .config import (
        ChannelBinding,
        ClientCertMode,
        Config,
        Host,
        LoadBalanceHosts,
        TargetSessionAttrs,
        TlsMode,
        TlsNegotiation,
        TlsVerify,
        TlsVersion,
    )
    from .errors import (
        AuthError,
        AuthRefused,
        BackendUnavailable,
        Busy,
        CertificateError,
        ChannelBindingError,
        ChannelBindingRefused,
        ChannelBindingUnsupported,
        ClientCertificateError,
        Closed,
        ConfigError,
        Error,
        InvalidPassword,
        IoError,
        ProtocolError,
        ServerError,
        ServerSignatureError,
        TargetSessionError,
        TimeoutError,
        TlsError,
        TlsRefused,
        Unreachable,
        UnsupportedAuth,
    )
    from .security import SecurityReport
    from .session import Session, connect
    from .tls.contract import TlsBackend, TlsStream
    from .tls.parameters import TlsParameters
    from .tls.registry import available_backends, backend_names

__version__ = "0.1.0"

__all__ = [
    "AsyncSession",
    "AuthError",
    "AuthRefused",
    "BackendUnavailable",
    "Busy",
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
    "Error",
    "Host",
    "InvalidPassword",
    "IoError",
    "LoadBalanceHosts",
    "ProtocolError",
    "SecurityReport",
    "ServerError",
    "ServerSignatureError",
    "Session",
    "TargetSessionAttrs",
    "TargetSessionError",
    "TimeoutError",
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
]

_MODULES = {
    "aio": ("AsyncSession", "connect_async"),
    "tls.registry": ("available_backends", "backend_names"),
    "tls.contract": ("TlsBackend", "TlsStream"),
    "tls.parameters": ("TlsParameters",),
    "config": (
        "ChannelBinding",
        "ClientCertMode",
        "Config",
        "Host",
        "LoadBalanceHosts",
        "TargetSessionAttrs",
        "TlsMode",
        "TlsNegotiation",
        "TlsVerify",
        "TlsVersion",
    ),
    "security": ("SecurityReport",),
    "session": ("Session", "connect"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module behind a public name (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - kept out of the module's own namespace

    value = getattr(import_module(f".{_HOME.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
