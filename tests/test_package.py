"""The package as it is installed: its name, its promises to installers, its extras."""

from __future__ import annotations

import builtins
import importlib
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import babar_tls

EXTRAS = {
    *("native", "openssl", "rustls", "cli", "demo", "bench", "truststore"),
    *("asyncpg", "pg8000", "sqlalchemy", "otel"),
    "all",
}


def _requirements() -> dict[str, set[str]]:
    """Distribution names by the extra that wants them; under "" those that are always wanted."""
    wanted: dict[str, set[str]] = {"": set()}
    for requirement in metadata.requires("babar-tls") or []:
        name = re.match(r"[A-Za-z0-9_.-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", requirement)
        assert name is not None
        wanted.setdefault(extra[1] if extra else "", set()).add(name[0].lower())
    return wanted


def test_base_install_pulls_nothing_else() -> None:
    """Every requirement belongs to an extra."""
    assert _requirements()[""] == set()


def test_extras() -> None:
    """The extras are those that the documentation names, and `all` is all of them."""
    assert set(metadata.metadata("babar-tls").get_all("Provides-Extra") or ()) == EXTRAS
    listed = [r for r in metadata.requires("babar-tls") or [] if "extra" in r and r.startswith("babar-tls")]
    assert len(listed) == 1
    named = re.search(r"\[(.*?)\]", listed[0])
    assert named is not None
    assert set(named[1].split(",")) == EXTRAS - {"all"}


def test_extra_brings_what_it_names() -> None:
    """In an environment made for one extra, what that extra wants is installed."""
    extra = os.environ.get("BABAR_TLS_TEST_EXTRA", "").removeprefix("extra-")
    if not extra:
        pytest.skip("this environment was not made for one extra alone")
    for name in _requirements()[extra]:
        assert metadata.version(name)


def test_version() -> None:
    """`__version__` is the distribution's version."""
    assert babar_tls.__version__ == metadata.version("babar-tls")


def test_marker_for_type_checkers() -> None:
    """`py.typed` is installed."""
    assert Path(babar_tls.__file__).with_name("py.typed").exists()


def test_every_public_name_is_there() -> None:
    """`__all__` has the public names of the modules; other names do not exist."""
    modules = [importlib.import_module(f"babar_tls.{name}") for name in babar_tls._MODULES]
    public = {name for module in modules for name in module.__all__}
    assert set(babar_tls.__all__) == {"__version__", *public} - {"TimeoutError"}
    for name in babar_tls.__all__:
        assert getattr(babar_tls, name) is not None
        assert name in dir(babar_tls)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = babar_tls.nonsense


def test_every_error_is_public() -> None:
    """Each class of the error tree can be imported from the package."""
    errors = importlib.import_module("babar_tls.errors")
    for name in errors.__all__:
        assert getattr(babar_tls, name) is getattr(errors, name)


def test_star_import_replaces_no_builtin() -> None:
    assert set(babar_tls.__all__).isdisjoint(dir(builtins))
    assert issubclass(babar_tls.TimeoutError, TimeoutError)


def test_missing_engine_says_what_to_install() -> None:
    """Without pyOpenSSL, `openssl` is known, not available, and names the pip install that mends it."""
    code = (
        "import sys; sys.modules['OpenSSL'] = None\n"
        "from babar_tls import BackendUnavailable, available_backends, backend_names\n"
        "from babar_tls.backends import get_backend\n"
        "assert backend_names()[:2] == ('stdlib', 'openssl')\n"
        "assert 'stdlib' in available_backends() and 'openssl' not in available_backends()\n"
        "try: get_backend('openssl')\n"
        "except BackendUnavailable as exc: print(exc)\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert "pip install 'babar-tls[openssl]'" in done.stdout
