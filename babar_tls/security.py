"""`SecurityReport`: the security properties of a session."""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SecurityReport"]

#: A server that uses fewer SCRAM iterations is weak (RFC 7677 §4).
MIN_ITERATIONS = 4096


def describe(report: SecurityReport) -> str:
    """Return the protection of a connection in a few words, for `repr`."""
    if not report.tls:
        return "no TLS"
    return f"{report.tls_version}, {'channel-bound' if report.channel_bound else 'not channel-bound'}"


@dataclass(frozen=True, kw_only=True)
class SecurityReport:
    """The security properties of a session. The fields describe this connection, not its configuration.

    Attributes:
        tls: True if the connection is encrypted.
        backend: The name of the TLS backend, `None` without TLS.
        backend_version: The version of the TLS backend.
        tls_version: ``TLSv1.2`` or ``TLSv1.3``.
        cipher: The cipher suite, in the backend's spelling.
        group: The key-exchange group, `None` if the backend does not report it.
        alpn: The protocol selected by ALPN.
        negotiation: The start of TLS: ``postgres`` (SSLRequest) or ``direct``.
        server_name: The name that was sent and, with `verified` ``full``, verified.
        verified: The extent to which the certificate was verified: ``full``, ``ca`` or ``none``.
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
        server_authenticated: True if the server's SCRAM signature proved that it has the password's verifier.
        round_trips: The number of network round trips until the session was ready, including TCP.
        timings: Seconds by phase: ``resolve``, ``tcp``, ``negotiate``, ``tls``, ``auth``, ``ready``; and
            ``password`` if `Config.password` is a callable that was called.
    """

    tls: bool
    backend: str | None = None
    backend_version: str | None = None
    tls_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    negotiation: str | None
    server_name: str | None = None
    verified: str
    pin: str | None
    trusted_roots: tuple[str, ...] = ()
    trusted_anchors: int | None = None
    peer_certificate: bytes | None = field(default=None, repr=False)
    peer_fingerprint_sha256: str | None = None
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
