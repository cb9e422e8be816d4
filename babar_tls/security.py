"""`SecurityReport`: the security properties of a session."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .protocol.handshake import Established

__all__ = ["SecurityReport"]


@dataclass(frozen=True, kw_only=True)
class SecurityReport:
    """The security properties of a session. Every field is a fact of this connection, not of its configuration.

    Attributes:
        tls: Whether the connection is encrypted.
        backend: The name of the TLS backend, `None` without TLS.
        backend_version: The version of the TLS backend.
        tls_version: ``TLSv1.2`` or ``TLSv1.3``.
        cipher: The cipher suite, in the backend's spelling.
        group: The key-exchange group, `None` if the backend does not report it.
        alpn: The protocol selected by ALPN.
        negotiation: How TLS began: ``postgres`` (SSLRequest) or ``direct``.
        server_name: The name that was sent and, with `verified` ``full``, verified.
        verified: The verification of the certificate: ``full``, ``ca`` or ``none``.
        pin: The pinned fingerprint that the certificate matches, `None` without pins.
        trusted_roots: The sources of the trusted roots: files, directories, ``truststore``, and the setting that
            names them; empty if nothing was verified, or the backend does not report them.
        trusted_anchors: The number of trusted certificates, `None` if it is not known.
        peer_certificate: The server's certificate in DER.
        peer_fingerprint_sha256: The SHA-256 of the server's certificate in hexadecimal.
        auth_method: ``scram-sha-256-plus``, ``scram-sha-256``, ``md5``, ``password`` or ``none``.
        gs2_flag: SCRAM's channel binding flag: ``p`` if it is used, ``y`` if the server did not offer it, ``n`` if
            the client does not use it.
        channel_binding_type: The type of channel binding, `None` without channel binding.
        channel_binding_hash: The hash function of ``tls-server-end-point``.
        scram_iterations: The number of PBKDF2 iterations that the server requires.
        server_authenticated: Whether the server's SCRAM signature proved that it has the password's verifier.
        round_trips: The number of network round trips until the session was ready, including TCP.
        timings: Seconds by phase: ``resolve``, ``tcp``, ``negotiate``, ``tls``, ``auth``, ``ready``.
    """

    tls: bool
    backend: str | None
    backend_version: str | None
    tls_version: str | None
    cipher: str | None
    group: str | None
    alpn: str | None
    negotiation: str | None
    server_name: str | None
    verified: str
    pin: str | None
    trusted_roots: tuple[str, ...]
    trusted_anchors: int | None
    peer_certificate: bytes | None = field(repr=False)
    peer_fingerprint_sha256: str | None
    auth_method: str
    gs2_flag: str | None
    channel_binding_type: str | None
    channel_binding_hash: str | None
    scram_iterations: int | None
    server_authenticated: bool
    round_trips: int
    timings: Mapping[str, float]

    @property
    def channel_bound(self) -> bool:
        """True if client and server have proven that they use the same TLS channel."""
        return self.channel_binding_type is not None and self.server_authenticated

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as values for JSON, with the certificate in base64."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["timings"] = dict(self.timings)
        values["trusted_roots"] = list(self.trusted_roots)
        if self.peer_certificate is not None:
            values["peer_certificate"] = base64.b64encode(self.peer_certificate).decode()
        return values


def security_report(
    established: Established,
    *,
    backend: str | None,
    backend_version: str | None,
    server_name: str | None,
    round_trips: int,
    timings: Mapping[str, float],
) -> SecurityReport:
    """Create the report from the results of the handshake, the backend and the driver."""
    facts, authenticated = established.facts, established.authenticated
    certificate = facts.peer_certificate if facts is not None else None
    roots = facts.trusted_roots if facts is not None else None
    return SecurityReport(
        tls=facts is not None,
        backend=backend,
        backend_version=backend_version,
        tls_version=facts.version if facts is not None else None,
        cipher=facts.cipher if facts is not None else None,
        group=facts.group if facts is not None else None,
        alpn=facts.alpn if facts is not None else None,
        negotiation=established.negotiation,
        server_name=server_name,
        verified=established.verified.value,
        pin=established.pin,
        trusted_roots=roots.sources if roots is not None else (),
        trusted_anchors=roots.anchors if roots is not None else None,
        peer_certificate=certificate,
        peer_fingerprint_sha256=hashlib.sha256(certificate).hexdigest() if certificate is not None else None,
        auth_method=authenticated.method,
        gs2_flag=authenticated.gs2_flag,
        channel_binding_type=authenticated.channel_binding_type,
        channel_binding_hash=authenticated.channel_binding_hash,
        scram_iterations=authenticated.scram_iterations,
        server_authenticated=authenticated.server_authenticated,
        round_trips=round_trips,
        timings=timings,
    )
