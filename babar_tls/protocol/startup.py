"""The StartupMessage, and the server's NegotiateProtocolVersion."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ..config.validation import check_text
from ..diagnostics.escaping import visible
from ..errors import ConfigError, ProtocolError
from . import messages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import Config

_OPTION_PREFIX = "_pq_."
_LONGEST_NAME = 60  # characters of an option's name in an error message
_PROTOCOL_3_1 = 3 << 16 | 1
_HEADER = struct.Struct("!ii")
_REMEDY = "Check which server listens on this port, and whether a proxy changes the StartupMessage."


class Negotiated(NamedTuple):
    """The result of the negotiation of the protocol.

    Attributes:
        version: The version of the protocol.
        unsupported: The names of the requested protocol options that the server does not support.
    """

    version: int
    unsupported: tuple[str, ...] = ()


class Startup:
    """The StartupMessage of a configuration, and the versions that are acceptable.

    Args:
        config: The configuration.
        supplied: Startup parameters, which replace those of the configuration (see `startup_parameters`).

    Attributes:
        message: The StartupMessage.
        requested: The version of the protocol that it requests.

    Raises:
        ConfigError: `supplied` is invalid, or contradicts the configuration.
    """

    def __init__(self, config: Config, supplied: Iterable[tuple[str, str]] = ()) -> None:
        parameters = startup_parameters(config, supplied)
        self.requested = config.max_protocol_version.number
        self.message = messages.startup(parameters, self.requested)
        self._minimum = config.min_protocol_version.number
        self._names = dict(parameters)

    def negotiate(self, payload: bytes) -> Negotiated:
        """Parse a NegotiateProtocolVersion, with the checks and texts of libpq's pqGetNegotiateProtocolVersion3.

        Raises:
            ProtocolError: The message is invalid, or the server supports only versions that are too old.
        """
        if len(payload) < _HEADER.size:
            raise _invalid("message too short")
        version, count = _HEADER.unpack_from(payload)
        if version > self.requested:
            raise _invalid("server requested downgrade to a higher-numbered version")
        if version < messages.PROTOCOL_3_0:
            raise _invalid("server requested downgrade to pre-3.0 protocol version")
        if version == _PROTOCOL_3_1:
            raise _invalid("server requested downgrade to non-existent 3.1 protocol version")
        if count < 0:
            raise _invalid("server reported negative number of unsupported parameters")
        if count == 0 and version == self.requested:
            raise _invalid("server negotiated but asks for no changes")
        if version < self._minimum:
            raise ProtocolError(
                f"server only supports protocol version {version_text(version)}, "
                f'but "min_protocol_version" was set to {version_text(self._minimum)}',
                remedy="Set min_protocol_version=3.0. Protocol version 3.2 needs PostgreSQL 18 or later, and a pooler "
                "that supports it.",
            )
        return Negotiated(version, self._unsupported(payload[_HEADER.size :], count))

    def _unsupported(self, names: bytes, count: int) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for _ in range(count):
            raw, terminator, names = names.partition(b"\0")
            if not terminator:
                raise _invalid("message too short")
            name = messages.text(raw)
            if not name.startswith(_OPTION_PREFIX):
                shown = visible(name, limit=_LONGEST_NAME)
                raise _invalid(f'server reported unsupported parameter name without a "_pq_." prefix ("{shown}")')
            if name not in self._names or name in found:
                shown = visible(name, limit=_LONGEST_NAME)
                raise _invalid(f'server reported an unsupported parameter that was not requested ("{shown}")')
            found[name] = None
        if names:
            raise _invalid(None)
        return tuple(found)


def version_text(version: int) -> str:
    """Return a version of the protocol in the form ``3.2``."""
    return f"{version >> 16}.{version & 0xFFFF}"


def _invalid(problem: str | None) -> ProtocolError:
    text = "received invalid protocol negotiation message"
    return ProtocolError(text if problem is None else f"{text}: {problem}", remedy=_REMEDY)


def startup_parameters(config: Config, startup: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """Return the parameters of the StartupMessage; text is UTF-8 in both directions.

    Args:
        config: The configuration.
        startup: Parameters that replace those of the configuration: a driver or a proxy received them from its client.
            The last value of a name is used, as in PostgreSQL. Names are compared like names of settings, which are
            case-insensitive; names of protocol options (``_pq_.``) are case-sensitive.

    Raises:
        ConfigError: A name or a value of `startup` cannot be transmitted, or it has another user or database than
            `config`.
    """
    parameters = {"client_encoding": "UTF8"}
    for name in ("user", "database", "application_name", "options"):
        value = getattr(config, name)
        if value is not None:
            parameters[name] = value
    parameters.update(config.server_settings)
    if not startup:
        return list(parameters.items())
    # A later setting replaces an earlier one of the same name in another case: the server would use the later one.
    merged = {_key(name): (name, value) for name, value in parameters.items()}
    identity = {"user": config.user, "database": config.database or config.user}
    for name, value in startup:
        check_text("the name of a startup parameter", name)
        check_text(name, value)
        key = _key(name)
        if not name:
            raise ConfigError("a startup parameter has no name", remedy="Remove the parameter with the empty name.")
        if key not in identity:
            merged[key] = (name, value)
        elif value != identity[key]:
            raise ConfigError(
                f"the startup parameter {name!r} contradicts the configuration",
                remedy=f"Leave it out, or set Config({key}=…) to the same value.",
            )
    return list(merged.values())


def _key(name: str) -> str:
    """Return the name with which PostgreSQL finds a parameter: only ASCII letters are folded."""
    if name.startswith(_OPTION_PREFIX):
        return name
    return name.encode().lower().decode()
