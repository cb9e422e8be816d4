"""Errors that are instances of a class of babar-tls and of one of the driver, so that `except` clauses keep working."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..errors import Error, ServerError

#: The combined classes. The driver has a limited number of classes, so this dictionary is bounded.
_known: dict[tuple[type[Error], type[Exception]], type[Error]] = {}


def server_fields(error: ServerError) -> dict[str, str]:
    """Return the fields of the server's message, by their codes, as drivers represent them."""
    fields = {"S": error.severity, "V": error.severity, "C": error.code, "M": error.message}
    return fields | {code: text for code, text in (("D", error.detail), ("H", error.hint)) if text is not None}


def add_driver_class(error: Error, driver_class: type[Exception], attributes: Mapping[str, Any]) -> None:
    """Make `error` an instance of the driver's class too.

    Args:
        error: The error.
        driver_class: The class of the error that the driver would have raised.
        attributes: The attributes of such an error. Those that `error` has already are not changed.
    """
    error.__class__ = _combined(type(error), driver_class)
    error.__dict__.update({name: value for name, value in attributes.items() if name not in error.__dict__})


def _combined(own: type[Error], driver_class: type[Exception]) -> type[Error]:
    """Return a class with both bases."""
    bases = (own, driver_class)
    combined = _known.get(bases)
    if combined is None:

        def reduce(self: Error) -> tuple[Any, ...]:
            return _restore, bases, own.__reduce__(self)[2]

        body = {"__reduce__": reduce, "__doc__": own.__doc__, "__module__": __name__}  # asyncpg registers `sqlstate`
        combined = types.new_class(driver_class.__name__, bases, exec_body=lambda namespace: namespace.update(body))
        _known[bases] = combined
    return combined


def _restore(own: type[Error], driver_class: type[Exception]) -> Error:
    cls = _combined(own, driver_class)
    return cls.__new__(cls)
