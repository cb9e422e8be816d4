"""Faults of a configuration, and of what proves the client: passwords and client certificates."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import TYPE_CHECKING, Any

from babar_tls.doctor.causes import Cause

from .fault import ALL_BACKENDS, Fault
from .fault_world import PASSWORD, log_in, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer, ServerCertificate

    from .fault_world import Arena, World


def _with_certificate(issue: Callable[[World], ServerCertificate]) -> Callable[[Arena], str]:
    """Return a function that presents a client certificate to the real server."""

    def arrange(arena: Arena) -> str:
        certificate = issue(arena.world)
        return arena.conninfo(
            arena.world.server.port,
            dbname="certificate",
            sslcert=arena.write("client.crt", certificate.certificate_pem),
            sslkey=arena.write("client.key", certificate.private_key_pem, 0o600),
        )

    return arrange


def _open_password_file(arena: Arena) -> str:
    path = arena.write("passwords", f"*:*:*:*:{PASSWORD}\n".encode(), 0o644)
    return arena.conninfo(arena.world.server.port, password=None, passfile=path)


def _fips(arena: Arena) -> str:
    port = arena.world.server.port
    new = hashlib.new

    def without_md5(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "md5":
            raise ValueError("[digital envelope routines] unsupported")
        return new(name, *arguments, **options)

    arena.monkeypatch.setattr(hashlib, "new", without_md5)
    return arena.conninfo(port, user="md5_role")


def _password_callable_fails(arena: Arena) -> str:
    def password() -> str:
        raise OSError(PASSWORD)

    arena.overrides["password"] = password
    return arena.conninfo(arena.world.server.port, password=None)


def _invalid_variable(arena: Arena) -> str:
    arena.environ["PGSSLMODE"] = "verify"
    return arena.conninfo(arena.world.server.port, sslmode=None)


def _unknown_backend(arena: Arena) -> str:
    arena.overrides["tls_backend"] = "secure_transport"
    return arena.conninfo(arena.world.server.port)


def _open_key(arena: Arena) -> str:
    certificate = arena.world.client
    return arena.conninfo(
        arena.world.server.port,
        dbname="certificate",
        sslcert=arena.write("client.crt", certificate.certificate_pem),
        sslkey=arena.write("client.key", certificate.private_key_pem, 0o644),
    )


def _wrong_signature(arena: Arena) -> str:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")
        _, first = peer.receive_message()
        nonce = first.rpartition(b"r=")[2]
        salt = base64.b64encode(b"0123456789abcdef")
        peer.send_message(b"R", struct.pack("!i", 11) + b"r=" + nonce + b"server,s=" + salt + b",i=4096")
        peer.receive_message()
        peer.send_message(b"R", struct.pack("!i", 12) + b"v=" + base64.b64encode(bytes(32)))
        receive_until_closed(peer)

    return arena.conninfo(arena.listen(script, tls=arena.world.good))


FAULTS = [
    Fault(
        name="unknown_keyword",
        description="the connection string has an unknown keyword",
        arrange=lambda _: f"host=localhost passwort={PASSWORD!r}",
        cause=Cause.INVALID_CONFIGURATION,
        stage="configuration",
        advice='Did you mean "password"?',
    ),
    Fault(
        name="invalid_variable",
        description="an environment variable has an invalid value (`PGSSLMODE`)",
        arrange=_invalid_variable,
        cause=Cause.INVALID_CONFIGURATION,
        stage="configuration",
        advice="It comes from environment variable PGSSLMODE",
    ),
    Fault(
        name="missing_service",
        description="the service is not in a service file (`service`)",
        arrange=lambda _: "service=billing",
        cause=Cause.INVALID_CONFIGURATION,
        stage="configuration",
        advice="service",
    ),
    Fault(
        name="unknown_backend",
        description="the TLS backend is not installed",
        arrange=_unknown_backend,
        cause=Cause.BACKEND_MISSING,
        stage="configuration",
        advice="Known backends: stdlib … Install the package of any other backend",
    ),
    Fault(
        name="wrong_password",
        description="the password is wrong",
        arrange=log_in(password="a wrong secret of ours"),
        cause=Cause.WRONG_PASSWORD,
        stage="authentication",
        advice="Check the user and the password",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="no_password",
        description="no password is configured",
        arrange=log_in(password=None),
        cause=Cause.PASSWORD_UNAVAILABLE,
        stage="authentication",
        advice="The server requires a password. Use PGPASSWORD or ~/.pgpass",
    ),
    Fault(
        name="open_password_file",
        description="other users can read the password file, which is therefore ignored",
        arrange=_open_password_file,
        cause=Cause.PASSWORD_UNAVAILABLE,
        stage="authentication",
        advice="The password file is not used, because other users have access to it: chmod 600",
    ),
    Fault(
        name="password_callable",
        description="the callable that returns the password fails",
        arrange=_password_callable_fails,
        cause=Cause.PASSWORD_UNAVAILABLE,
        stage="authentication",
        advice="Correct the callable in password",
    ),
    Fault(
        name="wrong_server_signature",
        description="the server does not know the password's verifier (its SCRAM signature is wrong)",
        arrange=_wrong_signature,
        cause=Cause.SERVER_NOT_PROVEN,
        stage="authentication",
        advice="The server did not prove that it has the password's verifier. Do not trust it",
    ),
    Fault(
        name="client_certificate_required",
        description="the server requires a client certificate, and none is configured",
        arrange=log_in(dbname="certificate"),
        cause=Cause.CLIENT_CERTIFICATE_REQUIRED,
        stage="authentication-offer",
        advice="Set tls_client_cert and tls_client_key (sslcert, sslkey) to a certificate of a CA that the server's "
        "ssl_ca_file contains",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="client_certificate_not_configured",
        description="the configuration requires a client certificate and has none (`sslcertmode=require`)",
        arrange=log_in(sslcertmode="require"),
        cause=Cause.INVALID_CONFIGURATION,
        stage="authentication",
        advice="Set tls_client_cert (sslcert), or remove sslcertmode=require",
    ),
    Fault(
        name="client_certificate_rejected",
        description="the server does not trust the CA of the client certificate",
        arrange=_with_certificate(lambda world: world.other_root.issue(common_name="app", san=False, usage="client")),
        cause=Cause.CLIENT_CERTIFICATE_REJECTED,
        stage="authentication-offer",
        advice="add the CA certificate to the server's ssl_ca_file, or use a certificate from a CA in that file",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="client_certificate_of_another_role",
        description="the client certificate is for another role",
        arrange=_with_certificate(
            lambda world: world.client_root.issue(common_name="another", san=False, usage="client")
        ),
        cause=Cause.CLIENT_CERTIFICATE_REJECTED,
        stage="authentication-offer",
        advice="The common name of the client certificate must be the role's name, or a map in pg_ident.conf (map=) "
        "must allow the role for it",
    ),
    Fault(
        name="open_client_key",
        description="other users can read the key of the client certificate",
        arrange=_open_key,
        cause=Cause.INVALID_CONFIGURATION,
        stage="configuration",
        advice="chmod 600",
    ),
    Fault(
        name="client_certificate_revoked",
        description="the client certificate is revoked",
        arrange=_with_certificate(lambda world: world.revoked_client),
        cause=Cause.CLIENT_CERTIFICATE_REVOKED,
        stage="authentication-offer",
        advice="Use a new client certificate",
        backends=ALL_BACKENDS,
    ),
    Fault(
        name="md5_with_fips",
        description="the server requests MD5, and this Python is in FIPS mode",
        arrange=_fips,
        cause=Cause.MD5_FIPS,
        stage="authentication",
        advice="Set the role's password again with password_encryption=scram-sha-256",
    ),
    Fault(
        name="cleartext_unverified",
        description="the server requests the password in clear text, and is not verified (`sslmode=require`)",
        arrange=log_in(user="cleartext_role", sslmode="require", sslrootcert=None),
        cause=Cause.METHOD_REFUSED,
        stage="authentication-offer",
        advice="Verify the server (sslmode=verify-full), or allow it explicitly with require_auth=password",
    ),
    Fault(
        name="method_not_allowed",
        description="the server requests MD5, and the configuration does not allow it (`require_auth`)",
        arrange=log_in(user="md5_role", require_auth="scram-sha-256"),
        cause=Cause.METHOD_REFUSED,
        stage="authentication-offer",
        advice="Change the role's line in pg_hba.conf, or require_auth",
    ),
]
