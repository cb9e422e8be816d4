"""A `SecurityReport` in plain words, and what in it is weak."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..security import SecurityReport


_LEAST_ITERATIONS = 4096  # RFC 7677 §4


def verification(security: SecurityReport) -> str:
    """What is proven of the server's certificate."""
    if security.verified == "full":
        return f"certificate chain and name {security.server_name} verified"
    if security.verified == "ca":
        return "certificate chain verified, its name not"
    return "not verified"


def binding(security: SecurityReport) -> str:
    """Whether, and by what, authentication is bound to the TLS channel."""
    if not security.channel_bound:
        return "not bound"
    used_hash = f", {security.channel_binding_hash}" if security.channel_binding_hash else ""
    return f"bound with {security.channel_binding_type}{used_hash}"


def warnings(security: SecurityReport, *, local: bool) -> list[str]:
    """What in this connection is weak, in plain words; empty if nothing is.

    Args:
        security: The connection's report.
        local: It is a Unix-domain socket, which nobody else can listen to.
    """
    found = [] if local else _about_tls(security)
    return found + _about_authentication(security, local=local)


def _about_tls(security: SecurityReport) -> list[str]:
    if not security.tls:
        return ["Nothing is encrypted: anybody on the way can read and change everything. Use sslmode=verify-full."]
    if security.verified == "none":
        if security.channel_bound:
            return ["The certificate was not verified: channel binding alone tells the server from an impostor."]
        return ["The certificate was not verified: an impostor in the middle would not be noticed."]
    if security.verified == "ca":
        return ["The certificate's name was not verified: any certificate of that authority would have done."]
    return []


def _about_authentication(security: SecurityReport, *, local: bool) -> list[str]:
    method = security.auth_method
    if method == "none":
        return [] if local else ["The server asked for no password: whoever reaches it gets in (pg_hba.conf: trust)."]
    if method == "md5":
        return ["MD5 authentication is broken: set password_encryption = 'scram-sha-256', then the password anew."]
    if method == "password":
        how = "inside TLS" if security.tls else "as it is" if local else "in the clear, for everybody to read"
        return [f"The password itself was sent to the server, {how}: use scram-sha-256 in pg_hba.conf."]
    found = []
    if security.tls and not security.channel_bound:
        found.append(
            "Authentication is not bound to the TLS channel: whoever holds a certificate that you accept can stand in "
            "the middle. Use channel_binding=require."
        )
    if security.scram_iterations is not None and security.scram_iterations < _LEAST_ITERATIONS:
        found.append(
            f"Only {security.scram_iterations} SCRAM iterations: a stolen verifier is cheap to attack. "
            f"Use {_LEAST_ITERATIONS} or more (scram_iterations)."
        )
    return found
