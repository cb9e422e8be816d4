"""Chains for each rule and for each known difference."""

from __future__ import annotations

import dataclasses
import ipaddress

from cryptography import x509

from babar_tls.config.enums import TlsVerify

from .certificates import NAME, SIGN_CERTIFICATES, SIGN_LISTS, Spec, World, below, chain, leaf, root

COM, ORG = (x509.DNSName("example.com"),), (x509.DNSName("example.org"),)
NET = (x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),)
DIRECTORY = (x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])),)
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
POLICIES = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.3.6.1.4.1.99999.2"), None)])
NETSCAPE_CLIENT = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.16.840.1.113730.1.1"), b"\x03\x02\x07\x80")
MALFORMED = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.7"), b"\x05\x00")
PROXY = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), bytes.fromhex("300c300a06082b06010505071501")
)

R, S = root(), root("second root")
I = below(R)  # noqa: E741 - as R for the root
CN_ONLY = {"names": (), "subject": NAME, "key": "server"}
SELF = leaf(None)


def deep(count: int) -> World:
    """Return a chain of this many certificates, including the root."""
    path = [R]
    for index in range(count - 2):
        path.append(below(path[-1], f"intermediate {index}"))
    return chain(leaf(path[-1]), *reversed(path))


def also(world: World, **changes: object) -> World:
    return dataclasses.replace(world, **changes)


def with_root(changed: Spec) -> World:
    return chain(leaf(changed), changed)


def with_intermediate(**fields: object) -> World:
    changed = I.but(**fields)
    return chain(leaf(changed), changed, R)


def self_signed(*trusted: Spec, **fields: object) -> World:
    own = SELF.but(**fields)
    return World(own, (), trusted or (own,))


def forged(anchor: Spec, *sent: Spec, by: Spec | None = None) -> World:
    """Return a chain whose leaf is signed by a trusted certificate that may not sign."""
    return World(leaf(by or anchor, subject="forged", key="forged"), sent, (anchor,))


_RENEWED = R.but(serial=1)
_EXPIRED = R.but(time="past")
_CROSSED = I.but(issuer=S)
_LIMITED = R.but(permitted=ORG)
_RSA = root("RSA root", kind="rsa2048")
_SAME_NAME = R.but(key="second key of the same name")

TABLE: dict[str, World] = {
    # Chains that are good.
    "good": chain(leaf(R), R),
    "by an intermediate": chain(leaf(I), I, R),
    "6 intermediates": deep(8),
    "7 intermediates": deep(9),
    "20 certificates": deep(20),
    "the root is sent too": also(chain(leaf(R), R), sent=(R,)),
    "unordered, with certificates that are not needed": also(chain(leaf(I), I, R), sent=(S, below(S, "other"), R, I)),
    "two leaves": also(chain(leaf(I), I, R), sent=(leaf(S, subject="other"), I)),
    "without key identifiers": chain(leaf(I.but(authority_key="none"), authority_key="none"), I, R),
    "renewed root": also(chain(leaf(R), R), trusted=(_EXPIRED, _RENEWED)),
    "renewed root, in the other order": also(chain(leaf(R), R), trusted=(_RENEWED, _EXPIRED)),
    # Which certificates are anchors.
    "intermediate trusted with its root, not sent": also(chain(leaf(I), I, R), sent=(), trusted=(I, R)),
    "intermediate trusted with its root, sent": also(chain(leaf(I), I, R), trusted=(I, R)),
    "two intermediates trusted with their root, not sent": World(
        leaf(below(I, "lower")), (), (below(I, "lower"), I, R)
    ),
    "intermediate as the only root": also(chain(leaf(I), I, R), trusted=(I,)),
    "intermediate as the only root, not sent": also(chain(leaf(I), I, R), sent=(), trusted=(I,)),
    "intermediate trusted with another root": also(chain(leaf(I), I, R), trusted=(I, S)),
    "intermediate trusted with a root of its issuer's name": World(leaf(I), (), (I, _SAME_NAME)),
    "intermediate trusted with a root of its issuer's name, no identifiers": World(
        leaf(I.but(authority_key="none")), (), (I.but(authority_key="none"), _SAME_NAME)
    ),
    "damaged intermediate trusted with its root": World(leaf(I), (), (I.but(damaged=True), R)),
    "intermediate that may not sign trusted with its root": World(leaf(I), (), (I.but(usage=SIGN_LISTS), R)),
    "intermediate that is not a CA trusted with its root": World(leaf(I), (), (I.but(authority=False), R)),
    "intermediate for clients trusted with its root": World(leaf(I), (), (I.but(purposes=("client",)), R)),
    "expired intermediate trusted with its root": World(leaf(I), (), (I.but(time="past"), R)),
    "expired intermediate trusted with its root, a current one sent": World(leaf(I), (I,), (I.but(time="past"), R)),
    "intermediate trusted with an expired root": World(leaf(I), (), (I, _EXPIRED)),
    "intermediate trusted with a root for clients": World(leaf(I), (), (I, R.but(purposes=("client",)))),
    "intermediate trusted with a root that may not sign": World(leaf(I), (), (I, R.but(usage=SIGN_LISTS))),
    "intermediate trusted with a root that is not a CA": World(leaf(I), (), (I, R.but(authority=False))),
    "intermediate trusted with a root with path length 0": World(
        leaf(below(I, "b")), (), (below(I, "b"), I, R.but(path_length=0))
    ),
    "leaf as the only root": also(chain(leaf(R), R), trusted=(leaf(R),)),
    "leaf trusted with its root": also(chain(leaf(R), R), trusted=(leaf(R), R)),
    "root expired": with_root(_EXPIRED),
    "root expired, another trusted": also(with_root(_EXPIRED), trusted=(_EXPIRED, S)),
    "root not yet valid": with_root(R.but(time="future")),
    "root without keyCertSign": with_root(R.but(usage=SIGN_LISTS)),
    "root without key usage": with_root(R.but(usage=None)),
    "root that is not a CA": with_root(R.but(authority=False, usage=None)),
    "root without basicConstraints": with_root(R.but(authority=None, usage=None)),
    "root without basicConstraints, with keyCertSign": with_root(R.but(authority=None)),
    "root of version 1": with_root(R.but(version=1)),
    "root for clients": with_root(R.but(purposes=("client",))),
    "root for clients, another trusted": also(with_root(R), trusted=(R.but(purposes=("client",)), S)),
    "root for servers": with_root(R.but(purposes=("server", "client"))),
    "root for any purpose": with_root(R.but(purposes=("any",))),
    "root with path length 0": with_root(R.but(path_length=0)),
    "root with path length 0, an intermediate": chain(leaf(I), I, R.but(path_length=0)),
    "root with path length 1, an intermediate": chain(leaf(I), I, R.but(path_length=1)),
    "root with path length 1, two intermediates": chain(leaf(below(I, "b")), below(I, "b"), I, R.but(path_length=1)),
    "root with an unknown critical extension": with_root(R.but(more=((STRANGE, True),))),
    "root with an unknown extension": with_root(R.but(more=((STRANGE, False),))),
    "root with a malformed extension": with_root(R.but(more=((MALFORMED, False),))),
    "root with the extension of proxy certificates": with_root(R.but(more=((PROXY, False),))),
    "root with a damaged signature": with_root(R.but(damaged=True)),
    "self-issued root that another key has signed": with_root(R.but(signer="another")),
    # Server's certificates that are trusted themselves.
    "self-signed and trusted": self_signed(),
    "self-signed and trusted, twice": self_signed(SELF.but(serial=1), SELF),
    "self-signed and trusted, with no extensions but names": self_signed(authority=None, usage=None, purposes=None),
    "self-signed, expired": self_signed(time="past"),
    "self-signed for clients": self_signed(purposes=("client",)),
    "self-signed CA certificate as the server's": self_signed(authority=True, usage=None),
    "self-signed, not trusted": self_signed(R),
    "self-signed, renewed and not trusted": self_signed(SELF.but(serial=1)),
    "self-signed of version 1": self_signed(version=1, **CN_ONLY),
    "forged by a trusted server": forged(SELF),
    "forged by a trusted server, whose certificate is sent": forged(SELF, SELF),
    "forged by a trusted server without basicConstraints": forged(SELF.but(authority=None, usage=None)),
    "forged by a trusted server with an intermediate": forged(SELF, below(SELF), by=below(SELF)),
    "forged by a trusted leaf that a root has issued": also(forged(leaf(R), by=leaf(R)), trusted=(leaf(R), R)),
    "forged by a sent leaf": World(leaf(leaf(R), subject="forged", key="forged"), (leaf(R),), (R,)),
    "trusted server with a certificate it has issued": World(SELF, (leaf(SELF, subject="forged"),), (SELF,)),
    # Intermediates.
    "intermediate expired": with_intermediate(time="past"),
    "intermediate not yet valid": with_intermediate(time="future"),
    "intermediate without keyCertSign": with_intermediate(usage=SIGN_LISTS),
    "intermediate without key usage": with_intermediate(usage=None),
    "intermediate that is not a CA": with_intermediate(authority=False),
    "intermediate without basicConstraints": with_intermediate(authority=None),
    "intermediate of version 1": with_intermediate(version=1),
    "intermediate for clients": with_intermediate(purposes=("client",)),
    "intermediate for any purpose": with_intermediate(purposes=("any",)),
    "intermediate with a malformed extension": with_intermediate(more=((MALFORMED, False),)),
    "intermediate with the extension of proxy certificates": with_intermediate(more=((PROXY, False),)),
    "intermediate with path length 0": with_intermediate(path_length=0),
    "intermediate with path length 0, another below": chain(
        leaf(below(I.but(path_length=0), "b")), below(I.but(path_length=0), "b"), I.but(path_length=0), R
    ),
    "intermediate with a damaged signature": with_intermediate(damaged=True),
    "intermediate missing": also(chain(leaf(I), I, R), sent=()),
    "intermediate with another's key identifier": with_intermediate(authority_key="wrong"),
    "cross-signed, the first path is trusted": World(leaf(I), (I, _CROSSED), (R,)),
    "cross-signed, the second path is trusted": World(leaf(I), (I, _CROSSED), (S,)),
    "cross-signed, only the second path is sent": World(leaf(I), (_CROSSED,), (S,)),
    # Name constraints.
    "within permitted names": with_intermediate(permitted=COM),
    "outside permitted names": with_intermediate(permitted=ORG),
    "within excluded names": with_intermediate(excluded=COM),
    "outside excluded names": with_intermediate(excluded=ORG),
    "one name outside permitted names": chain(
        leaf(I.but(permitted=COM), names=(NAME, "x.org")), I.but(permitted=COM), R
    ),
    "constraints of addresses only": with_intermediate(permitted=NET),
    "constraints of directory names": with_intermediate(permitted=DIRECTORY),
    "outside what the root permits": with_root(_LIMITED),
    "outside what the root permits, by an intermediate": chain(
        leaf(I.but(issuer=_LIMITED)), I.but(issuer=_LIMITED), _LIMITED
    ),
    "outside what the root permits, its intermediate trusted": World(leaf(I), (), (I, _LIMITED)),
    "within what the root permits, its intermediate trusted": World(leaf(I), (), (I, R.but(permitted=COM))),
    "root constrains addresses, its intermediate trusted": World(leaf(I), (), (I, R.but(permitted=NET))),
    "outside what the trusted intermediate permits": World(leaf(I), (), (I.but(permitted=ORG), R)),
    "common name outside permitted names": chain(
        leaf(I.but(permitted=ORG), **CN_ONLY), I.but(permitted=ORG), R, common_name=True
    ),
    "common name within permitted names": chain(
        leaf(I.but(permitted=COM), **CN_ONLY), I.but(permitted=COM), R, common_name=True
    ),
    "common name outside permitted names, no name is compared": chain(
        leaf(I.but(permitted=ORG), **CN_ONLY), I.but(permitted=ORG), R, common_name=True, verify=TlsVerify.CA
    ),
    "common name outside permitted names, and not compared": chain(
        leaf(I.but(permitted=ORG), **CN_ONLY), I.but(permitted=ORG), R, verify=TlsVerify.CA
    ),
    "common name only": chain(leaf(R, **CN_ONLY), R),
    "common name only, by libpq's rules": chain(leaf(R, **CN_ONLY), R, common_name=True),
    # The server's certificate.
    "expired": chain(leaf(R, time="past"), R),
    "not yet valid": chain(leaf(R, time="future"), R),
    "for clients": chain(leaf(R, purposes=("client",)), R),
    "for any purpose": chain(leaf(R, purposes=("any",)), R),
    "without purposes": chain(leaf(R, purposes=None), R),
    "key usage for certificates only": chain(leaf(R, usage=SIGN_CERTIFICATES), R),
    "without key usage": chain(leaf(R, usage=None), R),
    "Netscape type for clients": chain(leaf(R, more=((NETSCAPE_CLIENT, False),)), R),
    "authority as the server": chain(leaf(R, authority=True), R),
    "version 1": chain(leaf(R, version=1, **CN_ONLY), R, common_name=True),
    "another's key identifier": chain(leaf(R, authority_key="wrong"), R),
    "damaged signature": chain(leaf(R, damaged=True), R),
    "signed by another key": chain(leaf(R, signer="another"), R),
    "signed by a root of the same name": World(leaf(_SAME_NAME), (), (R,)),
    "signed by the second root of the same name": World(leaf(_SAME_NAME), (), (R, _SAME_NAME)),
    "the same without identifiers": World(leaf(_SAME_NAME, authority_key="none"), (), (R, _SAME_NAME)),
    "unknown authority": World(leaf(S), (), (R,)),
    "unknown authority, which sends its root": World(leaf(S), (S,), (R,)),
    "critical certificate policies": chain(leaf(R, more=((POLICIES, True),)), R),
    "unknown critical extension": chain(leaf(R, more=((STRANGE, True),)), R),
    # Algorithms.
    "RSA of 1024 bits": chain(leaf(R, kind="rsa1024", key="weak"), R),
    "root with RSA of 1024 bits": with_root(R.but(kind="rsa1024", key="weak root")),
    "SHA-1": chain(leaf(R, hash="sha1"), R),
    "SHA-224": chain(leaf(R, hash="sha224"), R),
    "SHA3-256": chain(leaf(_RSA, hash="sha3-256"), _RSA),
    "intermediate signed with SHA-1": with_intermediate(hash="sha1"),
    "root signed with SHA-1": with_root(R.but(hash="sha1")),
    "Ed25519": chain(leaf(R, kind="ed25519", key="edwards"), R),
}

#: What an attacker, or a CA that may not, could do if webpki were given the root file as it is.
ATTACKS = (
    "forged by a trusted server",
    "forged by a trusted server, whose certificate is sent",
    "forged by a trusted server without basicConstraints",
    "forged by a trusted server with an intermediate",
    "forged by a trusted leaf that a root has issued",
    "self-signed, renewed and not trusted",
    "root that is not a CA",
    "root expired",
    "root not yet valid",
    "root without keyCertSign",
    "root for clients",
    "root for clients, another trusted",
    "common name outside permitted names",
    "outside what the root permits, its intermediate trusted",
)
