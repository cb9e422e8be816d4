"""The policies and servers under which sequences are explored.

A situation has one value of each dimension in `DIMENSIONS`. All combinations would be some hundred thousand, so
the tests use deterministic selections:

* `every_pair()`: a covering array. Each possible pair of values occurs in at least one situation.
* `core_product()`: all combinations of `channel_binding`, `require_auth`, `transport` and `channel`, which
  together determine the rules. The other dimensions rotate through their values with different periods.
* `characteristic()`: a dozen ordinary situations.
* `refusals()`: transports whose negotiation fails; they are not combined with the other dimensions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from itertools import combinations, product
from typing import Any

from babar_tls.config import Config

from .honest_server import CLIENT_KEY, ITERATIONS, PASSWORD, SERVER_KEY, USER

HOST = "db.example.com"
SOCKET_DIRECTORY = "/run/postgresql"

# The outer structure of an X.509 certificate: an empty tbsCertificate, the signature algorithm, a signature.
_ECDSA_WITH_SHA384 = bytes.fromhex("301a3000300a06082a8648ce3d040303030a007369676e6174757265")
_ED25519 = bytes.fromhex("30153000300506032b6570030a007369676e6174757265")
PINNED_CERTIFICATE = _ECDSA_WITH_SHA384
PIN = "sha256:" + hashlib.sha256(PINNED_CERTIFICATE).hexdigest()


@dataclass(frozen=True)
class Transport:
    """The negotiation of the connection, and the behavior of the server.

    Attributes:
        mode: ``disable``, ``allow``, ``prefer``, ``require``; ``fallback`` (prefer with `Config.tls_fallback`),
            ``direct`` (require without SSLRequest) or ``unix`` (a Unix-domain socket).
        answers: The server's answer to each SSLRequest; the last answer is repeated.
        handshakes: The outcome of each TLS handshake: ``done``, ``failed`` or ``certificate`` (it is refused); the last
            one is repeated.
        alpn: The protocol that the server selects.
    """

    mode: str
    answers: tuple[bytes, ...] = (b"S",)
    handshakes: tuple[str, ...] = ("done",)
    alpn: str | None = "postgresql"


@dataclass(frozen=True)
class Channel:
    """What TLS offers for channel binding.

    Attributes:
        binding_type: `Config.channel_binding_type`.
        data: The binding data, `None` where the channel cannot be bound.
        certificate: The server's certificate.
        version: The TLS version.
        possession_proven: The TLS backend checks that the server holds the certificate's key.
    """

    binding_type: str | None
    data: bytes | None
    certificate: bytes = _ECDSA_WITH_SHA384
    version: str = "TLSv1.3"
    possession_proven: bool = True


@dataclass(frozen=True)
class ClientCertificate:
    """`Config.tls_client_cert_mode`, whether there is a certificate, and whether the server requests one."""

    required: bool = False
    given: bool = False
    requested: bool | None = False


_EXPORTED, _FINISHED = b"E" * 32, b"F" * 12
_END_POINT = hashlib.sha384(_ECDSA_WITH_SHA384).digest()

#: The values of each dimension. The first value is the default.
DIMENSIONS: dict[str, dict[str, Any]] = {
    "channel_binding": {name: name for name in ("prefer", "require", "disable")},
    "require_auth": {
        str(text): text
        for text in (
            None,
            "scram-sha-256",
            "password",
            "md5",
            "none",
            "password,scram-sha-256",
            "scram-sha-256,none",
            "gss,sspi",
            "!none",
            "!password",
            "!password,!md5",
            "!scram-sha-256",
        )
    },
    "transport": {
        "require": Transport("require"),
        "direct": Transport("direct"),
        "prefer": Transport("prefer"),
        "prefer, no TLS": Transport("prefer", (b"N",)),
        "fallback": Transport("fallback"),
        "fallback, no TLS": Transport("fallback", (b"N",)),
        "fallback, TLS fails": Transport("fallback", handshakes=("failed",)),
        "fallback, certificate": Transport("fallback", handshakes=("certificate",)),
        "fallback, another ALPN": Transport("fallback", alpn="http/1.1"),
        "allow": Transport("allow"),
        "allow, no TLS": Transport("allow", (b"N",)),
        "disable": Transport("disable"),
        "unix": Transport("unix"),
    },
    "channel": {
        "certificate": Channel(None, _END_POINT),
        "Ed25519": Channel(None, None, _ED25519),
        "possession unproven": Channel(None, None, possession_proven=False),
        "exporter": Channel("tls-exporter", _EXPORTED),
        "unique, TLS 1.2": Channel("tls-unique", _FINISHED, version="TLSv1.2"),
        "unique, TLS 1.3": Channel("tls-unique", None),
    },
    "verify": {name: name for name in ("full", "own authority", "default authorities", "none", "none, pinned")},
    "credentials": {name: name for name in ("password", "keys", "password and keys", "nothing")},
    "pipelining": {"pipelining": True, "no pipelining": False},
    "client_certificate": {
        "not required": ClientCertificate(),
        "sent": ClientCertificate(required=True, given=True, requested=True),
        "not requested": ClientCertificate(required=True, given=True),
        "missing": ClientCertificate(required=True, requested=True),
        "request unknown": ClientCertificate(required=True, given=True, requested=None),
    },
    "protocol": {
        "3.0": ("3.0", "3.0"),
        "3.0 to 3.2": ("3.0", "3.2"),
        "3.2": ("3.2", "latest"),
    },
}

_CORE = ("channel_binding", "require_auth", "transport", "channel")
#: The number of situations after which the value of a rotating dimension changes.
_STRIDES = {"verify": 1, "credentials": 7, "pipelining": 1, "client_certificate": 1, "protocol": 1}
#: The order of values within a rotation. Values that end most connections early are rare.
_ROTATIONS = {
    "verify": ("full", "none", "own authority", "default authorities", "none, pinned"),
    "credentials": ("password", "password", "keys", "password", "password and keys", "password", "nothing"),
    "pipelining": ("pipelining", "pipelining", "no pipelining"),
    "client_certificate": (
        *("not required",) * 5,
        "sent",
        *("not required",) * 5,
        "not requested",
        *("not required",) * 5,
        "missing",
        *("not required",) * 5,
        "request unknown",
    ),
    "protocol": ("3.0", "3.0 to 3.2", "3.0", "3.2", "3.0", "3.0 to 3.2", "3.0"),
}

#: Answers to SSLRequest and TLS handshakes after which a connection cannot continue.
REFUSALS = {
    f"{mode}, {what}": Transport(mode, answers, handshakes, alpn)
    for mode in ("require", "prefer", "fallback", "allow")
    for what, answers, handshakes, alpn in (
        ("N", (b"N",), ("done",), "postgresql"),
        ("error", (b"E",), ("done",), "postgresql"),
        ("unknown byte", (b"x",), ("done",), "postgresql"),
        ("end of stream", (b"",), ("done",), "postgresql"),
        ("S and plain text", (b"SR\0\0\0\x08\0\0\0\0",), ("done",), "postgresql"),
        ("N and plain text", (b"NR\0\0\0\x08\0\0\0\0",), ("done",), "postgresql"),
        ("SS", (b"SS",), ("done",), "postgresql"),
        ("TLS fails", (b"S",), ("failed",), "postgresql"),
        ("certificate", (b"S",), ("certificate",), "postgresql"),
        ("another ALPN", (b"S",), ("done",), "http/1.1"),
        ("no ALPN", (b"S",), ("done",), None),
    )
} | {
    "direct, TLS fails": Transport("direct", handshakes=("failed",)),
    "direct, another ALPN": Transport("direct", alpn="http/1.1"),
    "direct, no ALPN": Transport("direct", alpn=None),
}


@dataclass(frozen=True)
class Situation:
    """A policy and the server's side of the transport; see `DIMENSIONS`."""

    channel_binding: str = "prefer"
    require_auth: str | None = None
    transport: Transport = field(default_factory=lambda: Transport("require"))
    channel: Channel = field(default_factory=lambda: Channel(None, _END_POINT))
    verify: str = "full"
    credentials: str = "password"
    pipelining: bool = True
    client_certificate: ClientCertificate = field(default_factory=ClientCertificate)
    protocol: tuple[str, str] = ("3.0", "3.0")

    def config(self) -> Config:
        """Return the configuration under test.

        Raises:
            ConfigError: The combination is impossible; see `is_possible`.
        """
        mode = self.transport.mode
        with_password = self.credentials in ("password", "password and keys")
        with_keys = self.credentials in ("keys", "password and keys")
        enums: dict[str, Any] = {  # by their values
            "tls_mode": {"fallback": "prefer", "direct": "require", "unix": "require"}.get(mode, mode),
            "tls_negotiation": "direct" if mode == "direct" else "postgres",
            "tls_verify": {"full": "full", "own authority": "ca", "default authorities": "ca"}.get(self.verify, "none"),
            "tls_client_cert_mode": "require" if self.client_certificate.required else "allow",
            "channel_binding": self.channel_binding,
            "min_protocol_version": self.protocol[0],
            "max_protocol_version": self.protocol[1],
        }
        return Config(
            host=SOCKET_DIRECTORY if mode == "unix" else HOST,
            user=USER,
            password=PASSWORD if with_password else None,
            scram_client_key=CLIENT_KEY if with_keys else None,
            scram_server_key=SERVER_KEY if with_keys else None,
            scram_max_iterations=ITERATIONS,
            tls_fallback=mode == "fallback",
            tls_root_cert_path="root.crt" if self.verify == "own authority" else None,
            tls_default_roots=self.verify != "own authority",
            tls_pins=(PIN,) if self.verify == "none, pinned" else (),
            tls_client_cert=b"a certificate and its key" if self.client_certificate.given else None,
            channel_binding_type=self.channel.binding_type,
            require_auth=self.require_auth,
            pipelining=self.pipelining,
            **enums,
        )

    def is_possible(self) -> bool:
        """Return False if the documentation of `Config` says that the combination is refused."""
        mode = self.transport.mode
        without_tls = mode in ("disable", "unix")
        return not (
            (self.channel_binding == "require" and without_tls)
            or (self.client_certificate.required and mode == "disable")
            or (self.verify == "none, pinned" and mode not in ("require", "direct", "unix"))
        )

    def describe(self) -> str:
        """Return the values that differ from the defaults."""
        changed = []
        for name, choices in DIMENSIONS.items():
            value = getattr(self, name)
            if value != getattr(_DEFAULT, name):
                labels = {**choices, **REFUSALS} if name == "transport" else choices
                changed.append(f"{name}={next(label for label, known in labels.items() if known == value)!r}")
        return ", ".join(changed) or "defaults"


_DEFAULT = Situation()


def situation(**labels: str) -> Situation:
    """Return a situation from the labels of its values; dimensions without one have their first value."""
    values = {}
    for name, choices in DIMENSIONS.items():
        label = labels.pop(name, None)
        values[name] = next(iter(choices.values())) if label is None else choices[label]
    assert not labels
    return Situation(**values)


def core_product() -> list[Situation]:
    """Return all combinations of the core dimensions, with the others in rotation."""
    found: list[Situation] = []
    for core in product(*(DIMENSIONS[name] for name in _CORE)):
        labels = dict(zip(_CORE, core, strict=True))
        transport = DIMENSIONS["transport"][labels["transport"]]
        if transport.mode in ("disable", "unix") and labels["channel"] != "certificate":
            continue  # without TLS the channel has no effect
        for name, rotation in _ROTATIONS.items():
            labels[name] = rotation[len(found) // _STRIDES[name] % len(rotation)]
        candidate = situation(**labels)
        if not candidate.is_possible():
            candidate = situation(**{**labels, "verify": "full", "client_certificate": "not required"})
        if candidate.is_possible():
            found.append(candidate)
    return found


Pair = tuple[tuple[str, str], tuple[str, str]]


def pairs_of(chosen: Situation) -> set[Pair]:
    """Return the pairs of values that a situation has."""
    labels = [
        (name, next(label for label, value in choices.items() if value == getattr(chosen, name)))
        for name, choices in DIMENSIONS.items()
    ]
    return set(combinations(labels, 2))


def possible_pairs() -> list[Pair]:
    """Return all possible pairs of values of two dimensions; the other dimensions have their default."""
    return [
        ((first, one), (second, two))
        for first, second in combinations(DIMENSIONS, 2)
        for one, two in product(DIMENSIONS[first], DIMENSIONS[second])
        if situation(**{first: one, second: two}).is_possible()
    ]


def every_pair() -> list[Situation]:
    """Return situations with each possible pair, selected greedily: each begins with the first uncovered pair."""
    missing = dict.fromkeys(possible_pairs())
    found = []
    while missing:
        labels = dict(next(iter(missing)))
        for name, choices in DIMENSIONS.items():
            if name not in labels:
                candidates = [label for label in choices if situation(**{**labels, name: label}).is_possible()]
                labels[name] = max(candidates, key=lambda label: _gain(labels, name, label, missing))
        chosen = situation(**labels)
        found.append(chosen)
        for pair in pairs_of(chosen):
            missing.pop(pair, None)
    return found


def _gain(labels: dict[str, str], name: str, label: str, missing: dict[Pair, None]) -> int:
    """Return the number of uncovered pairs that this value adds; `max` prefers the default among equals."""
    order = list(DIMENSIONS)
    count = 0
    for other, value in labels.items():
        pair = ((other, value), (name, label))
        if order.index(other) > order.index(name):
            pair = pair[1], pair[0]
        count += pair in missing
    return count


def refusals() -> list[Situation]:
    """Return situations with a failed negotiation, with and without required channel binding."""
    return [
        Situation(transport=transport, channel_binding=channel_binding)
        for transport in REFUSALS.values()
        for channel_binding in ("prefer", "require")
    ]


def characteristic() -> list[Situation]:
    """Return ordinary situations, which together lead to each kind of session."""
    policies: list[dict[str, str]] = [{}, {"channel_binding": "require"}, {"require_auth": "scram-sha-256"}]
    transports = ("require", "fallback", "allow", "prefer, no TLS")
    return [situation(transport=transport, **policy) for transport in transports for policy in policies]


def all_situations() -> list[Situation]:
    """Return all selections without duplicates."""
    return list(dict.fromkeys([*characteristic(), *every_pair(), *core_product(), *refusals()]))


assert tuple(item.name for item in fields(Situation)) == tuple(DIMENSIONS)
