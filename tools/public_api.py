"""Write docs/api.md: the public names of every public module, each with the first line of its documentation.

::

    python tools/public_api.py > docs/api.md
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import babar_tls

#: The public modules. The names of a module that are public are those of its `__all__`.
MODULES = (
    "babar_tls",
    "babar_tls.errors",
    "babar_tls.backends",
    "babar_tls.conninfo",
    "babar_tls.crypto",
    "babar_tls.doctor",
    "babar_tls.doctor.html",
    "babar_tls.integrations.asyncpg",
    "babar_tls.integrations.pg8000",
    "babar_tls.integrations.sqlalchemy",
    "babar_tls.telemetry",
    "babar_tls.testing",
)

_HEAD = """\
# Public API

The names on this page are public, with the attributes and methods of classes that have no leading underscore. All other
modules are internal, including those whose names have no underscore. They may change in every release. `help(name)`
shows the whole documentation of a name.

The extra `demo` installs what `babar_tls.testing` needs. The modules in `babar_tls.integrations` need their drivers
([drivers.md](drivers.md)).
"""


def render() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *map(_section, MODULES)])


def _section(name: str) -> str:
    module = importlib.import_module(name)
    names = [each for each in module.__all__ if not each.startswith("__")]
    if name == "babar_tls.errors":
        names = sorted({*names} - {*babar_tls.__all__})
    rows = [f"| `{each}` | {_summary(each, getattr(module, each))} |\n" for each in names]
    text = "All of its classes can also be imported from `babar_tls`." if name == "babar_tls.errors" else ""
    return f"## {name}\n\n{text or _first_paragraph(module)}\n" + (
        f"\n| name | |\n|---|---|\n{''.join(rows)}" if rows else ""
    )


def _first_paragraph(documented: Any) -> str:
    text = " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())
    return re.sub(r"``(.*?)``", r"`\1`", text).replace("|", "\\|")


def _summary(name: str, value: Any) -> str:
    return _comment(name) if isinstance(value, str) else _first_paragraph(value)


def _comment(name: str) -> str:
    """Return the comment above the definition of a constant or of an alias."""
    for path in Path(babar_tls.__file__).parent.rglob("*.py"):
        found = re.search(rf"^#: (.*)\n{name}\b", path.read_text(encoding="utf-8"), re.MULTILINE)
        if found is not None:
            return found[1]
    raise LookupError(f"{name} has no comment that begins with #:")


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - the page
