"""Call the function in `Config.password`, once at the start of a connect.

The function is called before the first host is tried, and not when a server requests the password. So a server that is
not authenticated can neither cause nor delay the call, no server waits for the source of the password, and its failure
does not cause another host to be tried. The function is not called if no method that the configuration allows needs a
password.

The result belongs to one connect. `establish` adds it to the configuration of each attempt, and removes it at the end.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from ..config.callables import discard
from ..config.enums import ChannelBinding
from ..errors import ConfigError, Error, PasswordUnavailable, at_endpoint
from ..protocol.requests import Phase

if TYPE_CHECKING:
    from ..config import Config
    from .deadline import Meter


def fetch_password(config: Config, meter: Meter) -> str | bytes | None:
    """Return the password from the function in `config.password`; None if it is not a function, or not needed.

    The function is called in this thread. The deadline cannot interrupt it.

    Raises:
        PasswordUnavailable: The function raised an exception.
        ConfigError: The function returned an awaitable, or no password.
        TimeoutError: The deadline had passed when the function returned.
    """
    if not is_needed(config):
        return None
    try:
        result = call(config)
        if isinstance(result, Awaitable):
            discard(result)
            raise ConfigError(
                "the callable in password returned an awaitable, which Session.connect cannot await",
                remedy="Use AsyncSession.connect, or set password to a callable that returns str or bytes.",
            )
        return accept(result, meter)
    except Error as error:
        name_servers(error, config)
        raise


def is_needed(config: Config) -> bool:
    """Return True if the password is a function, and a method that the configuration allows needs a password."""
    if not callable(config.password):
        return False
    methods = {"scram-sha-256"} if config.scram_client_key is None else set()
    if config.channel_binding is not ChannelBinding.REQUIRE:
        methods |= {"md5", "password"}
    return bool(methods if config.allowed_auth is None else methods & config.allowed_auth)


def call(config: Config) -> object:
    """Call the function.

    Raises:
        PasswordUnavailable: It raised an exception.
    """
    if not callable(config.password):
        raise TypeError("password is not a callable")
    try:
        return config.password()
    except MemoryError:
        raise
    except Exception as exc:
        raise unavailable(exc) from exc


def accept(result: object, meter: Meter) -> str | bytes:
    """Return the password. Check its type and the deadline, and record the time of the call.

    Raises:
        ConfigError: The result is not str or bytes.
        TimeoutError: The deadline has passed.
    """
    discard(result)  # the result of an awaitable may be a coroutine
    meter.timings[Phase.PASSWORD.value] = 0.0
    meter.mark(Phase.PASSWORD)
    meter.remaining(Phase.PASSWORD)
    if not isinstance(result, str | bytes):
        raise ConfigError(
            f"the callable in password must return str or bytes, not {type(result).__name__}",
            remedy="Return the password itself, for example the text of the token.",
        )
    return result


def unavailable(exc: Exception) -> PasswordUnavailable:
    """Return the error for an exception of the function. Its text is left out, because it may contain a secret."""
    return PasswordUnavailable(
        f"no password supplied: the callable in password raised {type(exc).__name__}",
        remedy="No server was tried. See the cause of this error (__cause__).",
    )


def name_servers(error: Error, config: Config) -> None:
    """Add the names of all servers to an error that occurred before the first was tried."""
    at_endpoint(error, " or ".join(host.describe() for host in config.targets))
