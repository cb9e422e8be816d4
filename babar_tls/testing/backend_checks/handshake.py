"""Checks of the handshake: versions, protocols, groups and cipher suites, and bytes in any fragmentation."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from babar_tls.config import TlsVerify, TlsVersion
from babar_tls.errors import TlsError
from babar_tls.testing.backend_checks._check import Trial, check, raised
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.testing.backend_checks._tls13 import Tls13Server

if TYPE_CHECKING:
    from babar_tls.testing.backend_checks._pair import Pair

_GROUPS = {"x25519": 29, "secp256r1": 23, "secp384r1": 24}
_SIGNALS = (0x00FF, 0x5600)  # RFC 5746 §3.3, RFC 7507: no suites
_CIPHERS = {
    "TLSv1.2": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xC02C),
    "TLSv1.3": ("TLS_AES_256_GCM_SHA384", 0x1302),
}


def _assert_talks(pair: Pair) -> None:
    pair.client.write(b"ping")
    heard = pair.hear()
    assert heard == b"ping", f"the server got {heard!r} for b'ping'"
    pair.say(b"pong")
    read = pair.read()
    assert read == b"pong", f"read {read!r} for b'pong'"


@check()
def each_version(trial: Trial) -> None:
    """A handshake of each version of TLS completes on both sides, and data arrive in both directions."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            assert pair.server_error is None, f"the server's side failed: {pair.server_error}"
            _assert_talks(pair)


@check()
def first_call(trial: Trial) -> None:
    """The first do_handshake() returns False and leaves a ClientHello to be sent; a second one adds nothing."""
    stream = trial.connection()
    finished = stream.do_handshake()
    assert finished is False, f"do_handshake() returned {finished!r} before the server has sent anything"
    hello = stream.data_to_send()
    assert isinstance(hello, bytes), f"data_to_send() returned {type(hello).__name__}"
    assert hello[:1] == b"\x16", f"what is sent first is not a handshake record: {hello[:8]!r}"
    for _ in range(3):
        assert stream.do_handshake() is False, "do_handshake() is complete without an answer"
        assert stream.data_to_send() == b"", "do_handshake() sends more without an answer"


@check()
def drained(trial: Trial) -> None:
    """data_to_send() returns everything, once: a second call returns nothing."""
    for version in trial.versions:
        with trial.case(version):
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


@check()
def byte_by_byte(trial: Trial) -> None:
    """Ciphertext may come in single bytes, with a call between any two."""
    for version in trial.versions:
        with trial.case(version):
            _assert_talks(trial.pair(version=version, fragment=1).handshake())


@check()
def byte_by_byte_at_once(trial: Trial) -> None:
    """Ciphertext may come in single bytes without any other call between them."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version)
            for _ in range(4):
                pair._client_done = pair.client.do_handshake()
                pair._send()
                pair._serve()
                for byte in pair._from_server.read():
                    pair.client.receive_data(bytes([byte]))
            assert pair._client_done, "the handshake is not complete"
            _assert_talks(pair)


@check()
def random_fragments(trial: Trial) -> None:
    """Ciphertext may come in any fragments, of a few bytes or across records."""
    for seed in range(10):
        chance = random.Random(seed)  # noqa: S311 - a repeatable one
        for version in trial.versions:
            with trial.case(f"{version}, seed {seed}"):
                pair = trial.pair(version=version, fragment=lambda: chance.choice((1, 2, 5, 6, 50, 700)))  # noqa: B023
                _assert_talks(pair.handshake())


@check()
def data_behind_finished(trial: Trial) -> None:
    """What the server sends in one piece with its last flight is kept until it is read."""
    if "TLSv1.2" in trial.versions:
        with trial.case("TLSv1.2"):
            pair = trial.pair(version="TLSv1.2")
            for _ in range(4):
                if pair.client.do_handshake():
                    break
                pair._send()
                pair._serve()
                if pair._server_done:
                    pair.server.write(b"early bird")
                pair.client.receive_data(pair._from_server.read())
            read = pair.read()
            assert read == b"early bird", f"read {read!r}"
    if "TLSv1.3" in trial.versions:
        with trial.case("TLSv1.3"):
            stream = trial.connection()
            Tls13Server(trial.world.certificate).connect(stream, behind=b"early bird")
            buffer = memoryview(bytearray(100))
            read = bytes(buffer[: stream.read_into(buffer) or 0])
            assert read == b"early bird", f"read {read!r}"


@check()
def version_range(trial: Trial) -> None:
    """Only versions from min_version to max_version are offered and accepted, also where nothing is verified."""
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
                offered = pair.hello.versions
                assert outcome == "TLSv1.3" or 0x0304 not in offered, "TLS 1.3 is offered"


@check()
def alpn(trial: Trial) -> None:
    """The protocols of `TlsParameters.alpn` are offered, all and in order, and the server's choice is reported."""
    cases: list[tuple[tuple[str, ...], tuple[str, ...], str | None]] = [
        (("postgresql",), ("postgresql",), "postgresql"),
        (("postgresql",), (), None),
        ((), ("postgresql",), None),
        (("other", "postgresql"), ("postgresql", "other"), "postgresql"),
        (("postgresql", "other"), ("other",), "other"),
    ]
    for version in trial.versions:
        for offered, accepted, selected in cases:
            with trial.case(f"{version}, offered {offered}, server has {accepted}"):
                pair = trial.pair(version=version, parameters=trial.parameters(alpn=offered), alpn_protocols=accepted)
                pair.handshake()
                assert tuple(pair.hello.alpn) == offered, f"the ClientHello offers {pair.hello.alpn}"
                assert pair.facts.alpn == selected, f"alpn is {pair.facts.alpn!r}, not {selected!r}"


@check()
def groups(trial: Trial) -> None:
    """Exactly the groups in `TlsParameters.groups` are offered, in that order."""
    trial.needs(groups=("secp384r1",))
    several = [("secp384r1", "x25519")] if trial.capabilities.selects_groups == "list" else []
    choices = [("secp384r1",), ("secp256r1",), *several]
    for wanted in choices:
        with trial.case(", ".join(wanted)):
            pair = trial.pair(NAME, parameters=trial.parameters(groups=wanted)).handshake()
            offered = pair.hello.groups
            assert offered == [_GROUPS[name] for name in wanted], f"offered groups {offered} (numbers of IANA)"


@check()
def ciphers(trial: Trial) -> None:
    """Exactly the suites in `TlsParameters.ciphers` are offered, and only the versions to which they belong."""
    trial.needs(ciphers=(_CIPHERS["TLSv1.2"][0],))
    for version in trial.versions if trial.capabilities.selects_ciphers == "all" else ["TLSv1.2"]:
        name, number = _CIPHERS[version]
        with trial.case(name):
            pair = trial.pair(parameters=trial.parameters(ciphers=(name,))).handshake()
            assert pair.facts.version == version, f"version is {pair.facts.version}"
            hello = pair.hello
            only = 0x0303 if version == "TLSv1.2" else 0x0304
            assert set(hello.versions) <= {only}, f"offered versions {[hex(each) for each in hello.versions]}"
            offered = {each for each in hello.ciphers if each not in _SIGNALS}
            if 0x0304 not in hello.versions:
                offered = {each for each in offered if each >> 8 != 0x13}  # without TLS 1.3 they mean nothing
            assert offered == {number}, f"offered suites {sorted(offered)} (numbers of IANA)"
