"""Checks of what an engine says of itself, and of what it refuses because it cannot do it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from babar_tls.backends import Capabilities
from babar_tls.config import TlsVerify, TlsVersion
from babar_tls.errors import ConfigError
from babar_tls.testing.backend_checks._check import Trial, check, needs, raised, require
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.parameters import ClientCertificate

if TYPE_CHECKING:
    from collections.abc import Iterator

_BINDINGS = {"tls-server-end-point", "tls-unique", "tls-exporter"}


@check()
def capabilities(trial: Trial) -> None:
    """Capabilities are complete, of the right types, and the same each time."""
    stated = trial.capabilities
    require(isinstance(stated, Capabilities), f"capabilities() returns {type(stated).__name__}")
    require(stated == trial.backend.capabilities, "capabilities() answers differently the second time")
    require(isinstance(stated.version, str) and stated.version, "version is empty")
    versions = list(stated.tls_versions)
    require(versions, "tls_versions is empty")
    require(all(isinstance(each, TlsVersion) for each in versions), "tls_versions holds something else than TlsVersion")
    require(versions == [each for each in TlsVersion if each in versions], "tls_versions is not in order, oldest first")
    unknown = set(stated.channel_bindings) - _BINDINGS
    require(not unknown, f"channel_bindings holds {sorted(unknown)}; there are {sorted(_BINDINGS)}")
    require(stated.selects_groups in ("no", "one", "list"), f"selects_groups is {stated.selects_groups!r}")
    require(stated.selects_ciphers in ("no", "TLSv1.2", "all"), f"selects_ciphers is {stated.selects_ciphers!r}")
    require(stated.fips in (True, False, None), f"fips is {stated.fips!r}")
    require(stated.unverified_proven in (True, False), f"unverified_proven is {stated.unverified_proven!r}")
    name = getattr(trial.backend, "name", None)
    require(isinstance(name, str) and name, f"the engine's name is {name!r}")


@check()
def wrap_does_nothing(trial: Trial) -> None:
    """A new stream has sent nothing, is a `TlsConnection`, and each is its own."""
    first, second = trial.wrap(), trial.wrap()
    require(isinstance(first, TlsConnection), f"wrap() returns {type(first).__name__}, which is no TlsConnection")
    require(first is not second, "wrap() returns the same stream twice")
    require(first.peer_closed is False, "peer_closed is set on a new stream")
    require(first.possession_proven is False, "possession_proven is set on a new stream")
    require(first.data_to_send() == b"", "there is data to send before do_handshake()")


def _unsupported(trial: Trial) -> Iterator[tuple[str, dict[str, Any]]]:
    stated = trial.capabilities
    if not stated.crls:
        path = trial.world.put("unused.crl", trial.world.authority.revocation_list())
        yield "crls", {"crl_path": path}
        yield "crls", {"crl_dir": str(trial.world.new_folder())}
    if not stated.key_log:
        yield "key_log", {"key_log_path": str(trial.world.new_folder() / "keys")}
    if not stated.os_roots:
        yield "os_roots", {"os_roots": True, "default_roots": True, "root_cert_path": None}
    if not stated.client_keys:
        client = trial.world.client
        source = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
        yield "client_keys", {"client_certificate": source}
    if stated.selects_groups == "no":
        yield "selects_groups", {"groups": ("secp256r1",)}
    if stated.selects_groups == "one":
        yield "selects_groups", {"groups": ("secp256r1", "x25519")}
    if stated.selects_ciphers == "no":
        yield "selects_ciphers", {"ciphers": ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)}
    if stated.selects_ciphers == "TLSv1.2":
        yield "selects_ciphers", {"ciphers": ("TLS_AES_128_GCM_SHA256",)}
    for version in TlsVersion:
        if version not in stated.tls_versions:
            yield "tls_versions", {"min_version": version, "max_version": version}


@check()
def refusals(trial: Trial) -> None:
    """What the capabilities say that the engine cannot do is refused by wrap() with a ConfigError, never ignored."""
    cases = list(_unsupported(trial))
    needs(cases, "the engine says that it can do everything")
    for capability, changes in cases:
        names = ", ".join(changes)
        with trial.case(f"{capability} is denied"):
            error = raised(
                ConfigError, f"wrap() with {names}", trial.wrap, "db.example.com", trial.parameters(**changes)
            )
            require(error.message, "the ConfigError has no message")


@check()
def unknown_choices(trial: Trial) -> None:
    """A key-exchange group or cipher suite that does not exist is refused by wrap() with a ConfigError."""
    for field in ("groups", "ciphers"):
        with trial.case(field):
            wanted = trial.parameters(**{field: ("no-such-thing",)})
            raised(ConfigError, f"wrap() with {field}=('no-such-thing',)", trial.wrap, "db.example.com", wanted)


@check()
def name_needed(trial: Trial) -> None:
    """Full verification without a name is refused by wrap(), not waved through; the lower levels need no name."""
    raised(ConfigError, "wrap() without a name, to verify one", trial.wrap, None)
    for level in (TlsVerify.CA, TlsVerify.NONE):
        with trial.case(f"verify={level.value}"):
            trial.pair(None, parameters=trial.parameters(verify=level)).handshake()


@check()
def parameters_are_left_alone(trial: Trial) -> None:
    """An equal value of parameters makes an equal connection, and different ones are not mistaken for each other."""
    strict, lax = trial.parameters(), trial.parameters(verify=TlsVerify.CA)
    before = dataclasses.astuple(strict)
    for wanted, good in ((strict, False), (lax, True), (trial.parameters(), False)):
        pair = trial.pair("other.example.com", parameters=wanted)
        with trial.case(f"verify={wanted.verify.value}"):
            if good:
                pair.handshake()
            else:
                raised(Exception, "handshake with a server of another name", pair.handshake)
    require(dataclasses.astuple(strict) == before, "the parameters were changed")
