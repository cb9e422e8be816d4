"""Where the verdict of rustls is not OpenSSL's. The names are those of the table in docs/backends.md.

A leniency is not a predicate of chains, which could excuse too much. It is a change to the certificates that removes
what rustls ignores: rustls may accept a chain only if OpenSSL accepts it after these changes.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from babar_tls.config.enums import TlsVerify

from .certificates import SIGN_CERTIFICATES, SIGN_HANDSHAKES, Spec, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NETSCAPE_TYPE = "2.16.840.1.113730.1.1"
#: Extensions that OpenSSL reads and webpki does not: Netscape type, IP address blocks, AS numbers, proxy certificate.
_UNREAD = (_NETSCAPE_TYPE, "1.3.6.1.5.5.7.1.7", "1.3.6.1.5.5.7.1.8", "1.3.6.1.5.5.7.1.14")
_WEAK_HASHES = ("sha224", "sha3-256")


class Leniency(NamedTuple):
    """What rustls ignores: its name in the documentation, and the world without it."""

    name: str
    forgive: Callable[[World], World]


class Strictness(NamedTuple):
    """What only rustls refuses: its name, a part of the error, and whether a world has it."""

    name: str
    text: str
    applies: Callable[[World], bool]


def _changed(world: World, change: Callable[[Spec], Spec], *places: str) -> World:
    changed = {}
    for place in places:
        found = getattr(world, place)
        changed[place] = change(found) if isinstance(found, Spec) else tuple(map(change, found))
    return dataclasses.replace(world, **changed)


def _let_sign(spec: Spec) -> Spec:
    return spec.but(usage=SIGN_CERTIFICATES) if spec.usage is not None and spec.authority else spec


def _let_serve(spec: Spec) -> Spec:
    other = tuple(one for one in spec.more if one[0].oid.dotted_string != _NETSCAPE_TYPE)
    return spec.but(usage=SIGN_HANDSHAKES if spec.usage is not None else None, more=other)


def _without_criticality(spec: Spec) -> Spec:
    return spec.but(more=tuple((value, False) for value, _ in spec.more))


def _without_unread(spec: Spec) -> Spec:
    return spec.but(more=tuple(one for one in spec.more if one[0].oid.dotted_string not in _UNREAD))


def _without_common_name(world: World) -> World:
    return dataclasses.replace(world, common_name=False) if world.verify is TlsVerify.CA else world


def _with_identifiers(spec: Spec) -> Spec:
    return spec.but(authority_key="none") if spec.authority_key == "wrong" and not spec.is_self_signed else spec


LENIENCIES = (
    Leniency("keyUsage of intermediates", lambda world: _changed(world, _let_sign, "sent")),
    Leniency("usage of the server's certificate", lambda world: _changed(world, _let_serve, "leaf")),
    Leniency(
        "path length of an anchor",
        lambda world: _changed(world, lambda spec: spec.but(path_length=None), "trusted"),
    ),
    Leniency("critical extensions of an anchor", lambda world: _changed(world, _without_criticality, "trusted")),
    Leniency(
        "extensions of CAs that webpki does not read",
        lambda world: _changed(world, _without_unread, "sent", "trusted"),
    ),
    Leniency("authorityKeyIdentifier", lambda world: _changed(world, _with_identifiers, "leaf", "sent")),
    Leniency("common names that are not compared", _without_common_name),
)
#: OpenSSL looks at one path. rustls may accept if OpenSSL accepts without certificates that lead it astray.
EVERY_PATH = "every path is tried"


def forgiven(world: World) -> World:
    """Return the world without anything that rustls ignores."""
    for leniency in LENIENCIES:
        world = leniency.forgive(world)
    return world


def smaller(world: World) -> Iterator[World]:
    """Yield the world with fewer certificates, the largest first."""
    sent, trusted = world.sent, world.trusted
    for count in range(len(sent) + len(trusted)):
        for left_out in itertools.combinations(range(len(sent) + len(trusted)), count + 1):
            yield dataclasses.replace(
                world,
                sent=tuple(spec for index, spec in enumerate(sent) if index not in left_out),
                trusted=tuple(spec for index, spec in enumerate(trusted) if index + len(sent) not in left_out),
            )


def _constrains_directory_names(world: World) -> bool:
    return any(
        isinstance(name, x509.DirectoryName) for spec in world.certificates for name in spec.permitted + spec.excluded
    )


def _trusts_intermediate_of_constrained_issuer(world: World) -> bool:
    constrained = {spec.subject for spec in world.trusted if spec.permitted or spec.excluded}
    return any(not spec.is_self_signed and spec.issuer.subject in constrained for spec in world.trusted if spec.issuer)


def _names_trusted_server_as_issuer(world: World) -> bool:
    servers = {spec.subject for spec in world.trusted if spec.is_self_signed and not _may_sign(spec)}
    others = [spec for spec in (world.leaf, *world.sent) if not (spec.is_self_signed and spec in world.trusted)]
    return any((spec.issuer or spec).subject in servers for spec in others)


def _may_sign(spec: Spec) -> bool:
    if spec.version == 1:
        return True
    usage = spec.usage is None or "key_cert_sign" in spec.usage
    return usage and (spec.authority is True or (spec.authority is None and spec.usage is not None))


STRICTNESSES = (
    Strictness("more than six intermediates", "certificate chain too long", lambda world: len(world.sent) > 6),
    Strictness("CA:TRUE of the server's certificate", "(CA:TRUE)", lambda world: world.leaf.authority is True),
    Strictness("X.509 version 1", "version 1", lambda world: world.leaf.version == 1),
    Strictness(
        "common names",
        "only a common name",
        lambda world: world.common_name and not world.leaf.names,
    ),
    Strictness(
        "critical extensions such as certificate policies",
        "unhandled critical extension",
        lambda world: any(critical for spec in world.certificates for _, critical in spec.more),
    ),
    Strictness("constraints of directory names", "permitted subtree violation", _constrains_directory_names),
    Strictness(
        "intermediates of a constrained CA",
        "unable to get local issuer certificate",
        _trusts_intermediate_of_constrained_issuer,
    ),
    Strictness("issuers of a trusted server's name", "invalid CA certificate", _names_trusted_server_as_issuer),
    Strictness(
        "signatures with SHA-224 or SHA-3",
        "rustls cannot verify signatures",
        lambda world: any(spec.hash in _WEAK_HASHES for spec in world.certificates),
    ),
)

NAMES = [EVERY_PATH, *(one.name for one in LENIENCIES), *(one.name for one in STRICTNESSES)]
