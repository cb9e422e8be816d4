"""What is made of a configuration, made once for it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


_S = TypeVar("_S")
_T = TypeVar("_T")

#: By the identity of what it was made of, with a reference that forgets it when that is gone. It is not kept in the
#: object, which is copied, pickled and looked into as it was built; and there is no lock, which a fork could leave
#: locked: at worst something is made twice.
_made: dict[int, tuple[weakref.ref[Any], dict[Callable[[Any], Any], Any]]] = {}


def once(source: _S, make: Callable[[_S], _T]) -> _T:
    """What `make` makes of `source`, neither of which changes."""
    key = id(source)
    entry = _made.get(key)
    if entry is None:
        entry = _made[key] = weakref.ref(source, lambda _: _made.pop(key, None)), {}
    found = entry[1]
    if make not in found:
        found[make] = make(source)
    result: _T = found[make]
    return result
