"""Faults of channel binding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from babar_tls.doctor.causes import Cause
from babar_tls.testing import CertificateAuthority, TlsInterceptor

from .fault import ALL_BACKENDS, Fault
from .fault_world import NAME, log_in

if TYPE_CHECKING:
    from .fault_world import Arena


def _intercepted(arena: Arena) -> str:
    server = arena.world.server
    proxy = arena.enter(TlsInterceptor(server.host, server.port, arena.world.root.issue(NAME)))
    return arena.conninfo(proxy.port, channel_binding="require")


def _stripped(arena: Arena) -> str:
    server = arena.world.server
    proxy = arena.enter(TlsInterceptor(server.host, server.port, arena.world.root.issue(NAME), strip_plus=True))
    return arena.conninfo(proxy.port, channel_binding="require")


def _ed25519(arena: Arena) -> str:
    authority = CertificateAuthority("ed25519")
    port = arena.certify_server(authority.issue(NAME, key="ed25519"))
    return arena.conninfo(port, sslrootcert=arena.root_file(authority), channel_binding="require")


FAULTS = [
    Fault(
        name="tls_terminated",
        description="a load balancer with a trusted certificate terminates TLS in front of the server "
        "(`channel_binding=require`)",
        arrange=_intercepted,
        cause=Cause.BINDING_MISMATCH,
        stage="authentication",
        advice="TLS is terminated between client and server",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="plus_stripped",
        description="a proxy removes SCRAM-SHA-256-PLUS from the server's offer (`channel_binding=require`)",
        arrange=_stripped,
        cause=Cause.BINDING_NOT_OFFERED,
        stage="channel-binding",
        advice="connect to PostgreSQL directly, or remove channel_binding=require. Otherwise there may be a man in "
        "the middle",
    ),
    Fault(
        name="pooler_without_plus",
        description="PgBouncer does not offer SCRAM-SHA-256-PLUS (`channel_binding=require`)",
        arrange=lambda arena: arena.conninfo(arena.pooler().port, channel_binding="require"),
        cause=Cause.BINDING_NOT_OFFERED,
        stage="channel-binding",
        advice="A pooler or load balancer that terminates TLS cannot offer it: connect to PostgreSQL directly, or "
        "remove channel_binding=require",
    ),
    Fault(
        name="ed25519_binding",
        description="the certificate is signed with Ed25519, which channel binding does not support "
        "(`channel_binding=require`)",
        arrange=_ed25519,
        cause=Cause.BINDING_IMPOSSIBLE,
        stage="channel-binding",
        advice="Use a certificate that is signed with RSA or ECDSA",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="binding_of_another_type",
        description="the configuration requires `tls-exporter`, which the backend `stdlib` does not support",
        arrange=lambda arena: arena.conninfo(
            arena.world.server.port, channel_binding="require", channel_binding_type="tls-exporter"
        ),
        cause=Cause.BINDING_IMPOSSIBLE,
        stage="channel-binding",
        advice="Remove channel_binding_type: PostgreSQL supports only tls-server-end-point",
    ),
    Fault(
        name="md5_cannot_bind",
        description="the role's password is stored as MD5 (`channel_binding=require`)",
        arrange=log_in(user="md5_role", channel_binding="require"),
        cause=Cause.BINDING_NOT_OFFERED,
        stage="channel-binding",
        advice="Only SCRAM supports it",
    ),
    Fault(
        name="binding_of_another_type_refused",
        description="the configuration requires `tls-exporter`, which the backend supports and PostgreSQL does not",
        arrange=lambda arena: arena.conninfo(
            arena.world.server.port, channel_binding="require", channel_binding_type="tls-exporter"
        ),
        cause=Cause.BINDING_IMPOSSIBLE,
        stage="authentication",
        advice="Remove channel_binding_type: PostgreSQL supports only tls-server-end-point",
        backends=("openssl",),
    ),
]
