"""The adapters of TLS libraries, and the names that an adapter in another package imports.

``docs/writing-a-backend.md`` documents these names.
"""

from __future__ import annotations

from ..config.enums import TlsVersion
from ..tls.alerts import alert_error, alert_name, alert_named_in
from ..tls.algorithms import openssl_name, select, unknown_cipher, unknown_group
from ..tls.contract import Capabilities, CheckLeaf, StreamFacts, TlsBackend, TlsFacts, TlsStream
from ..tls.errors import chain_error, damaged_error
from ..tls.hello import ClientOffer
from ..tls.material import TlsMaterial
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
from ..tls.token_identity import TokenIdentity

__all__ = [
    "ENTRY_POINT_GROUP",
    "BackendStatus",
    "Capabilities",
    "CheckLeaf",
    "ClientOffer",
    "StreamFacts",
    "TlsBackend",
    "TlsFacts",
    "TlsMaterial",
    "TlsParameters",
    "TlsStream",
    "TlsVersion",
    "TokenIdentity",
    "TrustedRoots",
    "alert_error",
    "alert_name",
    "alert_named_in",
    "available_backends",
    "backend_names",
    "backend_status",
    "chain_error",
    "damaged_error",
    "get_backend",
    "offer_of",
    "openssl_name",
    "select",
    "unknown_cipher",
    "unknown_group",
]
