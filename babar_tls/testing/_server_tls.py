"""The server's end of a TLS connection, and its channel bindings.

This module and `_end_point_hash` implement the channel bindings of the RFCs independently of the client. They do not
use `babar_tls.protocol.channel_binding`, because tests cannot find a mistake in code that both ends share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from babar_tls.testing.certificates import ServerCertificate
    from babar_tls.testing.peers import ScriptedPeer


EXPORTER_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 §2, with an empty context
EXPORTER_LENGTH = 32


@dataclass(frozen=True)
class ServerTls:
    """An established TLS connection.

    Attributes:
        peer: The peer that sends and receives over TLS.
        version: ``TLSv1.2`` or ``TLSv1.3``.
        bindings: Channel-binding data by type, for the types that this connection and its TLS library have.
    """

    peer: ScriptedPeer
    version: str
    bindings: dict[str, bytes] = field(repr=False)


def accept_tls(peer: ScriptedPeer, certificate: ServerCertificate, *, backend: str, **options: Any) -> ServerTls:
    """Establish TLS with a client.

    Args:
        peer: The accepted connection, before TLS.
        certificate: The server's certificate.
        backend: ``openssl`` (pyOpenSSL), or ``stdlib``, which has no exporter.
        options: `minimum_version` and `maximum_version`, as for `ScriptedPeer.start_tls`.

    Raises:
        ImportError: pyOpenSSL is not installed.
    """
    from babar_tls.testing._end_point_hash import end_point_hash  # noqa: PLC0415 - optional dependency

    bindings: dict[str, bytes | None] = {"tls-server-end-point": end_point_hash(certificate.der)}
    if backend == "openssl":
        from babar_tls.testing._openssl_peer import OpenSslPeer  # noqa: PLC0415 - optional dependency

        peer = secured = OpenSslPeer(peer)
        secured.accept_tls(certificate, **options)
        connection = secured.connection
        version = connection.get_protocol_version_name()
        # This server resumes no session, so the client's Finished is the first one (RFC 5929 §3.1).
        bindings["tls-unique"] = connection.get_peer_finished()
        bindings["tls-exporter"] = connection.export_keying_material(EXPORTER_LABEL, EXPORTER_LENGTH, b"")
    else:
        peer.accept_tls(certificate, **options)
        assert peer.tls is not None  # noqa: S101 - for the type checker: `accept_tls` has established TLS
        version = peer.tls.version() or ""
        bindings["tls-unique"] = peer.tls.get_channel_binding("tls-unique")
    # TLS 1.3 does not define tls-unique (RFC 8446 §C.5), and an exporter of TLS 1.2 may not be unique (RFC 9266 §4).
    undefined = "tls-unique" if version == "TLSv1.3" else "tls-exporter"
    return ServerTls(peer, version, {name: data for name, data in bindings.items() if data and name != undefined})
