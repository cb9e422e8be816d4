"""The server's ErrorResponse as one of our errors, with what to do about it."""

from __future__ import annotations

from ..errors import AuthRefused, ChannelBindingRefused, InvalidPassword, ServerError

#: SQLSTATE of a server that is starting up, shutting down or recovering.
CANNOT_CONNECT_NOW = "57P03"

_REMEDIES = {
    "28P01": "Check the user and the password. A role that does not exist gets the same answer.",
    "28000": "Check that the role exists and may log in, and which line of pg_hba.conf it meets.",
    "3D000": "Check the database's name, or create it.",
    "42501": "Grant the role CONNECT on the database.",
    "53300": "The server has no free connection: close some, use a pool, or raise max_connections.",
    CANNOT_CONNECT_NOW: "The server is starting up, shutting down or recovering: try again soon.",
}

_BINDING_REMEDY = (
    "Somebody between you and the server ends TLS and begins it anew: a proxy that you know of, or an attacker."
)


def refusal(fields: dict[str, str], *, about_binding: bool = False) -> ServerError:
    """Map an ErrorResponse received while connecting.

    Args:
        fields: Its fields by code.
        about_binding: The exchange stands where SQLSTATE 28000 means that the channel binding does not check.
    """
    code = fields.get("C", "")
    if about_binding and code == "28000":
        return ChannelBindingRefused(fields, remedy=_BINDING_REMEDY)
    remedy = _REMEDIES.get(code)
    if code == "28P01":
        return InvalidPassword(fields, remedy=remedy)
    if code.startswith("28"):
        return AuthRefused(fields, remedy=remedy)
    return ServerError(fields, remedy=remedy)
