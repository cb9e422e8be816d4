"""TLS handshakes alone, in memory: each engine against a server, by the certificate's key and by the group.

The client's calls are timed one by one, wall clock and the thread's CPU, and added up; what the server computes in
between does not count. The client verifies in full, against a root that it knows already. The document, besides what
`babar_tls.bench.record` says::

    "parameters": {"rounds": …},
    "cases": [{"name": …, "backend": …, "vary": "key" | "group", "key": …, "group": …, "chosen_by": …,
               "negotiated": …, "flights": times that the client waited, "wall": …, "cpu": …}]

"chosen_by" says how it came to a group: the engine offers this one alone (``client``); or where it cannot be told to,
the server insists (``server``), and if the engine has not guessed it the handshake takes a flight more; or both are
left to themselves and agree on it (``both``). The authority's key is always P-256.
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

from ..backends import TlsParameters, available_backends, get_backend
from ..errors import ConfigError
from ..tls.connection import TlsConnection
from .record import Record
from .timing import Case, Sample, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..backends import TlsBackend
    from ..testing import CertificateAuthority, ServerCertificate


#: The kinds of key that a server's certificate has.
KEYS = ("rsa2048", "rsa3072", "rsa4096", "p256", "p384", "ed25519")
#: Key-exchange groups.
GROUPS = ("x25519", "secp256r1", "X25519MLKEM768")

_HOST = "db.example.com"
_CHUNK = 1 << 16
_STDLIB_NAMES = {"x25519": "X25519", "secp256r1": "prime256v1"}


def run(*, rounds: int = 50, advance: Callable[[int], object] | None = None) -> dict[str, Any]:
    """Measure.

    Args:
        rounds: How often everything is measured.
        advance: Called with 1 after each round.

    Returns:
        The document; see above.

    Raises:
        ImportError: What makes certificates is not installed.
    """
    from ..testing import CertificateAuthority  # noqa: PLC0415 - needs an extra

    record = Record("handshake", {"rounds": rounds})
    authority = CertificateAuthority()
    with TemporaryDirectory(prefix="babar-tls-") as folder:
        roots = Path(folder, "root.pem")
        authority.write(roots)
        handshakes = _usable(record, authority, TlsParameters(root_cert_path=str(roots), default_roots=False))
        series = measure([Case(name=item.name, call=item.run) for item in handshakes], rounds, advance)
    cases = [{**item.as_dict(), **series[item.name].as_dict(samples=True)} for item in handshakes]
    return record.finish(cases, [])


def _usable(record: Record, authority: CertificateAuthority, parameters: TlsParameters) -> list[_Handshake]:
    """Every engine with every key in the group that it chooses, and with every group and one key, as far as it can."""
    found = []
    certificates = {key: authority.issue(_HOST, key=key) for key in KEYS}  # type: ignore[arg-type]  # literals, all
    wanted = [_Kind("key", key, None) for key in KEYS] + [_Kind("group", "p256", group) for group in GROUPS]
    for name in available_backends():
        for kind in wanted:
            try:
                found.append(_first_that_works(get_backend(name), kind, certificates[kind.key], parameters))
            except Exception as exc:  # whatever an engine raises, the others are to be measured
                record.miss(f"{name}, {kind.words}", getattr(exc, "message", exc))
    return found


def _first_that_works(
    backend: TlsBackend, kind: _Kind, certificate: ServerCertificate, parameters: TlsParameters
) -> _Handshake:
    failure: Exception | None = None
    for chosen_by in ("both",) if kind.group is None else ("client", "server", "both"):
        try:
            handshake = _Handshake(backend, kind, certificate, parameters, chosen_by)
            handshake.run()
        except Exception as exc:  # the next may do
            failure = failure or exc
        else:
            return handshake
    raise failure or ConfigError("there is no way")


class _Kind(NamedTuple):
    vary: str
    key: str
    group: str | None

    @property
    def words(self) -> str:
        return f"certificate {self.key}" if self.group is None else f"group {self.group}"


class _Server(Protocol):
    def take(self, data: bytes) -> bytes:
        """The client's flight; the server's answer."""


class _Handshake:
    """One engine against one kind of server."""

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
        self._accept = _server(certificate, kind.group, insist=chosen_by == "server")

    def run(self) -> Sample:
        """Once; the client's share of the time."""
        server = self._accept()
        meter = _Meter()
        stream = meter.time(lambda: TlsConnection(self._backend, self._parameters, _HOST))
        flights = 0
        while True:
            finished = meter.time(stream.do_handshake)
            flight = meter.time(stream.data_to_send)
            if finished:
                server.take(flight)
                break
            answer = server.take(flight)
            if not answer:
                raise ConfigError("the handshake does not go on")
            flights += 1
            meter.time(partial(stream.receive_data, answer))
        self._negotiated, self._flights = stream.facts.group, flights
        # Where one end had no choice, an engine that does not tell the group may be believed.
        believed = {self._kind.group} if self._chosen_by == "both" else {self._kind.group, None}
        if self._kind.group is not None and stream.facts.group not in believed:
            raise ConfigError(f"{stream.facts.group} was negotiated instead")
        return Sample(meter.wall / 1e9, meter.cpu / 1e9)

    def as_dict(self) -> dict[str, Any]:
        """The case, without its figures."""
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
    """Adds up calls, in nanoseconds."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0

    def time(self, call: Callable[[], Any]) -> Any:
        """Call it."""
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        try:
            return call()
        finally:
            self.wall += time.perf_counter_ns() - wall
            self.cpu += time.thread_time_ns() - cpu


def _server(certificate: ServerCertificate, group: str | None, *, insist: bool) -> Callable[[], _Server]:
    """Makes servers with this certificate: `ssl`'s, or where that has not got the group pyOpenSSL's."""
    if group in (None, *_STDLIB_NAMES):
        from ..testing._wire import server_context  # noqa: PLC0415 - as above

        context = server_context(certificate, group=_STDLIB_NAMES[group] if insist and group is not None else None)
        return lambda: _StdlibServer(context)
    if insist:
        raise ConfigError(f"nothing here makes a server that insists on {group}")
    try:
        make_context = import_module("babar_tls.testing._openssl_peer")._context
    except ImportError as exc:
        raise ConfigError("a server with this group needs pyOpenSSL: pip install 'babar-tls[openssl]'") from exc
    secured = make_context(certificate)
    return lambda: _OpenSslServer(secured)


class _StdlibServer:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def take(self, data: bytes) -> bytes:
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

    def take(self, data: bytes) -> bytes:
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
