"""Define checks: the decorator that registers a function, and the `Trial` that the function gets."""

from __future__ import annotations

import contextlib
import linecache
import ssl
import traceback
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from babar_tls.backends import TlsBackend, TlsParameters
from babar_tls.config import TlsVerify
from babar_tls.errors import CertificateError, Error, TlsError
from babar_tls.testing.backend_checks._fixtures import Fixtures, cached_context
from babar_tls.testing.backend_checks._pair import NAME, Pair, only
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.support import lacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

    from babar_tls.backends import Capabilities
    from babar_tls.testing.certificates import ServerCertificate


_E = TypeVar("_E", bound=BaseException)
_HERE = str(Path(__file__).parent)
ALERT_RECORD = b"\x15\3\3\0\2\2\x28"  # handshake_failure, fatal


class NotApplicable(Exception):
    """The check does not apply to this backend, or on this machine; the message is the reason."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: The names of the module and of the function: ``data.large_writes``.
        description: The function's docstring.
        run: The function.
        patience: The additional time for each of `Trial.handshakes`, as a share of the time limit.
        is_essential: If it fails, no other check is run.
    """

    name: str
    description: str
    run: Callable[[Trial], None]
    patience: float = 0.0
    is_essential: bool = False


#: Cases of `check`: every level of verification.
LEVELS = {f"verify={level.value}": level for level in TlsVerify}

#: Every check, in order. A module of checks adds its own when it is imported.
CHECKS: list[Check] = []


def check(
    *,
    patience: float = 0.0,
    is_essential: bool = False,
    per_version: bool = False,
    cases: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that registers a function as a check.

    Args:
        patience: See `Check`.
        is_essential: See `Check`.
        per_version: Call the function with each version of TLS that the backend has, as an additional argument.
        cases: Call the function with each value, as the last argument; the key is the label of the case.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        subject = function.__module__.rpartition(".")[2]
        description = " ".join((function.__doc__ or "").split())
        run = function if cases is None else partial(_run_cases, function, cases)
        if per_version:
            run = partial(_run_per_version, run)
        CHECKS.append(Check(f"{subject}.{function.__name__}", description, run, patience, is_essential))
        return function

    return register


def _run_cases(function: Callable[..., None], cases: Mapping[str, Any], trial: Trial, *version: str) -> None:
    for label, value in cases.items():
        with trial.case(label):
            function(trial, *version, value)


def _run_per_version(function: Callable[..., None], trial: Trial) -> None:
    """Run a check with each version of TLS. It is not applicable if it is applicable to none of them."""
    reasons = []
    for version in trial.versions:
        try:
            with trial.case(version):
                function(trial, version)
        except NotApplicable as exc:
            reasons.append(exc)
    if reasons and len(reasons) == len(trial.versions):
        raise reasons[-1]


def raised(kind: type[_E], action: str, function: Callable[..., object], *arguments: Any) -> _E:
    """Return the exception of `kind` that a call raises; fail the check if it raises none. Others propagate."""
    try:
        function(*arguments)
    except kind as exc:
        return exc
    raise AssertionError(f"{action}: {kind.__name__} was not raised")


def refused(pair: Pair, *reasons: str) -> CertificateError:
    """Return the error of a handshake that refuses the server's certificate; fail the check if the server gets data.

    Args:
        pair: Both ends of the connection.
        reasons: The correct reasons; none to accept any.
    """
    error = raised(CertificateError, "handshake", pair.handshake)
    assert not reasons or error.reason in reasons, f"reason is {error.reason!r}, not {' or '.join(sorted(reasons))}"
    assert error.message.strip(), "the message is empty"
    with contextlib.suppress(ssl.SSLError):  # the alert
        assert pair.server_read() == b"", "the server received data"
    return error


def same(got: bytes | bytearray | None, wanted: bytes, what: str) -> None:
    """Fail the check unless `got` is `wanted`."""
    if got == wanted:
        return
    if got is None or len(got) < 100 > len(wanted):
        raise AssertionError(f"{what} {got!r}, not {wanted!r}")
    first = next((i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted)))
    raise AssertionError(f"{what} {len(got)} bytes, not {len(wanted)}; the first difference is at byte {first}")


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
    """The argument of a check: the backend, certificates and files, and functions that make connections.

    Attributes:
        backend: The backend.
        fixtures: Certificates and files, shared by all checks.
        handshakes: The argument of `check_backend`.
        failed: True after a case has failed.
    """

    def __init__(self, backend: TlsBackend, fixtures: Fixtures, handshakes: int, report: TextIO) -> None:
        self.backend = backend
        self.fixtures = fixtures
        self.handshakes = handshakes
        self.failed = False
        self._report = report
        self._labels: list[str] = []

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities that the backend states."""
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
        """Run one of several cases. If it fails, report that and go on. Labels of nested cases are joined."""
        self._labels.append(label)
        try:
            yield
        except NotApplicable:
            raise
        except Exception as exc:
            self.fail(f"{', '.join(self._labels)}: {explain(exc)}")
        finally:
            self._labels.pop()

    def parameters(self, **changes: Any) -> TlsParameters:
        """Return a new value with full verification and one trusted root, except for `changes`."""
        return replace(TlsParameters(root_cert_path=self.fixtures.root_path, default_roots=False), **changes)

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
        fragment: int | Callable[[], int] | None = None,
        tamper: Callable[[bytes], bytes] = bytes,
        **options: Any,
    ) -> Pair:
        """Return both ends of a connection before its handshake; for the arguments see `Pair`."""
        certificate = certificate or self.fixtures.certificate
        context = cached_context(certificate, **options, **(only(version) if version else {}))
        parameters = parameters or self.parameters()
        return Pair(self.backend, parameters, hostname, certificate, fragment=fragment, tamper=tamper, context=context)

    def pair_at(self, stage: str) -> Pair:
        """Return both ends of a connection at a stage: new, begun, failed or finished."""
        pair = self.pair()
        if stage == "finished":
            pair.handshake()
        elif stage != "new":
            pair.client.do_handshake()
        if stage == "failed":
            pair.client.receive_data(ALERT_RECORD)
            raised(TlsError, "handshake with a server that sends an alert", pair.client.do_handshake)
        return pair
