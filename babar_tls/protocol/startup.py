"""The parameters of the StartupMessage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.validation import check_text
from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import Config

_OPTION_PREFIX = "_pq_."


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
    parameters.update(config.settings)
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
