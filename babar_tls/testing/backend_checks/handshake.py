"""Checks of the handshake: versions, protocols, groups and cipher suites, and bytes in any fragmentation."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from babar_tls.config import TlsVerify, TlsVersion
from babar_tls.errors import TlsError
from babar_tls.testing.backend_checks._check import Trial, check, raised, same
from babar_tls.testing.backend_checks._pair import read_once
from babar_tls.testing.backend_checks._tls13 import Tls13Server

if TYPE_CHECKING:
    from babar_tls.testing.backend_checks._pair import Pair

_CIPHERS = {
    "TLSv1.2": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xC02C),
    "TLSv1.3": ("TLS_AES_256_GCM_SHA384", 0x1302),
}


def _exchange_data(pair: Pair) -> None:
    assert pair.server_error is None, f"the server's side failed: {pair.server_error}"
    pair.client.write(b"ping")
    same(pair.server_read(), b"ping", "the server received")
    pair.server_write(b"pong")
    same(pair.read(), b"pong", "the client read")


@check(per_version=True)
def each_version(trial: Trial, version: str) -> None:
    """A handshake of each version of TLS completes on both sides, and data arrive in both directions."""
    _exchange_data(trial.pair(version=version).handshake())


@check()
def first_call(trial: Trial) -> None:
    """The first do_handshake() returns False and leaves a ClientHello to be sent; a second one adds nothing."""
    connection = trial.connection()
    finished = connection.do_handshake()
    assert finished is False, f"do_handshake() returned {finished!r} before the server has sent anything"
    hello = connection.data_to_send()
    assert isinstance(hello, bytes), f"data_to_send() returned {type(hello).__name__}"
    assert hello[:1] == b"\x16", f"what is sent first is not a handshake record: {hello[:8]!r}"
    for _ in range(3):
        assert connection.do_handshake() is False, "do_handshake() is complete without an answer"
        assert connection.data_to_send() == b"", "do_handshake() sends more without an answer"


@check(per_version=True)
def drained(trial: Trial, version: str) -> None:
    """data_to_send() returns everything, once: a second call returns nothing."""
    pair = trial.pair(version=version)
    for _ in range(4):
        done = pair.client.do_handshake()
        pair._send()
        assert pair.client.data_to_send() == b"", "the same, or more, is returned again in the handshake"
        pair._serve()
        pair.carry()
        if done:
            break
    pair.client.write(b"x" * 100_000)
    assert len(pair._send()) > 100_000, "data_to_send() after a large write() returned only a part of it"
    assert pair.client.data_to_send() == b"", "the same, or more, is returned again after a write"


@check(per_version=True)
def byte_by_byte(trial: Trial, version: str) -> None:
    """Ciphertext may arrive in single bytes, with a call between any two."""
    _exchange_data(trial.pair(version=version, fragment=1).handshake())


@check(per_version=True)
def byte_by_byte_at_once(trial: Trial, version: str) -> None:
    """Ciphertext may arrive in single bytes without any other call between them."""
    pair = trial.pair(version=version)
    for _ in range(4):
        pair._step()
        for byte in pair._from_server.read():
            pair.client.receive_data(bytes([byte]))
    assert pair._client_done, "the handshake is not complete"
    _exchange_data(pair)


@check(per_version=True, cases={f"seed {seed}": seed for seed in range(10)})
def random_fragments(trial: Trial, version: str, seed: int) -> None:
    """Ciphertext may arrive in any fragments, of a few bytes or across records."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    _exchange_data(trial.pair(version=version, fragment=lambda: chance.choice((1, 2, 5, 6, 50, 700))).handshake())


@check(per_version=True)
def data_behind_finished(trial: Trial, version: str) -> None:
    """Data that the server sends together with its last flight are kept until they are read."""
    if version == "TLSv1.3":
        connection = trial.connection()
        Tls13Server(trial.fixtures.certificate).connect(connection, behind=b"early bird")
    else:
        pair = trial.pair(version=version)
        connection = pair.client
        for _ in range(4):
            if connection.do_handshake():
                break
            pair._send()
            pair._serve()
            if pair._server_done:
                pair.server.write(b"early bird")
            connection.receive_data(pair._from_server.read())
    same(read_once(connection), b"early bird", "the client read")


@check()
def version_range(trial: Trial) -> None:
    """Only versions from min_version to max_version are offered and accepted, also if nothing is verified."""
    for version in TlsVersion:
        trial.needs_version(version.value)
    one, two = TlsVersion.TLSV1_2, TlsVersion.TLSV1_3
    cases: list[tuple[dict[str, Any], str | None, str | None]] = [
        ({}, None, "TLSv1.3"),
        ({"max_version": one}, None, "TLSv1.2"),
        ({"max_version": two}, None, "TLSv1.3"),
        ({"min_version": two}, None, "TLSv1.3"),
        ({"min_version": two}, "TLSv1.2", None),
        ({"max_version": one}, "TLSv1.3", None),
    ]
    for changes, server, outcome in cases:
        for level in (TlsVerify.FULL, TlsVerify.NONE):
            limits = ", ".join(f"{name}={value.value}" for name, value in changes.items()) or "no limits"
            with trial.case(f"{limits}; server: {server or 'any'}; verify={level.value}"):
                pair = trial.pair(version=server, parameters=trial.parameters(**changes, verify=level))
                if outcome is None:
                    raised(TlsError, "handshake without a common version", pair.handshake)
                    continue
                found = pair.handshake().facts.version
                assert found == outcome, f"version is {found!r}, not {outcome}"
                assert outcome == "TLSv1.3" or "TLSv1.3" not in pair.offer.versions, "TLS 1.3 is offered"


@check(per_version=True)
def alpn(trial: Trial, version: str) -> None:
    """The protocols of `TlsParameters.alpn` are offered, all and in order, and the server's choice is reported."""
    cases: list[tuple[tuple[str, ...], tuple[str, ...], str | None]] = [
        (("postgresql",), ("postgresql",), "postgresql"),
        (("postgresql",), (), None),
        ((), ("postgresql",), None),
        (("other", "postgresql"), ("postgresql", "other"), "postgresql"),
        (("postgresql", "other"), ("other",), "other"),
    ]
    for offered, accepted, selected in cases:
        with trial.case(f"offered {offered}, the server accepts {accepted}"):
            pair = trial.pair(version=version, parameters=trial.parameters(alpn=offered), alpn_protocols=accepted)
            pair.handshake()
            assert pair.offer.alpn == offered, f"the ClientHello offers {pair.offer.alpn}"
            assert pair.facts.alpn == selected, f"alpn is {pair.facts.alpn!r}, not {selected!r}"


@check()
def groups(trial: Trial) -> None:
    """Exactly the groups in `TlsParameters.groups` are offered, in that order."""
    trial.needs(groups=("secp384r1",))
    choices: list[tuple[str, ...]] = [("secp384r1",), ("secp256r1",)]
    if trial.capabilities.selects_groups == "list":
        choices.append(("secp384r1", "x25519"))
    for names in choices:
        with trial.case(", ".join(names)):
            pair = trial.pair(parameters=trial.parameters(groups=names)).handshake()
            assert pair.offer.groups == names, f"offered groups {pair.offer.groups}"


@check()
def ciphers(trial: Trial) -> None:
    """Exactly the suites in `TlsParameters.ciphers` are offered, and only the versions to which they belong."""
    trial.needs(ciphers=(_CIPHERS["TLSv1.2"][0],))
    for version in trial.versions if trial.capabilities.selects_ciphers == "all" else ["TLSv1.2"]:
        name, number = _CIPHERS[version]
        with trial.case(name):
            pair = trial.pair(parameters=trial.parameters(ciphers=(name,))).handshake()
            assert pair.facts.version == version, f"version is {pair.facts.version}"
            offer = pair.offer
            assert offer.versions == (version,), f"offered versions {offer.versions}"
            offered = set(offer.ciphers)
            if version == "TLSv1.2":
                offered = {each for each in offered if each >> 8 != 0x13}  # suites of TLS 1.3 have no effect
            assert offered == {number}, f"offered suites {sorted(offered)} (numbers of IANA)"
