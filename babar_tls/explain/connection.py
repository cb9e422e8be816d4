"""Descriptions and warnings for the `SecurityReport` of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.enums import TlsVerify
from ..security import MIN_ITERATIONS
from .weaknesses import ADVICE, PLAIN_TEXT, Remedy, Weakness, certificate_weakness, unbound

if TYPE_CHECKING:
    from ..security import SecurityReport


def describe_verification(security: SecurityReport) -> str:
    """Describe the verification of the server's certificate."""
    if security.verified == "full":
        return f"certificate chain and name {security.server_name} verified"
    return "certificate chain verified, name not verified" if security.verified == "ca" else "not verified"


def describe_binding(security: SecurityReport) -> str:
    """Describe the channel binding of the authentication."""
    if not security.channel_bound:
        return "not bound"
    return ", ".join(filter(None, (f"bound with {security.channel_binding_type}", security.channel_binding_hash)))


def connection_warnings(security: SecurityReport, *, local: bool) -> list[str]:
    """Return the weaknesses of a connection, each with its remedy.

    Args:
        security: The connection's report.
        local: The connection is a Unix-domain socket.
    """
    found: list[Weakness | None] = []
    if security.tls:
        found.append(certificate_weakness(TlsVerify(security.verified), bound=security.channel_bound))
        if security.auth_method.startswith("scram") and not security.channel_bound:
            found.append(Weakness(unbound("is not"), Remedy.BIND))
    elif not local:
        found.append(PLAIN_TEXT)
    texts = [with_advice(item) for item in found if item]
    return texts + authentication_warnings(security, local=local)


def with_advice(weakness: Weakness) -> str:
    """Return the text of a weakness of a connection, with its remedy."""
    return weakness.text if weakness.remedy is None else f"{weakness.text} {ADVICE[weakness.remedy]}"


def authentication_warnings(security: SecurityReport, *, local: bool) -> list[str]:
    """Return the weakness of the authentication, if any. See `connection_warnings`."""
    method, iterations = security.auth_method, security.scram_iterations
    if method == "none" and not local:
        return ["The server required no password: every client that reaches it can log in (pg_hba.conf: trust)."]
    if method == "md5":
        return ["MD5 authentication is broken: set password_encryption = 'scram-sha-256', then set the password again."]
    if method == "password":
        how = "inside TLS" if security.tls else "over the local socket" if local else "in plain text"
        return [f"The password itself was sent to the server, {how}: use scram-sha-256 in pg_hba.conf."]
    if iterations is not None and iterations < MIN_ITERATIONS:
        return [
            f"The server uses only {iterations} SCRAM iterations, which makes guesses at a stolen verifier fast: set "
            f"scram_iterations to {MIN_ITERATIONS} or more, then set the password again."
        ]
    return []
