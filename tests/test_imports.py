"""The order of imports, their cycles, and the modules that an import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import babar_tls

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(babar_tls.__file__).parent

#: A module imports only from its own line and from those above it.
ORDER = (
    "diagnostics.counts",
    "diagnostics.escaping",
    "diagnostics.log",
    "diagnostics.tracebacks",
    "errors",
    "_native",
    "config.enums",
    "x509",
    "config.token_uri",
    "config.validation",
    "config.callables",
    "config.files",
    "config.pins",
    "config.host",
    "tls.parameters",
    "config.fields",
    "config.checks",
    "conninfo.paths",
    "conninfo.passfile",
    "conninfo.keywords",
    "conninfo.foreign_syntax",
    "conninfo.syntax",
    "conninfo.setting",
    "conninfo.values",
    "conninfo.service",
    "conninfo.sources",
    "conninfo.hosts",
    "conninfo.tls_options",
    "conninfo.interpret",
    "conninfo.format",
    "conninfo.libpq_tls",
    "conninfo.libpq",
    "conninfo",
    "config.arguments",
    "config.options",
    "config",
    "tls.contract",
    "tls.banners",
    "protocol.requests",
    "protocol.messages",
    "protocol.message_reader",
    "protocol.saslprep",
    "protocol.scram",
    "protocol.channel_binding",
    "protocol.negotiation",
    "protocol.policy",
    "protocol.server_errors",
    "protocol.startup",
    "protocol.authentication",
    "protocol.query",
    "protocol.target_session",
    "protocol.handshake",
    "protocol.hosts",
    "protocol.greeting",
    "crypto",
    "security",
    "hooks",
    "tls",
    "backends",
    "explain",
    "net.interruption",
    "net.sockets",
    "net.buffers",
    "net.deadline",
    "net.password",
    "net.transport",
    "net.tls_transport",
    "net.key_cache",
    "net.blocking",
    "net.establish",
    "net.gate",
    "net.gated_connection",
    "net.thread_pool",
    "net.connect_threads",
    "net.password_async",
    "net.asyncio",
    "net.secure_stream",
    "net.secure_transport",
    "net.secure_socket",
    "_session_base",
    "_observation",
    "session",
    "aio",
    "telemetry",
    "integrations",
    "proxy",
    "doctor",
    "testing",
    "bench",
    "cli",
    "__main__",
)

#: Packages whose `__init__` has only a docstring.
EMPTY = ("diagnostics", "explain", "net", "protocol", "tls", "x509")

#: Modules for input, output, clocks and threads.
SANS_IO = {"socket", "ssl", "asyncio", "threading", "time", "select", "selectors", "subprocess", "concurrent", "signal"}

#: Modules that need an extra.
NEED_AN_EXTRA = ("_native", "backends.openssl", "backends.rustls", "integrations", "testing", "bench", "cli._rich")


class Import(NamedTuple):
    """The module that an import statement names, and whether the statement is at the top of its module."""

    target: str
    at_top: bool


def modules() -> dict[str, Path]:
    """Return the file of every module of the package, by its name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


MODULES = modules()


def imports(name: str, *, for_types: bool = False) -> Iterator[Import]:
    """Yield the imports of a module; those for type checkers only with `for_types`."""
    path = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]

    def walk(node: ast.AST, at_top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if not for_types and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, at_top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ["babar_tls", *package[: len(package) - child.level + 1]] if child.level else []
                target = ".".join([*base, *([child.module] if child.module else [])])
                for alias in child.names:
                    inner = f"{target}.{alias.name}"
                    yield Import(inner if inner.removeprefix("babar_tls.") in MODULES else target, at_top)
            yield from walk(child, at_top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


def line(name: str) -> int:
    """Return the position in `ORDER` of the longest prefix of a module."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in ORDER:
            return ORDER.index(prefix)
    raise AssertionError(f"babar_tls.{name} has no line in ORDER")


@pytest.mark.parametrize("name", MODULES)
def test_imports_follow_the_order(name: str) -> None:
    """A module imports only from its own line of ORDER and from those above it."""
    if name in EMPTY:
        assert not list(imports(name))
        return
    here = line(name)
    backwards = []
    for target, _ in imports(name):
        inner = target.removeprefix("babar_tls.")
        if target == "babar_tls" or not target.startswith("babar_tls.") or inner in EMPTY:
            continue
        if line(inner) > here:
            backwards.append(inner)
    assert backwards == []


def reachable(name: str, known: dict[str, set[str]]) -> set[str]:
    """Return the modules that a module imports, directly or not, type checkers' imports included."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        one = waiting.pop()
        if one not in known:
            targets = {target.removeprefix("babar_tls.") for target, _ in imports(one, for_types=True)}
            known[one] = targets & MODULES.keys() - {one}
        waiting |= known[one] - found
        found |= known[one]
    return found


def test_no_import_cycle() -> None:
    """No module imports itself by way of others, not even for type checkers."""
    known: dict[str, set[str]] = {}
    assert {name for name in MODULES if name in reachable(name, known)} == set()


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in MODULES
        if name.startswith("protocol") or name in ("tls.contract", "config", "config.enums", "errors")
    ],
)
def test_core_has_no_input_or_output(name: str) -> None:
    """The protocol and the modules under it import no socket, TLS library, event loop, thread or clock."""
    roots = {target.split(".")[0] for target, _ in imports(name)}
    assert roots & SANS_IO == set()
    assert roots <= {*sys.stdlib_module_names, "babar_tls"}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(NEED_AN_EXTRA)])
def test_base_needs_no_other_package(name: str) -> None:
    """Modules that need no extra import only the standard library."""
    foreign = {target.split(".")[0] for target, at_top in imports(name) if at_top} - {
        *sys.stdlib_module_names,
        "babar_tls",
    }
    assert foreign == set()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("babar_tls", "ssl OpenSSL asyncio rtls socket threading babar_tls.session babar_tls.config"),
        ("babar_tls.errors", "ssl OpenSSL asyncio rtls socket threading"),
        ("babar_tls.config", "ssl OpenSSL asyncio rtls socket threading"),
        ("babar_tls.backends", "ssl OpenSSL asyncio rtls socket"),
        ("babar_tls.protocol.handshake", "ssl OpenSSL asyncio rtls socket threading select subprocess"),
        ("babar_tls.protocol.query", "ssl OpenSSL asyncio rtls socket threading select subprocess"),
        ("babar_tls.crypto", "ssl OpenSSL asyncio rtls"),
        ("babar_tls.session", "OpenSSL asyncio rtls"),
        ("babar_tls.aio", "OpenSSL rtls"),
        ("babar_tls.hooks", "ssl OpenSSL asyncio rtls socket threading logging"),
        ("babar_tls.telemetry", "ssl OpenSSL asyncio rtls socket threading opentelemetry"),
    ],
)
def test_modules_loaded_by_an_import(module: str, absent: str) -> None:
    """Importing a module does not load these other modules."""
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import {module}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603 - this Python
    assert set(absent.split()) & set(loaded) == set()
    assert module in loaded


def test_public_names() -> None:
    """Every public name can be imported, and no other can."""
    for name in babar_tls.__all__:
        assert getattr(babar_tls, name) is not None
    assert set(babar_tls.__all__) <= set(dir(babar_tls))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = babar_tls.nothing
