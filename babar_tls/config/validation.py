"""Checks of single values that a configuration is made of; each raises `ConfigError` for what will not do."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..x509.idna import as_address, shown_host

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum

#: What libpq calls a field, for messages that people look for.
_LIBPQ_NAMES = {
    "tls_negotiation": "sslnegotiation",
    "tls_min_version": "ssl_min_protocol_version",
    "tls_max_version": "ssl_max_protocol_version",
    "tls_client_cert_mode": "sslcertmode",
}

_ALGORITHM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def is_number(value: object) -> bool:
    """Is it a number that can be compared? Truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def has_surrogates(text: str) -> bool:
    """Does it contain what UTF-8 cannot carry?"""
    return any("\ud800" <= char <= "\udfff" for char in text)


def check_bool(name: str, value: object) -> None:
    """It is `True` or `False`: a string that says "no" would count as true."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {value!r}", remedy=f"Write {name}=True or {name}=False.")


def as_bytes(name: str, value: object, expected: str = "bytes") -> bytes:
    """Return the bytes of a bytes-like object. `bytes(8)` would be eight zero bytes, which is never meant.

    Args:
        name: What it is, for the message.
        value: The object.
        expected: The types that are accepted, for the message.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ConfigError(f"{name} must be {expected}, not {type(value).__name__}", remedy=f"Pass {name} as bytes.")
    return bytes(value)


def check_address(hostaddr: object) -> None:
    """It is an IP address, perhaps with a zone, or nothing: `hostaddr` is there so that no name is looked up."""
    if hostaddr is None:
        return
    text = hostaddr if isinstance(hostaddr, str) else repr(hostaddr)
    try:
        is_address = isinstance(hostaddr, str) and as_address(text) is not None
    except ConfigError:
        is_address = False
    if not is_address:
        raise ConfigError(
            f'could not parse network address "{shown_host(text)}"',
            remedy="Write an IP address in hostaddr, and a name in host.",
        )


def check_file_name(name: str, text: str) -> None:
    """The file system can have such a name. Surrogates may stand for bytes there (PEP 383)."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ConfigError(
            f"{name} contains a lone surrogate, which no file name can have", remedy=f"Write {name} in valid Unicode."
        ) from None


def check_not_uri(name: str, text: str) -> None:
    """Refuse a connection string in place of one name: it would be sent to the DNS or to the server, password and all.

    The value is not shown, because it may contain a password.
    """
    if re.match(r"(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?://", text, re.IGNORECASE):
        raise ConfigError(f"{name} is a connection string", remedy="Pass it to Config.from_conninfo.")


def check_text(name: str, text: object, *, surrogates: bool = False) -> None:
    """It is a `str` that the protocol can carry; `surrogates` may stand for a file name's bytes (PEP 383)."""
    if not isinstance(text, str):
        raise ConfigError(f"{name} must be a str, not {type(text).__name__}", remedy=f"Pass {name} as str.")
    if "\0" in text:
        raise ConfigError(
            f"{name!r} contains a zero byte, which the protocol cannot carry", remedy=f"Remove it from {name}."
        )
    if not surrogates and has_surrogates(text):
        raise ConfigError(
            f"{name!r} contains a lone surrogate, which UTF-8 cannot carry", remedy=f"Write {name} in valid Unicode."
        )


def as_enum(name: str, enum: type[Enum], value: object) -> Enum | None:
    """A member of the enum, given as such or by its value; `None` is an answer for tls_max_version alone."""
    if isinstance(value, enum) or (value is None and name == "tls_max_version"):
        return value
    try:
        return enum(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in enum)
        raise ConfigError(
            f'invalid {_LIBPQ_NAMES.get(name, name)} value: "{value}"', remedy=f"Known values of {name}: {known}."
        ) from None


def as_settings(settings: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Pairs of strings, sorted by name."""
    try:
        pairs = tuple(sorted(dict(settings).items()))
    except (TypeError, ValueError):
        raise ConfigError(
            "server_settings must be a mapping of str to str",
            remedy='Write server_settings={"statement_timeout": "5s"}.',
        ) from None
    for name, value in pairs:
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigError(
                f"server_settings[{name!r}] must be a str, not {type(value).__name__}",
                remedy='Write names and values as str: server_settings={"statement_timeout": "5s"}.',
            )
    return pairs


def _fspath(path: object) -> object:
    """Return the text of a path object, and every other value as it is."""
    try:
        return os.fspath(path)  # type: ignore[call-overload]  # that it may be something else is what is asked
    except TypeError:
        return path


def as_path(name: str, path: object) -> str:
    """A path as a string."""
    text = _fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(f"{name} must be a path, not {path!r}", remedy=f"Set {name} to a file name, or leave it out.")
    check_file_name(name, text)
    return text


def as_source(name: str, source: object) -> str | bytes | None:
    """A path as a string, or a file's content as `bytes`. What it is not is not shown: it may be a key."""
    if source is None or (isinstance(source, bytes) and source):
        return source
    text = _fspath(source)
    if not text:
        raise ConfigError(
            f"{name} must be a path, and is empty",
            remedy=f"Set {name} to a file name or a file's content, or leave it out.",
        )
    if not isinstance(text, str):
        raise ConfigError(
            f"{name} must be a path, or a file's content as bytes, not {type(source).__name__}",
            remedy=f"Set {name} to a file name, or to bytes.",
        )
    if "\n" in text or "-----BEGIN" in text:
        raise ConfigError(f"{name} must be a path", remedy=f"Pass a file's content as bytes: {name}=text.encode().")
    return as_path(name, text)


def as_names(name: str, names: object) -> tuple[str, ...]:
    """Names of TLS's algorithms: a string with colons or commas between them, or several strings."""
    parts = re.split(r"[:,\s]+", names.strip()) if isinstance(names, str) else names
    listed = tuple(parts) if isinstance(parts, Iterable) else (None,)
    found = tuple(part for part in listed if part != "")
    for part in found:
        if not isinstance(part, str) or not _ALGORITHM.fullmatch(part):
            raise ConfigError(
                f"{name} must be names of algorithms, and {part!r} is none",
                remedy=f"Name each one in {name} (X25519MLKEM768, TLS_AES_256_GCM_SHA384); not classes (HIGH).",
            )
    return tuple(dict.fromkeys(found))


def login_name() -> str:
    """The operating system's name for whoever runs this; like libpq, not what the environment says it is."""
    try:
        if os.name == "nt":
            return getpass.getuser()
        import pwd  # noqa: PLC0415 - POSIX only

        return pwd.getpwuid(os.geteuid()).pw_name
    except (KeyError, OSError, ImportError):
        raise ConfigError(
            "the operating system has no name for this user", remedy="Say which role to log in as: Config(user=…)."
        ) from None
