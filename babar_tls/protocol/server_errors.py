"""Map the server's ErrorResponse to an error, with a remedy.

SQLSTATE 28000 has about twelve causes, which only the server's text distinguishes. The texts are those of PostgreSQL 15
to 18 in English. With another ``lc_messages`` the remedy for the SQLSTATE is used.
"""

from __future__ import annotations

import re

from ..errors import AuthRefused, ChannelBindingRefused, InvalidPassword, ServerError

#: SQLSTATE of a server that is starting up, shutting down or recovering.
CANNOT_CONNECT_NOW = "57P03"

_REMEDIES = {
    "28P01": "Check the user and the password. The server sends the same error if the role does not exist or has no "
    "password, or if the password has expired (VALID UNTIL).",
    "28000": "Check the line of pg_hba.conf that matches the connection, and that the role exists and may log in.",
    "3D000": "Check the database's name, or create it.",
    "42501": "Grant the role CONNECT on the database.",
    "53300": "The server has no free connection: close some, use a pool, or raise max_connections.",
    CANNOT_CONNECT_NOW: "The server is starting up, shutting down or recovering: try again later.",
}

_POOLER_REMEDY = "Check the user and the password. See the log of the pooler or proxy for the reason."
_BINDING_REMEDY = "TLS is terminated between client and server, by a proxy or by an attacker."
_MISMATCH = (
    "The common name of the client certificate must be the role's name, or a map in pg_ident.conf (map=) must allow "
    "the role for it."
)

#: Patterns of server texts, with the remedies. The first pattern that matches is used.
_TEXTS = [
    (
        "connection requires a valid client certificate",
        "The line of pg_hba.conf requires a client certificate (cert, or clientcert=verify-ca or verify-full). Set "
        "tls_client_cert and tls_client_key (sslcert, sslkey) to a certificate of a CA that the server's ssl_ca_file "
        "contains.",
    ),
    (
        r"(?:pg_hba\.conf rejects|no pg_hba\.conf entry).*\[local\]",
        "The server has no line of type local in pg_hba.conf for this user and database, or rejects it. Add one, or "
        "connect by TCP (host=localhost).",
    ),
    (
        r"(?:pg_hba\.conf rejects|no pg_hba\.conf entry).*(?:no encryption|SSL off)",
        "The connection is not encrypted. If pg_hba.conf has a hostssl line for this host, user and database, use TLS: "
        "tls_mode=REQUIRE (sslmode=require, or verify-full). Otherwise add a line.",
    ),
    (
        r"no pg_hba\.conf entry",
        "No line of type host or hostssl in the server's pg_hba.conf matches this host, user and database. Add one, "
        "and reload the server's configuration; check the user and the database.",
    ),
    (
        r"pg_hba\.conf rejects|: host rejected",
        "A line with the method reject in the server's pg_hba.conf matches this host, user and database.",
    ),
    (r"role .* does not exist", "Create the role (CREATE ROLE … LOGIN), or connect as another user."),
    (r"role .* is not permitted to log in", "Allow it (ALTER ROLE … LOGIN), or connect as another user."),
    (
        "Peer authentication failed",
        "The operating system's user of this process must have the role's name, or a map in pg_ident.conf (map=) must "
        "allow the role for it. Connect by TCP (host=localhost) to log in with a password.",
    ),
    (
        "Ident authentication failed",
        "The ident server of this machine must report the role's name, or a map in pg_ident.conf (map=) must allow the "
        "role for it. Use the method scram-sha-256 in pg_hba.conf to log in with a password.",
    ),
    ("certificate authentication failed", _MISMATCH),
    (
        "(?:GSSAPI|SSPI|PAM|BSD|LDAP|RADIUS|OAuth bearer) authentication failed",
        "The server uses another service for authentication, which refused the user. See the server's log for the "
        "reason.",
    ),
    (
        r"unsupported frontend protocol|bad packet header: '.{8}0003",  # the second is PgBouncer's
        "The server or pooler supports only an older version of the protocol, and does not negotiate it. Set "
        "max_protocol_version=3.0, or leave it out together with min_protocol_version.",
    ),
    (
        "could not determine server certificate signature algorithm|could not find digest for NID",
        "The server's OpenSSL does not determine a hash function for channel binding with this certificate. Use a "
        "certificate that is signed with RSA or ECDSA and SHA-256, or set channel_binding=disable.",
    ),
]
_MAX_TEXT = 1000  # characters; the texts contain at most an address and two names
_KNOWN = [(re.compile(text, re.DOTALL), remedy) for text, remedy in _TEXTS]

# Poolers and proxies report a refused login with SQLSTATEs that PostgreSQL does not use for it: PgBouncer 08P01,
# Supavisor XX000, others P0002, 26000 and 58000. These codes also have other causes, so the text decides.
_POOLER_CODES = ("08", "26", "58", "P0", "XX")
_PASSWORD_REFUSED = re.compile(
    "(?!server login).*(?:(?:password|SASL|SCRAM|md5) authentication failed|(?:wrong|invalid|incorrect) password)",
    re.IGNORECASE | re.DOTALL,
)
_LOGIN_REFUSED = re.compile(
    "(?!(?:(?:FATAL|ERROR): *)?(?:(?:no such )?database|prepared statement|could not |unsupported startup))"
    ".*(?:authenticat|auth failed|credentials|login (?:failed|rejected)|bouncer config error"
    "|(?:no such|unknown) (?:user|tenant)|(?:user|role|tenant).*(?:not found|does not exist))",
    re.IGNORECASE | re.DOTALL,
)


def refusal(fields: dict[str, str], *, about_binding: bool = False, password_proven: bool = False) -> ServerError:
    """Return the error for an ErrorResponse received while connecting. Its SQLSTATE is unchanged.

    Args:
        fields: The fields by code.
        about_binding: Whether SQLSTATE 28000 means, at this point of the exchange, that the channel binding is wrong.
        password_proven: Whether SCRAM has succeeded, so that the password is not the cause.
    """
    code, text = fields.get("C", ""), fields.get("M", "")[:_MAX_TEXT]
    if about_binding and code == "28000":
        return ChannelBindingRefused(fields, remedy=_BINDING_REMEDY)
    remedy = _remedy(code, text)
    if code == "28P01":
        if password_proven:  # clientcert=verify-full, which PostgreSQL reports as a wrong password
            remedy = f"The password is correct. {_MISMATCH}"
        return InvalidPassword(fields, remedy=remedy)
    if code.startswith("28"):
        return AuthRefused(fields, remedy=remedy)
    if code[:2] in _POOLER_CODES:
        if _PASSWORD_REFUSED.match(text):
            return InvalidPassword(fields, remedy=_REMEDIES["28P01"])
        if _LOGIN_REFUSED.match(text):
            return AuthRefused(fields, remedy=_POOLER_REMEDY)
    return ServerError(fields, remedy=remedy)


def _remedy(code: str, text: str) -> str | None:
    if code in ("28000", "XX000", "0A000", "08P01"):
        for known, remedy in _KNOWN:
            if known.search(text):
                return remedy
    return _REMEDIES.get(code)
