"""The configuration of a driver's connection: the arguments of the driver, added to a `Config`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._session_base import as_config
from ..config.validation import as_settings
from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..config import Config


#: Parameters for which None means in the drivers that they are not given.
_NONE_IS_DEFAULT = {"host", "port", "user", "database", "password", "passfile", "target_session_attrs"}


def driver_config(
    target: str | Config, overrides: Mapping[str, Any], replaced: Mapping[str, str], function: str = "connect"
) -> Config:
    """Return the configuration for the arguments of a driver's `connect` function.

    Args:
        target: A `Config`, or a libpq URI or keyword string.
        overrides: Fields of `Config`. As in the drivers, None has no effect for those that the drivers have too.
        replaced: Parameters of the driver that cannot be honoured, with the parameter to use.
        function: The name of the function, for the message.

    Raises:
        TypeError: An override is not supported.
        ConfigError: The configuration is invalid.
    """
    given = {
        name: value
        for name, value in overrides.items()
        if value is not None or not (name in _NONE_IS_DEFAULT or name in replaced)
    }
    for name, remedy in replaced.items():
        if name in given:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}. {remedy}")
    return as_config(target, given, function)


def with_settings(
    config: Config,
    settings: Mapping[str, str] | Iterable[tuple[str, str]],
    driver: str,
    parameter: str = "server_settings",
) -> Config:
    """Return the configuration with the startup parameters that were given to a driver. They take precedence.

    Args:
        config: The configuration.
        settings: The startup parameters.
        driver: The name of the driver, for the message.
        parameter: The name of its parameter for them, for the message.

    Raises:
        ConfigError: A parameter is not supported, or `client_encoding` is not UTF-8.
    """
    if not settings:
        return config
    settings = dict(as_settings(settings, parameter))
    fields: dict[str, Any] = {name: settings[name] for name in ("application_name", "options") if name in settings}
    others = {name: value for name, value in settings.items() if name not in fields}
    encoding = others.pop("client_encoding", "utf8")
    if encoding.lower().replace("-", "").replace("_", "") not in ("utf8", "unicode"):
        raise ConfigError(
            f"a connection with {driver} starts with the client_encoding UTF8, not {encoding}",
            remedy="Remove client_encoding from the startup parameters.",
        )
    return config.replace(**fields, server_settings={**dict(config.server_settings), **others})
