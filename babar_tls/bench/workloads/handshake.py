"""TLS handshakes in memory: each backend against a server, by the key of the certificate and by the key-exchange group.

Only the calls of the client are timed, each of them, by wall clock and CPU time of the thread. The client verifies in
full. The trust anchor is loaded before. The document, besides the fields in `babar_tls.bench.document`::

    "parameters": {"rounds": …},
    "cases": [{"name": …, "backend": …, "vary": "key" | "group", "key": …, "group": …, "chosen_by": …,
               "negotiated": …, "flights": number of times that the client waited, "wall": …, "cpu": …}]

"chosen_by" is how the group was selected: the client offers only this one (``client``); or the server accepts only this
one (``server``), and the handshake takes one more flight if the client has sent the key share of another; or both use
their defaults (``both``). The key of the CA is always P-256.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...backends import TlsParameters, available_backends, get_backend
from ...errors import ConfigError
from ...tls.connection import TlsConnection
from ..document import DocumentBuilder
from ..tables import Table, milliseconds, number, spread
from ..timing import Advance, Case, Sample, no_progress, time_cases
from ..workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...backends import TlsBackend
    from ...testing import CertificateAuthority, ServerCertificate


_KEYS = ("rsa2048", "rsa3072", "rsa4096", "p256", "p384", "ed25519")
_GROUPS = ("x25519", "secp256r1", "X25519MLKEM768")
_HOST = "db.example.com"
_CHUNK = 1 << 16  # bytes
_STDLIB_NAMES = {"x25519": "X25519", "secp256r1": "prime256v1"}


def measure(*, rounds: int, advance: Advance = no_progress) -> dict[str, Any]:
    """Measure; raise ImportError if cryptography is not installed."""
    from ...testing import CertificateAuthority  # noqa: PLC0415 - needs an extra

    document = DocumentBuilder("handshake", {"rounds": rounds})
    authority = CertificateAuthority()
    with TemporaryDirectory(prefix="babar-tls-") as folder:
        roots = Path(folder, "root.pem")
        authority.write(roots)
        parameters = TlsParameters(root_cert_path=str(roots), default_roots=False)
        handshakes = _usable(document, authority, parameters)
        series = time_cases([Case(name=item.name, call=item.run) for item in handshakes], rounds, advance)
    return document.finish([{**item.as_dict(), **series[item.name].as_dict(samples=True)} for item in handshakes])


def _usable(document: DocumentBuilder, authority: CertificateAuthority, parameters: TlsParameters) -> list[_Handshake]:
    """Return each backend with each key and its default group, and with each group and one key, if it supports them."""
    found = []
    certificates = {key: authority.issue(_HOST, key=key) for key in _KEYS}  # type: ignore[arg-type]  # all are literals
    wanted = [_Kind("key", key, None) for key in _KEYS] + [_Kind("group", "p256", group) for group in _GROUPS]
    for name in available_backends():
        for kind in wanted:
            try:
                found.append(_first_that_works(get_backend(name), kind, certificates[kind.key], parameters))
            except Exception as exc:  # each backend has its own exceptions, and the others must be measured
                document.miss(f"{name}, {kind.words}", getattr(exc, "message", exc))
    return found


def _first_that_works(
    backend: TlsBackend, kind: _Kind, certificate: ServerCertificate, parameters: TlsParameters
) -> _Handshake:
    failures = []
    for chosen_by in ("both",) if kind.group is None else ("client", "server", "both"):
        try:
            handshake = _Handshake(backend, kind, certificate, parameters, chosen_by)
            handshake.run()
        except Exception as exc:  # the next way can succeed
            failures.append(exc)
        else:
            return handshake
    raise failures[0]


class _Kind(NamedTuple):
    vary: str
    key: str
    group: str | None

    @property
    def words(self) -> str:
        return f"certificate {self.key}" if self.group is None else f"group {self.group}"


class _Server(Protocol):
    def respond(self, data: bytes) -> bytes:
        """Return the response to a flight of the client."""


class _Handshake:
    """A backend and a kind of server."""

    def __init__(
        self,
        backend: TlsBackend,
        kind: _Kind,
        certificate: ServerCertificate,
        parameters: TlsParameters,
        chosen_by: str,
    ) -> None:
        self.name = f"{backend.name}, {kind.words}"
        self._backend = backend
        self._kind = kind
        self._chosen_by = chosen_by
        self._negotiated: str | None = None
        self._flights = 0
        if chosen_by == "client" and kind.group is not None:
            parameters = replace(parameters, groups=(kind.group,))
        self._parameters = parameters
        self._accept = _make_server(certificate, kind.group, only_group=chosen_by == "server")

    def run(self) -> Sample:
        """Perform one handshake, and return the time of the client."""
        server = self._accept()
        meter = _Meter()
        stream = meter.time(lambda: TlsConnection(self._backend, self._parameters, _HOST))
        flights = 0
        while True:
            finished = meter.time(stream.do_handshake)
            flight = meter.time(stream.data_to_send)
            if finished:
                server.respond(flight)
                break
            answer = server.respond(flight)
            if not answer:
                raise ConfigError("the server did not respond")
            flights += 1
            meter.time(partial(stream.receive_data, answer))
        self._negotiated, self._flights = stream.facts.group, flights
        # Some backends do not report the group, which is certain if one side allowed no other.
        expected = {self._kind.group} if self._chosen_by == "both" else {self._kind.group, None}
        if self._kind.group is not None and stream.facts.group not in expected:
            raise ConfigError(f"{stream.facts.group} was negotiated instead")
        return Sample(meter.wall / 1e9, meter.cpu / 1e9)

    def as_dict(self) -> dict[str, Any]:
        """Return the case without its figures."""
        return {
            "name": self.name,
            "backend": self._backend.name,
            "vary": self._kind.vary,
            "key": self._kind.key,
            "group": self._kind.group,
            "chosen_by": self._chosen_by,
            "negotiated": self._negotiated,
            "flights": self._flights,
        }


class _Meter:
    """The sum of the times of calls, in nanoseconds."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0

    def time(self, call: Callable[[], Any]) -> Any:
        """Call, and add the time."""
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        try:
            return call()
        finally:
            self.wall += time.perf_counter_ns() - wall
            self.cpu += time.thread_time_ns() - cpu


def _make_server(certificate: ServerCertificate, group: str | None, *, only_group: bool) -> Callable[[], _Server]:
    """Return a function that creates servers: of `ssl`, or of pyOpenSSL if `ssl` does not support the group."""
    if group in (None, *_STDLIB_NAMES):
        from ...testing._wire import server_context  # noqa: PLC0415 - needs an extra

        context = server_context(certificate, group=_STDLIB_NAMES[group] if only_group and group is not None else None)
        return lambda: _StdlibServer(context)
    if only_group:
        raise ConfigError(f"no server that accepts only the group {group} is available")
    try:
        make_context = import_module("babar_tls.testing._openssl_peer")._context
    except ImportError as exc:
        raise ConfigError("a server with this group needs pyOpenSSL: pip install 'babar-tls[openssl]'") from exc
    openssl_context = make_context(certificate)
    return lambda: _OpenSslServer(openssl_context)


class _StdlibServer:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def respond(self, data: bytes) -> bytes:
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()


class _OpenSslServer:
    def __init__(self, context: Any) -> None:
        self._api = import_module("OpenSSL.SSL")
        self._tls = self._api.Connection(context, None)
        self._tls.set_accept_state()

    def respond(self, data: bytes) -> bytes:
        self._tls.bio_write(data)
        try:
            self._tls.do_handshake()
        except self._api.WantReadError:
            pass
        answer = b""
        try:
            while True:
                answer += self._tls.bio_read(_CHUNK)
        except self._api.WantReadError:
            return answer


_TITLES = {"key": "by the key of the certificate", "group": "by the key-exchange group (certificate: p256)"}


def tables(document: dict[str, Any]) -> list[Table]:
    """Return a table for the keys and one for the groups."""
    return [
        Table(
            f"Time of the client in a handshake, {title}",
            ("backend", vary, "ms", "p90", "p99", "CPU ms", "flights", "chosen by"),
            [
                (
                    case["backend"],
                    case[vary],
                    *spread(case["wall"]),
                    milliseconds(case["cpu"]["median"]),
                    number(case["flights"]),
                    case["chosen_by"],
                )
                for case in document["cases"]
                if case["vary"] == vary
            ],
        )
        for vary, title in _TITLES.items()
    ]


WORKLOAD = Workload(
    name="handshake",
    summary="TLS handshakes in memory, by the key of the certificate and by the key-exchange group",
    measure=measure,
    tables=tables,
    rounds=50,
    quick_rounds=5,
)
