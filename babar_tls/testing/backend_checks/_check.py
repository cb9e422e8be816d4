"""How a check is written: a function with a sentence, given a `Trial`, that asserts what the sentence states."""

from __future__ import annotations

import contextlib
import linecache
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from babar_tls.backends import TlsBackend, TlsParameters
from babar_tls.errors import Error
from babar_tls.testing.backend_checks._pair import NAME, Pair, only
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.support import lacks

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from babar_tls.backends import Capabilities
    from babar_tls.testing.backend_checks._world import World
    from babar_tls.testing.certificates import ServerCertificate


_E = TypeVar("_E", bound=BaseException)
_HERE = str(Path(__file__).parent)


class NotApplicable(Exception):
    """The check does not apply to this backend, or on this machine; the message is the reason."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: The module's name and the function's: ``data.large_writes``.
        description: The function's docstring.
        run: The function.
        patience: How much longer than others it may take for each of `Trial.handshakes`, as a share of their time.
        is_essential: If it fails, no other check is run.
    """

    name: str
    description: str
    run: Callable[[Trial], None]
    patience: float = 0.0
    is_essential: bool = False


#: Every check, in order. A module of checks adds its own when it is imported.
CHECKS: list[Check] = []


def check(
    *, patience: float = 0.0, is_essential: bool = False
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Return a decorator that makes a function a check."""

    def register(function: Callable[[Trial], None]) -> Callable[[Trial], None]:
        subject = function.__module__.rpartition(".")[2]
        description = " ".join((function.__doc__ or "").split())
        CHECKS.append(Check(f"{subject}.{function.__name__}", description, function, patience, is_essential))
        return function

    return register


def raised(kind: type[_E], action: str, function: Callable[..., object], *arguments: Any) -> _E:
    """Return the exception of `kind` that a call raises; fail the check if it raises none. Others propagate."""
    try:
        function(*arguments)
    except kind as exc:
        return exc
    raise AssertionError(f"{action}: {kind.__name__} was not raised")


def explain(exc: BaseException) -> str:
    """Return the message for an exception that a check raised."""
    frames = traceback.extract_tb(exc.__traceback__)
    if isinstance(exc, AssertionError) and frames and frames[-1].filename.startswith(_HERE):
        message = str(exc).partition("\nassert ")[0]  # pytest adds the expression: it rewrites its plugins' packages
        return message or linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    what = f"{type(exc).__module__}.{type(exc).__qualname__}".removeprefix("builtins.")
    foreign = "" if isinstance(exc, Error) else ", which is not a babar_tls.Error,"
    outside = [frame for frame in frames if not frame.filename.startswith(_HERE)]
    frame = (outside or frames)[-1]
    return f"{what}{foreign} was raised at {Path(frame.filename).name}:{frame.lineno}: {exc}"


class Trial:
    """The means of a check: the backend, certificates, files, and both ends of connections.

    Attributes:
        backend: The backend.
        world: Certificates and folders, shared by all checks.
        handshakes: The argument of `check_backend`.
        failed: A case has failed.
    """

    def __init__(self, backend: TlsBackend, world: World, handshakes: int, report: TextIO) -> None:
        self.backend = backend
        self.world = world
        self.handshakes = handshakes
        self.failed = False
        self._report = report

    @property
    def capabilities(self) -> Capabilities:
        """What the backend states of itself."""
        return self.backend.capabilities

    @property
    def versions(self) -> list[str]:
        """The versions of TLS that the backend states."""
        return [version.value for version in self.capabilities.tls_versions]

    def needs(self, **changes: Any) -> None:
        """End the check as not applicable if the backend states that it cannot do what parameters require."""
        for lack in lacks(self.parameters(**changes), self.capabilities):
            raise NotApplicable(f"the backend states that it cannot {lack.what}")

    def needs_version(self, version: str) -> None:
        """End the check as not applicable if the backend does not have a version of TLS."""
        if version not in self.versions:
            raise NotApplicable(f"the backend does not have {version}")

    def fail(self, problem: str) -> None:
        """Report a problem; the check goes on."""
        self.failed = True
        self._report.write(problem + "\n")

    @contextlib.contextmanager
    def case(self, label: str) -> Iterator[None]:
        """Run one of several cases: if it fails, that is reported, and the check goes on with the next."""
        try:
            yield
        except NotApplicable:
            raise
        except Exception as exc:
            self.fail(f"{label}: {explain(exc)}")

    def parameters(self, **changes: Any) -> TlsParameters:
        """Return full verification with the one trusted root, except for `changes`; a new value each time."""
        return replace(TlsParameters(root_cert_path=self.world.root_path, default_roots=False), **changes)

    def connection(self, hostname: str | None = NAME, parameters: TlsParameters | None = None) -> TlsConnection:
        """Return a client's connection, without a server."""
        return TlsConnection(self.backend, parameters or self.parameters(), hostname)

    def pair(
        self,
        hostname: str | None = NAME,
        *,
        parameters: TlsParameters | None = None,
        certificate: ServerCertificate | None = None,
        version: str | None = None,
        context: ssl.SSLContext | None = None,
        **options: Any,
    ) -> Pair:
        """Return both ends of a connection before its handshake; `options` are those of `Pair`."""
        limits = only(version) if version is not None else {}
        if context is None and certificate is None and not (options.keys() - {"fragment", "tamper"}):
            context = self.world.context(version)
        chosen = certificate or self.world.certificate
        if context is not None:
            limits = {}
        return Pair(
            self.backend, parameters or self.parameters(), hostname, chosen, context=context, **limits, **options
        )
