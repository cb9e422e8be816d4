"""The error for a missing optional dependency."""

from __future__ import annotations


def demo_extra_missing(exc: ImportError) -> ImportError:
    """Return the error to raise from `exc`, the failed import of a package of the `demo` extra."""
    module = (exc.name or "a dependency").partition(".")[0]
    return ImportError(
        f"babar_tls.testing needs {module!r}, which cannot be imported: {exc}\n"
        "Install it with: pip install 'babar-tls[demo]'",
        name=exc.name,
        path=exc.path,
    )
