"""Checks of a connection's files: roots, revocation lists, key log, client certificate."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from babar_tls.config import TlsVerify
from babar_tls.errors import CertificateError, ClientCertificateError, ConfigError
from babar_tls.testing.backend_checks._check import Trial, check, raised
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.testing.certificates import CertificateAuthority
from babar_tls.tls.parameters import ClientCertificate

if TYPE_CHECKING:
    from babar_tls.backends import TlsParameters
    from babar_tls.testing.certificates import ServerCertificate

_LINE = re.compile(r"#.*|[A-Z0-9_]+ ([0-9a-f]{64}) [0-9a-f]{64,128}")
_UNUSED = ClientCertificate(certificate=b"")
_PASSWORD = "open-sesame-7"  # noqa: S105 - of a key that lives for a second


@check()
def root_file(trial: Trial) -> None:
    """A root file that is missing, empty, garbage, damaged, cut off or a directory is a ConfigError that names it."""
    folder = trial.world.new_folder()
    pem = trial.world.authority.certificate_pem
    contents = {"empty": b"", "garbage": b"\0\xff" * 99, "no certificate": b"hello\n", "damaged": pem[:100] + pem[140:]}
    contents |= {"cut off": pem + pem[: len(pem) // 2], "glued": pem.rstrip() + pem}
    for what, data in contents.items():
        (folder / what).write_bytes(data)
    for path in (folder / "missing", folder, *(folder / what for what in contents)):
        with trial.case(path.name):
            wanted = trial.parameters(root_cert_path=str(path))
            error = raised(ConfigError, "create_context()", trial.connection, NAME, wanted)
            assert str(path) in str(error), f"the error does not name the file: {error}"


@check()
def root_file_rotates(trial: Trial) -> None:
    """A root file that is replaced or rewritten is used by the next connection, and one that is missing is an error."""
    folder = trial.world.new_folder()
    path = folder / "root.crt"
    old, new = trial.world.authority, CertificateAuthority()
    path.write_bytes(old.certificate_pem)
    wanted = trial.parameters(root_cert_path=str(path))
    trial.pair(parameters=wanted).handshake()
    fresh = new.issue(NAME)
    for how in ("replaced", "rewritten"):
        with trial.case(how):
            accepted, refused, root = (fresh, None, new) if how == "replaced" else (None, fresh, old)
            if how == "replaced":
                (folder / "new").write_bytes(root.certificate_pem)
                (folder / "new").replace(path)
            else:
                path.write_bytes(root.certificate_pem)
            trial.pair(parameters=wanted, certificate=accepted or trial.world.certificate).handshake()
            pair = trial.pair(parameters=wanted, certificate=refused or trial.world.certificate)
            raised(CertificateError, "handshake with a certificate of the old root", pair.handshake)
    path.unlink()
    raised(ConfigError, "create_context() when the file is gone", trial.connection, NAME, wanted)


@check()
def revocation(trial: Trial) -> None:
    """Every certificate of the chain must be covered by a current list that does not name it."""
    trial.needs(crl_path="unused")
    root = trial.world.authority
    middle = root.intermediate()
    leaf = middle.issue(NAME)
    now, day = datetime.now(UTC), timedelta(days=1)
    old: dict[str, Any] = {"last_update": now - 9 * day, "next_update": now - day}
    forger = CertificateAuthority()
    forger._certificate = root._certificate
    cases: dict[str, tuple[list[bytes], str | None]] = {
        "all good": ([root.revocation_list(), middle.revocation_list()], None),
        "leaf revoked": ([root.revocation_list(), middle.revocation_list([leaf])], "revoked"),
        "intermediate revoked": ([root.revocation_list([middle]), middle.revocation_list()], "revoked"),
        "only the root's list": ([root.revocation_list()], "crl"),
        "only the intermediate's": ([middle.revocation_list()], "crl"),
        "another CA's": ([CertificateAuthority().revocation_list()], "crl"),
        "expired": ([root.revocation_list(), middle.revocation_list(**old)], "crl"),
        "forged": ([forger.revocation_list(), middle.revocation_list()], "crl"),
    }
    for case, (lists, reason) in cases.items():
        for place in ("file", "directory"):
            with trial.case(f"{case}, in a {place}"):
                _verdict(trial, _lists(trial, place, lists), leaf, reason)


def _lists(trial: Trial, place: str, lists: list[bytes]) -> dict[str, str]:
    folder = trial.world.new_folder()
    if place == "file":
        (folder / "crl.pem").write_bytes(b"a comment\n".join(lists))
        return {"crl_path": str(folder / "crl.pem")}
    for index, data in enumerate(lists):
        (folder / f"{index:08x}.r{index}").write_bytes(data)
    return {"crl_dir": str(folder)}


def _verdict(trial: Trial, changes: dict[str, str], leaf: ServerCertificate, reason: str | None) -> None:
    for level in (TlsVerify.FULL, TlsVerify.CA):
        pair = trial.pair(certificate=leaf, parameters=trial.parameters(**changes, verify=level))
        if reason is None:
            pair.handshake()
            continue
        error = raised(CertificateError, f"handshake with verify={level.value}", pair.handshake)
        assert error.reason == reason, f"reason is {error.reason!r}, not {reason!r}"
    trial.pair(certificate=leaf, parameters=trial.parameters(**changes, verify=TlsVerify.NONE)).handshake()


@check()
def revocation_files(trial: Trial) -> None:
    """A file without revocation lists is a ConfigError, and a certificate in such a file is not trusted."""
    trial.needs(crl_path="unused")
    folder = trial.world.new_folder()
    (folder / "empty").write_bytes(b"")
    for path in (folder / "missing", folder / "empty"):
        with trial.case(path.name):
            error = raised(
                ConfigError, "create_context()", trial.connection, NAME, trial.parameters(crl_path=str(path))
            )
            assert str(path) in str(error), f"the error does not name the file: {error}"
    other = CertificateAuthority()
    lists = other.root_pem + other.revocation_list() + trial.world.authority.revocation_list()
    (folder / "lists").write_bytes(lists)
    wanted = trial.parameters(crl_path=str(folder / "lists"))
    pair = trial.pair(certificate=other.issue(NAME), parameters=wanted)
    fault = raised(CertificateError, "handshake with a CA from the file of lists", pair.handshake)
    assert fault.reason == "untrusted", f"reason is {fault.reason!r}"


@check()
def key_log(trial: Trial) -> None:
    """Secrets are appended in NSS's format, with the client random, to a file that only its owner can read."""
    trial.needs(key_log_path="unused")
    for version in trial.versions:
        with trial.case(version):
            path = trial.world.new_folder() / "keys"
            wanted = trial.parameters(key_log_path=str(path))
            pairs = [trial.pair(version=version, parameters=wanted).handshake() for _ in range(2)]
            randoms = {pair.hello.random.hex() for pair in pairs}
            text = path.read_text()
            lines = [_LINE.fullmatch(line) for line in text.splitlines()]
            assert all(lines), "a line is not in NSS's format"
            seen = {line[1] for line in lines if line is not None and line[1]}
            assert seen == randoms, f"the log is of {len(seen)} connections, or of others, not of the two"
            label = "CLIENT_RANDOM" if version == "TLSv1.2" else "CLIENT_TRAFFIC_SECRET_0"
            assert label in text, f"the log has no {label}"
            mode = stat.S_IMODE(path.stat().st_mode)
            assert os.name == "nt" or mode == 0o600, f"the file's mode is {mode:o}"
            trial.pair(version=version).handshake()
            assert path.read_text() == text, "connections without a key log are logged"


def _source(trial: Trial, client: ServerCertificate, form: str) -> dict[str, Any]:
    if form == "PKCS #12":
        return {"certificate": client.pkcs12(_PASSWORD.encode()), "password": _PASSWORD}
    if form == "DER":
        return {"certificate": client.certificate_pem, "key": client.private_key(der=True)}
    folder = trial.world.new_folder()
    client.write(folder / "c.crt", folder / "c.key")
    if form == "PEM, encrypted":
        (folder / "c.key").write_bytes(client.private_key(password=_PASSWORD.encode()))
        return {"certificate": str(folder / "c.crt"), "key": str(folder / "c.key"), "password": _PASSWORD}
    return {"certificate": str(folder / "c.crt"), "key": str(folder / "c.key")}


@check()
def client_certificate(trial: Trial) -> None:
    """A client certificate reaches the server, from every kind of file."""
    trial.needs(client_certificate=_UNUSED)
    client = trial.world.client
    for version in trial.versions:
        for form in ("PEM", "PEM, encrypted", "DER", "PKCS #12"):
            with trial.case(f"{form}, {version}"):
                pair = _asking(trial, version, _with(trial, **_source(trial, client, form))).handshake()
                seen = pair.server.getpeercert(binary_form=True)
                assert seen == client.der, "the server received another certificate, or none"


def _with(trial: Trial, **source: Any) -> TlsParameters:
    return trial.parameters(client_certificate=ClientCertificate(**source))


def _asking(trial: Trial, version: str, parameters: TlsParameters) -> Any:
    ca = trial.world.clients.root_pem
    return trial.pair(version=version, parameters=parameters, certificate=trial.world.certificate, client_ca_pem=ca)


@check()
def client_certificate_refused(trial: Trial) -> None:
    """A client certificate that the server refuses is a ClientCertificateError, in TLS 1.3 of read_into()."""
    sources: dict[str, TlsParameters] = {"none": trial.parameters()}
    if trial.capabilities.client_certificates:
        other = CertificateAuthority().issue(usage="client", common_name="app")
        sources["another CA's"] = _with(trial, certificate=other.certificate_pem, key=other.private_key_pem)
    for version in trial.versions:
        for what, parameters in sources.items():
            with trial.case(f"{what}, {version}"):
                pair = _asking(trial, version, parameters)
                raised(
                    ClientCertificateError, "handshake, then reading", lambda pair=pair: (pair.handshake(), pair.read())
                )


@check()
def client_certificate_files(trial: Trial) -> None:
    """A client certificate or key that is missing, of another pair, or has another password is a ConfigError."""
    trial.needs(client_certificate=_UNUSED)
    client, other = trial.world.client, trial.world.clients.issue(usage="client", key="rsa2048")
    missing = str(trial.world.new_folder() / "missing")
    good = {"certificate": client.certificate_pem, "key": client.private_key_pem}
    locked = {**good, "key": client.private_key(password=b"another")}
    sources: dict[str, dict[str, Any]] = {
        "missing certificate": {**good, "certificate": missing},
        "missing key": {**good, "key": missing},
        "another's key": {**good, "key": other.private_key_pem},
        "garbage": {**good, "key": b"\0\xff" * 50},
        "wrong password": {**locked, "password": _PASSWORD},
        "no password": locked,
    }
    for what, source in sources.items():
        with trial.case(what):
            error = raised(ConfigError, "create_context()", trial.connection, NAME, _with(trial, **source))
            _keeps_secret(error)


def _keeps_secret(error: BaseException | None) -> None:
    while error is not None:
        assert _PASSWORD not in f"{error!r} {error} {error.args!r}", f"{type(error).__name__} has the key's password"
        error = error.__cause__


@check()
def secrets_stay_secret(trial: Trial) -> None:
    """The repr of the backend, its contexts and its streams shows neither a key nor a password."""
    trial.needs(client_certificate=_UNUSED)
    client = trial.world.client
    key = client.private_key(password=_PASSWORD.encode())
    parameters = _with(trial, certificate=client.certificate_pem, key=key, password=_PASSWORD)
    connection = trial.connection(NAME, parameters)
    for thing in (trial.backend, connection._context.context, connection._stream):
        assert _PASSWORD not in f"{thing!r} {thing}", f"the repr of {type(thing).__name__} has the password"
        assert "PRIVATE KEY" not in f"{thing!r}", f"the repr of {type(thing).__name__} has the key"
