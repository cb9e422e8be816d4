"""Faults of what a client trusts: root files, revocation lists, and pins."""

from __future__ import annotations

import ssl
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from babar_tls.doctor.causes import Cause
from babar_tls.tls import default_roots

from .fault import ALL_BACKENDS, CRL_BACKENDS, Fault
from .fault_world import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ServerCertificate

    from .fault_world import Arena, World

_NOW = datetime.now(UTC)
_DAY = timedelta(days=1)


def _with_lists(*issue: Callable[[World, ServerCertificate], bytes]) -> Callable[[Arena], str]:
    """Return a function that presents a certificate to a client with these revocation lists."""

    def arrange(arena: Arena) -> str:
        certificate = arena.world.root.issue(NAME)
        lists = arena.write("root.crl", b"".join(one(arena.world, certificate) for one in issue))
        return arena.conninfo(arena.present(certificate), sslcrl=lists)

    return arrange


def _old_list(world: World, _: ServerCertificate) -> bytes:
    return world.root.revocation_list(last_update=_NOW - 9 * _DAY, next_update=_NOW - _DAY)


def _pinned(arena: Arena) -> str:
    arena.overrides["tls_pins"] = ("sha256:" + "5a" * 32,)
    return arena.conninfo(arena.present(arena.world.good))


def _without_default_file(arena: Arena) -> str:
    arena.environ["HOME"] = arena.missing_folder()
    return arena.conninfo(arena.present(arena.world.good), sslrootcert=None)


def _no_bundle(arena: Arena) -> str:
    nothing = ssl.DefaultVerifyPaths(None, None, "", "", "", "")
    arena.monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    arena.monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    arena.monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    arena.monkeypatch.setattr(default_roots, "_DISTRIBUTION_BUNDLES", ())
    arena.monkeypatch.setitem(sys.modules, "certifi", None)
    return arena.conninfo(arena.present(arena.world.good), sslrootcert="system")


def _variable(name: str) -> Callable[[Arena], str]:
    """Return a function that sets SSL_CERT_FILE or SSL_CERT_DIR to a path that does not exist."""

    def arrange(arena: Arena) -> str:
        arena.monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        arena.monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        arena.monkeypatch.setenv(name, arena.missing_file())
        return arena.conninfo(arena.present(arena.world.good), sslrootcert="system")

    return arrange


FAULTS = [
    Fault(
        name="revoked",
        description="the server's certificate is revoked",
        arrange=_with_lists(lambda world, certificate: world.root.revocation_list([certificate])),
        cause=Cause.CERTIFICATE_REVOKED,
        stage="trust",
        advice="Do not connect to this server until it has a new certificate",
        backends=CRL_BACKENDS,
    ),
    Fault(
        name="crl_expired",
        description="the CRL has expired",
        arrange=_with_lists(_old_list),
        cause=Cause.CRL_EXPIRED,
        stage="trust",
        advice="tls_crl_path (sslcrl) or tls_crl_dir (sslcrldir) must contain a current revocation list from every "
        "CA of the chain",
        backends=CRL_BACKENDS,
    ),
    Fault(
        name="crl_of_another_issuer",
        description="the CRL is that of another CA",
        arrange=_with_lists(lambda world, _: world.other_root.revocation_list()),
        cause=Cause.CRL_MISSING,
        stage="trust",
        advice="tls_crl_path (sslcrl) or tls_crl_dir (sslcrldir) must contain a current revocation list from every "
        "CA of the chain",
        backends=CRL_BACKENDS,
    ),
    Fault(
        name="missing_crl_file",
        description="the file with the CRL does not exist",
        arrange=lambda arena: arena.conninfo(arena.present(arena.world.good), sslcrl=arena.missing_file()),
        cause=Cause.CRL_MISSING,
        stage="trust",
        advice="Provide the file, or remove tls_crl_path (sslcrl)",
        backends=CRL_BACKENDS,
    ),
    Fault(
        name="crl_with_rustls",
        description="a CRL is configured, and the backend is `rustls`, which does not check CRLs",
        arrange=_with_lists(lambda world, _: world.root.revocation_list()),
        cause=Cause.INVALID_CONFIGURATION,
        stage="configuration",
        advice="Use tls_backend='stdlib'",
        backends=("rustls",),
    ),
    Fault(
        name="pin_mismatch",
        description="the certificate is not the pinned one",
        arrange=_pinned,
        cause=Cause.CERTIFICATE_PINNED,
        stage="trust",
        advice="If the server's certificate was renewed, add its new fingerprint to tls_pins. Otherwise this is "
        "another server",
    ),
    Fault(
        name="missing_root_file",
        description="the root file does not exist",
        arrange=lambda arena: arena.conninfo(arena.present(arena.world.good), sslrootcert=arena.missing_file()),
        cause=Cause.ROOT_FILE,
        stage="trust",
        advice="Use the system's trusted roots with sslmode=verify-full sslrootcert=system, or provide the file",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="missing_default_root_file",
        description="`sslrootcert` is not set, and `~/.postgresql/root.crt` does not exist",
        arrange=_without_default_file,
        cause=Cause.ROOT_FILE,
        stage="trust",
        advice="Use the system's trusted roots with sslmode=verify-full sslrootcert=system, or provide the file",
    ),
    Fault(
        name="empty_root_file",
        description="the root file contains no certificate",
        arrange=lambda arena: arena.conninfo(
            arena.present(arena.world.good), sslrootcert=arena.write("root.crt", b"not a certificate\n")
        ),
        cause=Cause.ROOT_FILE,
        stage="trust",
        advice="It must contain certificates in PEM",
    ),
    Fault(
        name="no_bundle",
        description="no CA bundle is installed on this machine (`sslrootcert=system`)",
        arrange=_no_bundle,
        cause=Cause.NO_DEFAULT_ROOTS,
        stage="trust",
        advice="Install ca-certificates",
    ),
    Fault(
        name="ssl_cert_file",
        description="`SSL_CERT_FILE` names a file that does not exist (`sslrootcert=system`)",
        arrange=_variable("SSL_CERT_FILE"),
        cause=Cause.ROOT_ENVIRONMENT,
        stage="trust",
        advice="The environment variable SSL_CERT_FILE names it. Correct the file, or change or unset the variable",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="ssl_cert_dir",
        description="`SSL_CERT_DIR` names a directory that does not exist (`sslrootcert=system`)",
        arrange=_variable("SSL_CERT_DIR"),
        cause=Cause.ROOT_ENVIRONMENT,
        stage="trust",
        advice="The environment variable SSL_CERT_DIR names it. Change or unset the variable",
    ),
]
