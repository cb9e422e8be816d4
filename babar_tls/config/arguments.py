"""The names of keyword arguments that are fields of `Config`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from .fields import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable

_TLS = "Use tls_mode and tls_verify, or set sslmode in the connection string."
#: Arguments of other libraries, with the remedy.
_REMEDIES = {
    **dict.fromkeys(("conninfo", "dsn", "target", "uri", "url"), "Pass the connection string as the first argument."),
    **dict.fromkeys(("ssl", "ssl_context", "sslcontext", "use_ssl"), _TLS),
    **dict.fromkeys(("ca", "cafile", "ca_file", "ssl_ca"), "Use tls_root_cert_path."),
    **dict.fromkeys(("db", "db_name"), "Use database."),
    **dict.fromkeys(("username", "role"), "Use user."),
    **dict.fromkeys(("passwd", "pass", "pwd"), "Use password."),
    "timeout": "Use connect_timeout.",
    **dict.fromkeys(("targets", "tls_parameters"), "It is derived from fields. Use replace() to copy a Config."),
}
#: The same remedies, for functions that have no connection string.
_FOR_CONFIG = {
    "Pass the connection string as the first argument": "Use Config.from_conninfo",
    "in the connection string": "in the connection string for Config.from_conninfo",
}


def check_names(function: str, names: Iterable[str]) -> None:
    """Check that all `names` are fields of `Config`.

    Args:
        function: The name of the function that was called, for the message.
        names: The names of its keyword arguments.

    Raises:
        TypeError: A name is unknown. The text says what to use in its place.
    """
    unknown = next((name for name in names if name not in DEFAULTS), None)
    if unknown is not None:
        remedy = _remedy(unknown)
        if function == "Config":
            for text, instead in _FOR_CONFIG.items():
                remedy = remedy.replace(text, instead)
        raise TypeError(f"{function}() got an unexpected keyword argument {unknown!r}. {remedy}")


def _remedy(name: str) -> str:
    from ..conninfo.keywords import KEYWORDS, OWN  # noqa: PLC0415 - only errors need it

    if name in _REMEDIES:
        return _REMEDIES[name]
    keyword = KEYWORDS.get(name)
    if keyword is not None:
        fields = [own.name for own in OWN if own.refines == name and own.replaces]
        if not fields and keyword.field is not None:
            fields = [keyword.field]
        instead = f"Use {' and '.join(fields)}, or set" if fields else "Set"
        return f"{instead} {name} in the connection string."
    near = difflib.get_close_matches(name.lower(), DEFAULTS, n=1)
    return f"Did you mean {near[0]!r}?" if near else "It is not a field of babar_tls.Config."
