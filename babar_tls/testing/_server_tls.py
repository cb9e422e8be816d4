"""The server's end of a TLS connection, and what it can bind to it.

The rules are written down again, from the RFCs and for the server's end, here and in `_end_point`. They are not taken
from `babar_tls.protocol.channel_binding`, because a mistake that both ends shared would show nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing.certificates import ServerCertificate
    from babar_tls.testing.peers import ScriptedPeer


EXPORTER_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 §2, with an empty context
EXPORTER_LENGTH = 32


@dataclass(frozen=True)
class ServerTls:
    """TLS that is up.

    Attributes:
        peer: To talk through.
        version: ``TLSv1.2`` or ``TLSv1.3``.
        bindings: Binding type to data, of the types that this connection has and the engine can tell.
    """

    peer: ScriptedPeer
    version: str
    bindings: dict[str, bytes] = field(repr=False)


def accept_with_stdlib(peer: ScriptedPeer, certificate: ServerCertificate, **options: Any) -> ServerTls:
    """TLS by `ssl`, which has no exporter.

    Args:
        peer: The connection, as it was accepted.
        certificate: What to present.
        options: Those of `ScriptedPeer.start_tls`.
    """
    peer.accept_tls(certificate, **options)
    tls = peer.tls
    assert tls is not None  # noqa: S101 - for the type checker: this is what was just done
    # It picks the message that came first: the client's, or where a session was resumed the server's.
    return _described(
        peer, certificate, tls.version() or "", finished=lambda: tls.get_channel_binding("tls-unique"), export=None
    )


def accept_with_openssl(peer: ScriptedPeer, certificate: ServerCertificate, **options: Any) -> ServerTls:
    """TLS by pyOpenSSL, which has all that there is to bind.

    Args:
        peer: The connection, as it was accepted.
        certificate: What to present.
        options: `minimum_version` and `maximum_version`, as for `ScriptedPeer.start_tls`.

    Raises:
        ImportError: pyOpenSSL is not installed.
    """
    from babar_tls.testing._openssl_peer import OpenSslPeer  # noqa: PLC0415 - optional dependency

    secured = OpenSslPeer(peer)
    secured.accept_tls(certificate, **options)
    connection = secured.connection
    # Nothing is resumed here, so the client's Finished is the first (RFC 5929 §3.1).
    return _described(
        secured,
        certificate,
        connection.get_protocol_version_name(),
        finished=connection.get_peer_finished,
        export=lambda: connection.export_keying_material(EXPORTER_LABEL, EXPORTER_LENGTH, b""),
    )


def _described(
    peer: ScriptedPeer,
    certificate: ServerCertificate,
    version: str,
    *,
    finished: Callable[[], bytes | None],
    export: Callable[[], bytes] | None,
) -> ServerTls:
    from babar_tls.testing._end_point import end_point_hash  # noqa: PLC0415 - optional dependency

    bindings = {}
    end_point = end_point_hash(certificate.der)
    if end_point is not None:  # its signature has a hash function (RFC 5929 §4.1)
        bindings["tls-server-end-point"] = end_point
    if version == "TLSv1.3":
        if export is not None:
            bindings["tls-exporter"] = export()
    else:  # RFC 8446 §C.5: TLS 1.3 has none. An exporter of TLS 1.2 is not for sure unique (RFC 9266 §4).
        message = finished()
        if message:
            bindings["tls-unique"] = message
    return ServerTls(peer, version, bindings)
