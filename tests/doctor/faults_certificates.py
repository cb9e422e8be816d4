"""Faults of certificates: chains and names."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from babar_tls.doctor.causes import Cause
from babar_tls.testing import CertificateAuthority

from .fault import ALL_BACKENDS, Fault
from .fault_world import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ServerCertificate

    from .fault_world import Arena, World

_NOW = datetime.now(UTC)
_DAY = timedelta(days=1)
_PAST: dict[str, Any] = {"not_before": _NOW - 9 * _DAY, "not_after": _NOW - _DAY}
_FUTURE: dict[str, Any] = {"not_before": _NOW + _DAY, "not_after": _NOW + 90 * _DAY}


def _presented(issue: Callable[[World], ServerCertificate], **parameters: str) -> Callable[[Arena], str]:
    """Return a function that presents a certificate to a client with these parameters."""
    return lambda arena: arena.conninfo(arena.present(issue(arena.world)), **parameters)


def _alone(certificate: ServerCertificate) -> ServerCertificate:
    """Return the certificate without its intermediates."""
    end = b"-----END CERTIFICATE-----\n"
    return dataclasses.replace(certificate, certificate_pem=certificate.certificate_pem.partition(end)[0] + end)


def _expired_root(arena: Arena) -> str:
    expired = CertificateAuthority(common_name="faults expired root", **_PAST)
    return arena.conninfo(arena.present(expired.issue(NAME)), sslrootcert=arena.root_file(expired))


def _tunnel(arena: Arena) -> str:
    certificate = arena.world.root.issue(NAME)
    return arena.conninfo(arena.present(certificate), host="127.0.0.1", hostaddr=None)


def _other_organisation(arena: Arena) -> str:
    """Trust only a CA of another organisation."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Another")])
    trusted = arena.world.root.issue(subject=subject, self_signed=True)
    root_file = arena.write("another.crt", trusted.certificate_pem)
    return arena.conninfo(arena.present(arena.world.good), sslrootcert=root_file)


def _with_root(world: World) -> ServerCertificate:
    certificate = world.other_root.issue(NAME)
    chain = certificate.certificate_pem + world.other_root.certificate_pem
    return dataclasses.replace(certificate, certificate_pem=chain)


def _expired_anchor(arena: Arena) -> str:
    certificate = arena.world.root.issue(NAME, self_signed=True, **_PAST)
    return arena.conninfo(arena.present(certificate), sslrootcert=arena.write("own.crt", certificate.root_pem))


def _renewed_root(arena: Arena) -> str:
    """Trust the old certificate of a CA that has a new key and the same name."""
    old, new = (CertificateAuthority(common_name="faults renewed root") for _ in range(2))
    return arena.conninfo(arena.present(new.issue(NAME)), sslrootcert=arena.root_file(old))


def _expires_soon(arena: Arena) -> str:
    return arena.conninfo(arena.certify_server(arena.world.root.issue(NAME, not_after=_NOW + 3 * _DAY)))


def _unverified(arena: Arena) -> str:
    return arena.conninfo(arena.world.server.port, sslmode="require", sslrootcert=None)


FAULTS = [
    Fault(
        name="leaf_expired",
        description="the server's certificate has expired",
        arrange=_presented(lambda world: world.root.issue(NAME, **_PAST)),
        cause=Cause.LEAF_EXPIRED,
        stage="trust",
        advice="renew it, and reload the server. If it should be valid, check this machine's clock",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="intermediate_expired",
        description="an intermediate certificate has expired",
        arrange=_presented(lambda world: world.root.intermediate(**_PAST).issue(NAME)),
        cause=Cause.INTERMEDIATE_EXPIRED,
        stage="trust",
        advice="replace it in the file of the server's certificate (ssl_cert_file)",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="root_expired",
        description="the CA certificate that the client trusts has expired",
        arrange=_expired_root,
        cause=Cause.ROOT_EXPIRED,
        stage="trust",
        advice="Replace it in … by the current certificate of this CA",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="not_yet_valid",
        description="the clock of the client is slow: the server's certificate is not valid yet",
        arrange=_presented(lambda world: world.root.issue(NAME, **_FUTURE)),
        cause=Cause.NOT_YET_VALID,
        stage="trust",
        advice="Check this machine's clock",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="intermediate_missing",
        description="the server does not send its intermediate certificate",
        arrange=_presented(lambda world: _alone(world.intermediate.issue(NAME))),
        cause=Cause.INTERMEDIATE_MISSING,
        stage="trust",
        advice="append them to the file of its certificate (ssl_cert_file), and reload it",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="unknown_ca",
        description="the client does not trust the CA of the server's certificate",
        arrange=_other_organisation,
        cause=Cause.UNKNOWN_CA,
        stage="trust",
        advice="Set sslrootcert to the certificate of this CA",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="unknown_ca_of_the_organisation",
        description="the client does not trust the CA of the server's certificate, and trusts another CA of the same "
        "organisation",
        # Without the certificate of the issuer, an intermediate of the trusted CA is more likely than another root.
        arrange=_presented(lambda world: world.other_root.issue(NAME)),
        cause=Cause.INTERMEDIATE_MISSING,
        stage="trust",
        advice="Otherwise the CA is not trusted: set sslrootcert",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="unknown_root",
        description="the client does not trust the root of the chain, whose intermediate certificate the server sends",
        arrange=_presented(lambda world: world.other_root.intermediate().issue(NAME)),
        cause=Cause.UNKNOWN_CA,
        stage="trust",
        advice="Set sslrootcert to the certificate of this CA",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="root_sent",
        description="the client does not trust the root that the server sends",
        arrange=_presented(_with_root),
        cause=Cause.UNKNOWN_CA,
        stage="trust",
        advice="If it is the right CA, set sslrootcert to its certificate",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="renewed_root",
        description="the CA has a new key and the same name, and the client trusts the old one",
        arrange=_renewed_root,
        cause=Cause.UNKNOWN_CA,
        stage="trust",
        advice="sslrootcert",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="own_certificate_expired",
        description="the self-signed certificate that the client trusts has expired",
        arrange=_expired_anchor,
        cause=Cause.LEAF_EXPIRED,
        stage="trust",
        advice="renew it",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="self_signed",
        description="the server's certificate is self-signed, and the client does not trust it",
        arrange=_presented(lambda world: world.root.issue(NAME, self_signed=True)),
        cause=Cause.SELF_SIGNED,
        stage="trust",
        advice="If this is the right server, set sslrootcert to its certificate",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="client_usage",
        description="the server's certificate is for clients",
        arrange=_presented(lambda world: world.root.issue(NAME, usage="client")),
        cause=Cause.CERTIFICATE_INVALID,
        stage="trust",
        advice="The certificate is not for TLS servers: its extended key usage must allow server authentication",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="weak_key",
        description="the server's certificate has a key that is too short",
        arrange=_presented(lambda world: world.root.issue(NAME, key="rsa1024")),
        cause=Cause.CERTIFICATE_INVALID,
        stage="trust",
        advice="The server's certificate, or a CA certificate of the chain, uses a key or an algorithm that is too "
        "weak",
    ),
    Fault(
        name="tunnel",
        description="the client connects to 127.0.0.1 through a tunnel, and the certificate is for db.example.com",
        arrange=_tunnel,
        cause=Cause.WRONG_NAME,
        stage="hostname",
        advice="If this is a tunnel to db.example.com, or its address, set tls_server_name=db.example.com",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="wrong_name",
        description="the certificate is for another name",
        arrange=_presented(lambda world: world.root.issue("other.example.com")),
        cause=Cause.WRONG_NAME,
        stage="hostname",
        advice="Connect with host=other.example.com … or issue a certificate for db.example.com",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="common_name_only",
        description="the certificate has only a common name, and the backend is `rustls`",
        arrange=_presented(lambda world: world.root.issue(NAME, san=False)),
        cause=Cause.COMMON_NAME_ONLY,
        stage="hostname",
        advice="Issue a certificate with a subjectAltName. Until then, tls_backend=stdlib compares the common name",
        backends=("rustls",),
    ),
    Fault(
        name="expires_soon",
        description="the server's certificate expires in three days",
        arrange=_expires_soon,
        cause=Cause.EXPIRES_SOON,
        stage="chain",
        advice="Renew the certificate, and reload the server",
        is_fault=False,
    ),
    Fault(
        name="weak_configuration",
        description="the configuration accepts a server that requests no authentication",
        arrange=lambda arena: arena.conninfo(arena.world.server.port),
        cause=Cause.WEAK_CONFIGURATION,
        stage="configuration",
        advice="Use require_auth=scram-sha-256",
        is_fault=False,
    ),
    Fault(
        name="not_verified",
        description="the configuration does not verify the server (`sslmode=require`)",
        arrange=_unverified,
        cause=Cause.NOT_VERIFIED,
        stage="configuration",
        advice="Use sslmode=verify-full with sslrootcert=system",
        is_fault=False,
    ),
]
