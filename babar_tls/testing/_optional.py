"""Optional dependencies: absent at import is fine, absent at use says what to install."""

from __future__ import annotations


def demo_extra_missing(exc: ImportError) -> ImportError:
    """The error to raise from `exc`, which came of importing something that the `demo` extra brings."""
    module = (exc.name or "a dependency").partition(".")[0]
    return ImportError(
        f"babar_tls.testing needs {module!r}, which cannot be imported: {exc}\n"
        "Install it with: pip install 'babar-tls[demo]'",
        name=exc.name,
        path=exc.path,
    )
