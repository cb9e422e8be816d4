"""TLS libraries: the adapters in this package, and the names that an adapter in another package imports."""

from __future__ import annotations

from ..tls.contract import Capabilities, StreamFacts, TlsBackend, TlsFacts, TlsStream
from ..tls.hello import ClientOffer
from ..tls.parameters import TlsParameters, TrustedRoots
from ..tls.registry import (
    ENTRY_POINT_GROUP,
    BackendStatus,
    available_backends,
    backend_names,
    backend_status,
    get_backend,
    offer_of,
)

__all__ = [
    "ENTRY_POINT_GROUP",
    "BackendStatus",
    "Capabilities",
    "ClientOffer",
    "StreamFacts",
    "TlsBackend",
    "TlsFacts",
    "TlsParameters",
    "TlsStream",
    "TrustedRoots",
    "available_backends",
    "backend_names",
    "backend_status",
    "get_backend",
    "offer_of",
]
