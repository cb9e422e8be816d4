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
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ...backends import TlsParameters, available_backends, get_backend
from ...errors import ConfigError
from ...tls.connection import TlsConnection
from ..document import DocumentBuilder
from ..tables import Table, milliseconds, number, spread
from ..timing import THREAD, Advance, Case, Sample, no_progress, time_cases
from ..workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...backends import TlsBackend
    from ...testing import CertificateAuthority, ServerCertificate

    #: Returns the response of a server to a flight of the client.
    _Server = Callable[[bytes], bytes]


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
        series = time_cases([Case(name=item.case["name"], call=item.run) for item in handshakes], rounds, advance)
    cases = [{**item.case, **series[item.case["name"]].as_dict(samples=True)} for item in handshakes]
    return document.finish(cases)


def _usable(document: DocumentBuilder, authority: CertificateAuthority, parameters: TlsParameters) -> list[_Handshake]:
    """Return each backend with each key and its default group, and with each group and one key, if it supports them."""
    found = []
    certificates = {key: authority.issue(_HOST, key=key) for key in _KEYS}  # type: ignore[arg-type]  # all are literals
    wanted: list[tuple[str, str | None]] = [*((key, None) for key in _KEYS), *(("p256", group) for group in _GROUPS)]
    for name in available_backends():
        for key, group in wanted:
            failures = []
            for chosen_by in ("both",) if group is None else ("client", "server", "both"):
                case = {"key": key, "group": group, "chosen_by": chosen_by}
                try:
                    handshake = _Handshake(get_backend(name), case, certificates[key], parameters)
                    handshake.run()
                except Exception as exc:  # each backend has its own exceptions, and the next combination can succeed
                    failures.append(exc)
                else:
                    found.append(handshake)
                    break
            else:
                document.add_missing(_name(name, key, group), failures[0])
    return found


def _name(backend: str, key: str, group: str | None) -> str:
    return f"{backend}, certificate {key}" if group is None else f"{backend}, group {group}"


class _Handshake:
    """A backend and a kind of server; `case` is the case of the document without its figures."""

    def __init__(
        self, backend: TlsBackend, case: dict[str, Any], certificate: ServerCertificate, parameters: TlsParameters
    ) -> None:
        group, chosen_by = case["group"], case["chosen_by"]
        name, vary = _name(backend.name, case["key"], group), "key" if group is None else "group"
        self.case = {"name": name, "backend": backend.name, "vary": vary, **case}
        self._backend = backend
        self._parameters = replace(parameters, groups=(group,)) if group and chosen_by == "client" else parameters
        self._make_server = _server_maker(certificate, group, only_group=chosen_by == "server")

    def run(self) -> Sample:
        """Perform one handshake, and return the time of the client."""
        wall = cpu = 0

        def timed(function: Callable[..., Any], *arguments: object) -> Any:
            nonlocal wall, cpu
            cpu_before, wall_before = THREAD(), time.perf_counter_ns()
            result = function(*arguments)
            wall += time.perf_counter_ns() - wall_before
            cpu += THREAD() - cpu_before
            return result

        respond = self._make_server()
        stream: TlsConnection = timed(TlsConnection, self._backend, self._parameters, _HOST)
        flights = 0
        while True:
            is_finished = timed(stream.do_handshake)
            response = respond(timed(stream.data_to_send))
            if is_finished:
                break
            if not response:
                raise ConfigError("the server did not respond")
            flights += 1
            timed(stream.receive_data, response)
        negotiated, group = stream.facts and stream.facts.group, self.case["group"]
        self.case.update(negotiated=negotiated, flights=flights)
        # Some backends do not report the group. It is known if one side allows only one group.
        is_certain = negotiated is None and self.case["chosen_by"] != "both"
        if group is not None and negotiated != group and not is_certain:
            raise ConfigError(f"{negotiated} was negotiated instead")
        return Sample(wall / 1e9, cpu / 1e9)


def _server_maker(certificate: ServerCertificate, group: str | None, *, only_group: bool) -> Callable[[], _Server]:
    """Return a function that creates servers: of `ssl`, or of pyOpenSSL if `ssl` does not support the group."""
    if group in (None, *_STDLIB_NAMES):
        from ...testing._tls_contexts import server_context  # noqa: PLC0415 - needs an extra

        context = server_context(certificate, group=_STDLIB_NAMES[group] if only_group and group is not None else None)
        return partial(_stdlib_server, context)
    if only_group:
        raise ConfigError(f"no server that accepts only the group {group} is available")
    try:
        make_context = import_module("babar_tls.testing._openssl_peer")._context
    except ImportError as exc:
        raise ConfigError("a server with this group needs pyOpenSSL: pip install 'babar-tls[openssl]'") from exc
    return partial(_openssl_server, make_context(certificate))


def _stdlib_server(context: ssl.SSLContext) -> _Server:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)

    def respond(data: bytes) -> bytes:
        incoming.write(data)
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()

    return respond


def _openssl_server(context: Any) -> _Server:
    api = import_module("OpenSSL.SSL")
    tls = api.Connection(context, None)
    tls.set_accept_state()

    def respond(data: bytes) -> bytes:
        tls.bio_write(data)
        with suppress(api.WantReadError):
            tls.do_handshake()
        with suppress(api.WantReadError):
            return bytes(tls.bio_read(_CHUNK))
        return b""

    return respond


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
