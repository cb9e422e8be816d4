"""Checks of single values of a configuration. Each raises `ConfigError` for an invalid value."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..x509.idna import as_address, shown_host
from .token_uri import as_token_uri, is_token_uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum
    from types import UnionType

#: The names of fields in libpq, whose messages users search for.
_LIBPQ_NAMES = {
    "tls_negotiation": "sslnegotiation",
    "tls_min_version": "ssl_min_protocol_version",
    "tls_max_version": "ssl_max_protocol_version",
    "tls_client_cert_mode": "sslcertmode",
}

#: Values of sslmode that are not values of `tls_mode`, and those of `tls_verify`.
_SSLMODES = {"verify-ca": "ca", "verify-full": "full"}

_ALGORITHM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def is_number(value: object) -> bool:
    """Return True for an int or a float, but not for a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def has_surrogates(text: str) -> bool:
    """Return True if a text contains a surrogate, which UTF-8 cannot represent."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def check_type(name: str, value: object, types: type | UnionType, expected: str, remedy: str | None = None) -> None:
    """Check the type of a value. The error shows the type and not the value, which may be a secret."""
    if not isinstance(value, types):
        raise ConfigError(
            f"{name} must be {expected}, not {type(value).__name__}",
            remedy=remedy or f"Pass {name} as {expected.removeprefix('a ')}.",
        )


def check_bool(name: str, value: object) -> None:
    """Check that a flag is a bool. A string is refused, because even "no" has the truth value True."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {value!r}", remedy=f"Write {name}=True or {name}=False.")


def as_bytes(name: str, value: object, expected: str = "bytes") -> bytes:
    """Return the bytes of a bytes-like object. An int is refused: ``bytes(8)`` returns eight NUL bytes.

    Args:
        name: The name of the value, for the message.
        value: The object.
        expected: The types that are accepted, for the message.

    Raises:
        ConfigError: The object has another type.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise ConfigError(f"{name} must be {expected}, not {type(value).__name__}", remedy=f"Pass {name} as bytes.")


def check_address(hostaddr: object) -> None:
    """Check that `hostaddr` is None or an IP address, which may have a zone. A name would have to be resolved."""
    try:
        if hostaddr is None or (isinstance(hostaddr, str) and as_address(hostaddr) is not None):
            return
    except ConfigError:  # the zone is not valid
        pass
    text = hostaddr if isinstance(hostaddr, str) else repr(hostaddr)
    raise ConfigError(
        f'could not parse network address "{shown_host(text)}"',
        remedy="Write an IP address in hostaddr, and a name in host.",
    )


def check_file_name(name: str, text: str) -> None:
    """Check that a text is a possible file name. Surrogates may represent bytes of a file name (PEP 383)."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ConfigError(
            f"{name} contains a lone surrogate, which a file name cannot contain",
            remedy=f"Write {name} in valid Unicode.",
        ) from None


def check_not_uri(name: str, text: str) -> None:
    """Refuse a connection string in place of a name: it would be sent to the DNS or to the server, with its password.

    The value is not shown, because it may contain a password.
    """
    if re.match(r"(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?://", text, re.IGNORECASE):
        raise ConfigError(f"{name} is a connection string", remedy="Pass it to Config.from_conninfo.")


def check_text(name: str, text: str, *, surrogates: bool = False) -> None:
    """Check that the protocol can transmit a text.

    Args:
        name: The name of the value, for the message.
        text: The value.
        surrogates: Accept surrogates, which represent bytes of a file name (PEP 383).

    Raises:
        ConfigError: It is not a `str`, or contains a character that the protocol cannot transmit.
    """
    check_type(name, text, str, "a str")
    if "\0" in text:
        raise ConfigError(
            f"{name!r} contains a NUL, which the protocol cannot transmit", remedy=f"Remove it from {name}."
        )
    if not surrogates and has_surrogates(text):
        raise ConfigError(
            f"{name!r} contains a lone surrogate, which UTF-8 cannot represent",
            remedy=f"Write {name} in valid Unicode.",
        )


def as_enum(name: str, enum: type[Enum], value: object) -> Enum | None:
    """Return the enum member for a member or its value; None is accepted only for tls_max_version."""
    if isinstance(value, enum) or (value is None and name == "tls_max_version"):
        return value
    try:
        return enum(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in enum)
        remedy = f"Known values of {name}: {known}."
        if name == "tls_mode" and isinstance(value, str) and value in _SSLMODES:
            remedy = f'{value} is a value of sslmode. Use tls_mode="require" and tls_verify="{_SSLMODES[value]}".'
        raise ConfigError(f'invalid {_LIBPQ_NAMES.get(name, name)} value: "{value}"', remedy=remedy) from None


def as_settings(
    settings: Mapping[str, str] | Iterable[tuple[str, str]], parameter: str = "server_settings"
) -> tuple[tuple[str, str], ...]:
    """Return the settings as pairs of strings, sorted by name. Messages name the `parameter`."""
    remedy = f'Write names and values as str: {parameter}={{"statement_timeout": "5s"}}.'
    try:
        pairs = tuple(sorted(dict(settings).items()))
    except (TypeError, ValueError):
        raise ConfigError(f"{parameter} must be a mapping of str to str", remedy=remedy) from None
    for name, value in pairs:
        check_type(f"{parameter}[{name!r}]", name, str, "a str", remedy)
        check_type(f"{parameter}[{name!r}]", value, str, "a str", remedy)
    return pairs


def _fspath(path: object) -> object:
    """Return the text of a path object; return any other value unchanged."""
    try:
        return os.fspath(path)  # type: ignore[call-overload]  # the TypeError of another type is handled
    except TypeError:
        return path


def as_path(name: str, path: object) -> str:
    """Return a path as a string."""
    text = _fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(f"{name} must be a path, not {path!r}", remedy=f"Set {name} to a file name, or leave it out.")
    check_file_name(name, text)
    return text


def as_source(name: str, source: object) -> str | bytes | None:
    """Return a path or a PKCS #11 URI as a string, or the content of a file as `bytes`.

    It may be a private key, so no error shows it.
    """
    if source is None or (isinstance(source, bytes) and source):
        return source
    text = _fspath(source)
    if not text:
        raise ConfigError(
            f"{name} must be a path, not an empty value",
            remedy=f"Set {name} to a file name or a file's content, or leave it out.",
        )
    check_type(name, text, str, "a path, or a file's content as bytes", f"Set {name} to a file name, or to bytes.")
    if is_token_uri(text):
        return as_token_uri(name, str(text))
    if "\n" in str(text) or "-----BEGIN" in str(text):
        raise ConfigError(f"{name} must be a path", remedy=f"Pass a file's content as bytes: {name}=text.encode().")
    return as_path(name, text)


def as_names(name: str, names: object) -> tuple[str, ...]:
    """Return names of TLS algorithms, from several strings or from one string with colons or commas."""
    parts = re.split(r"[:,\s]+", names.strip()) if isinstance(names, str) else names
    listed = tuple(parts) if isinstance(parts, Iterable) else (None,)
    found = tuple(part for part in listed if part != "")
    for part in found:
        if not isinstance(part, str) or not _ALGORITHM.fullmatch(part):
            raise ConfigError(
                f"{name} must contain names of algorithms, not {part!r}",
                remedy=f"Write names such as X25519MLKEM768 or TLS_AES_256_GCM_SHA384 in {name}, not classes (HIGH).",
            )
    return tuple(dict.fromkeys(found))


def login_name() -> str:
    """Return the name of the operating system's user. As in libpq, the environment does not change it."""
    try:
        if os.name == "nt":
            return getpass.getuser()
        import pwd  # noqa: PLC0415 - POSIX only

        return pwd.getpwuid(os.geteuid()).pw_name
    except (KeyError, OSError, ImportError):
        raise ConfigError(
            "the operating system has no name for this user",
            remedy="Set the role to log in as: Config(user=…).",
        ) from None
