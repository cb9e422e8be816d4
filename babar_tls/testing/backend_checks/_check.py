"""How a check is written: a function with a sentence, given a `Trial`, that raises where the sentence is wrong."""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from babar_tls.backends import TlsBackend, TlsParameters
from babar_tls.errors import Error
from babar_tls.testing.backend_checks._pair import NAME, Pair, PairError, only
from babar_tls.tls.connection import TlsConnection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from babar_tls.backends import Capabilities
    from babar_tls.testing.backend_checks._world import World
    from babar_tls.testing.certificates import ServerCertificate

__all__ = [
    "CHECKS",
    "Check",
    "Failure",
    "NotApplicable",
    "Trial",
    "check",
    "needs",
    "raised",
    "require",
    "require_dead",
]

_E = TypeVar("_E", bound=BaseException)
_HERE = str(Path(__file__).parent)


class Failure(Exception):
    """The engine does not do what the check's sentence says."""


class NotApplicable(Exception):
    """The check has no meaning for this engine, or on this machine; the message says why."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: The module's name and the function's: ``data.large_writes``.
        description: The function's docstring.
        run: The function.
        patience: How much longer than others it may take for each of `Trial.handshakes`, as a share of their time.
    """

    name: str
    description: str
    run: Callable[[Trial], None]
    patience: float = 0.0


#: Every check, in order. A module of checks fills it when it is imported.
CHECKS: list[Check] = []


def check(*, patience: float = 0.0) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Makes a function a check."""

    def register(function: Callable[[Trial], None]) -> Callable[[Trial], None]:
        subject = function.__module__.rpartition(".")[2]
        description = " ".join((function.__doc__ or "").split())
        CHECKS.append(Check(f"{subject}.{function.__name__}", description, function, patience))
        return function

    return register


def require(condition: object, message: str) -> None:
    """Fails the check, or the case, with `message` unless `condition` is true."""
    if not condition:
        raise Failure(message)


def needs(condition: object, reason: str) -> None:
    """Ends the check as not applicable unless `condition` is true."""
    if not condition:
        raise NotApplicable(reason)


def raised(kind: type[_E] | tuple[type[_E], ...], why: str, function: Callable[..., object], *arguments: Any) -> _E:
    """The exception of `kind` that the call raises; anything else, or none, fails the check.

    Args:
        kind: What should come.
        why: What was done, to go before "raised nothing".
        function: What to call.
        arguments: With what.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    wanted = " or ".join(each.__name__ for each in kinds)
    try:
        result = function(*arguments)
    except kinds as exc:
        return exc
    except Error as exc:
        raise Failure(f"{why}: raised {type(exc).__name__} ({exc.args[0]}), not {wanted}") from exc
    shown = f" and returned {result!r}" if isinstance(result, bool | int | str | bytes | None) else ""
    raise Failure(f"{why}: raised nothing{shown}, not {wanted}")


def require_dead(stream: TlsConnection, *, shaken: bool, write: bool = True) -> None:
    """Nothing can be got out of it or put into it any more, and nothing but our errors comes."""
    for _ in range(2):
        if not shaken:
            raised(Error, "do_handshake() after the failure", stream.do_handshake)
        if write:
            raised(Error, "write() after the failure", stream.write, b"secret")
        raised(Error, "read_into() after the failure", stream.read_into, memoryview(bytearray(100)))
        stream.data_to_send()
        stream.close_notify()
        stream.receive_data(b"x")  # the wire does not know yet


def explain(exc: BaseException) -> str:
    """What a check's exception says of the engine."""
    if isinstance(exc, Failure | PairError):
        return str(exc)
    what = f"{type(exc).__module__}.{type(exc).__qualname__}".removeprefix("builtins.")
    foreign = "" if isinstance(exc, Error) else ", which is no babar_tls.Error,"
    frames = traceback.extract_tb(exc.__traceback__)
    outside = [frame for frame in frames if not frame.filename.startswith(_HERE)]
    frame = (outside or frames)[-1]
    return f"{what}{foreign} escaped at {Path(frame.filename).name}:{frame.lineno}: {exc}"


class Trial:
    """What a check works with: the engine, certificates, files, and both ends of connections.

    Attributes:
        backend: The engine.
        capabilities: What it says of itself.
        world: Certificates and folders, shared by all checks.
        handshakes: How many `check_backend` was asked for.
        problems: What the cases have found so far.
    """

    def __init__(self, backend: TlsBackend, capabilities: Capabilities, world: World, handshakes: int) -> None:
        self.backend = backend
        self.capabilities = capabilities
        self.world = world
        self.handshakes = handshakes
        self.problems: list[str] = []

    @property
    def versions(self) -> list[str]:
        """The versions of TLS that the engine says it speaks."""
        return [version.value for version in self.capabilities.tls_versions]

    @contextlib.contextmanager
    def case(self, label: str) -> Iterator[None]:
        """One of several cases: when it fails, that is noted, and the check goes on with the next."""
        try:
            yield
        except NotApplicable:
            raise
        except Exception as exc:
            self.problems.append(f"{label}: {explain(exc)}")

    def parameters(self, **changes: Any) -> TlsParameters:
        """Full verification with the one trusted root, except for `changes`; a new value each time."""
        return replace(TlsParameters(root_cert_path=self.world.root_path, default_roots=False), **changes)

    def wrap(self, hostname: str | None = NAME, parameters: TlsParameters | None = None) -> TlsConnection:
        """The engine's side alone."""
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
        """Both ends of a connection before its handshake; `options` are those of `Pair`."""
        limits = only(version) if version is not None else {}
        if context is None and certificate is None and not (options.keys() - {"fragment", "tamper"}):
            context = self.world.context(version)
        chosen = certificate or self.world.certificate
        if context is not None:
            limits = {}
        return Pair(
            self.backend, parameters or self.parameters(), hostname, chosen, context=context, **limits, **options
        )
