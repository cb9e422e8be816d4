"""Checks of the files of a connection: roots, revocation lists, key log, client certificate."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from babar_tls.config import TlsVerify
from babar_tls.errors import ClientCertificateError, ConfigError
from babar_tls.testing.backend_checks._check import Trial, check, raised, refused
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.testing.certificates import CertificateAuthority
from babar_tls.tls.parameters import ClientCertificate

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.backends import TlsParameters
    from babar_tls.testing.backend_checks._pair import Pair
    from babar_tls.testing.certificates import ServerCertificate

_LINE = re.compile(r"#.*|[A-Z0-9_]+ ([0-9a-f]{64}) [0-9a-f]{64,128}")
_UNUSED = ClientCertificate(certificate=b"")
_PASSWORD = "open-sesame-7"  # noqa: S105 - of a key that is made for the check


@check()
def root_file(trial: Trial) -> None:
    """A root file that is missing, empty, garbage, damaged, cut off or a directory is a ConfigError that names it."""
    folder = trial.fixtures.new_folder()
    pem = trial.fixtures.authority.certificate_pem
    contents = {"empty": b"", "garbage": b"\0\xff" * 99, "no certificate": b"hello\n", "damaged": pem[:100] + pem[140:]}
    contents |= {"cut off": pem + pem[: len(pem) // 2], "glued": pem.rstrip() + pem}
    for what, data in contents.items():
        (folder / what).write_bytes(data)
    for path in (folder / "missing", folder, *(folder / what for what in contents)):
        _is_refused_by_name(trial, path, "root_cert_path")


def _is_refused_by_name(trial: Trial, path: Path, field: str) -> None:
    with trial.case(path.name):
        parameters = trial.parameters(**{field: str(path)})
        error = raised(ConfigError, "create_context()", trial.connection, NAME, parameters)
        assert str(path) in str(error), f"the error does not name the file: {error}"


@check()
def root_file_rotates(trial: Trial) -> None:
    """The next connection uses a root file that was replaced or rewritten, and fails if the file is missing."""
    folder = trial.fixtures.new_folder()
    path = folder / "root.crt"
    old, new = trial.fixtures.authority, CertificateAuthority()
    certificates = {old: trial.fixtures.certificate, new: new.issue(NAME)}
    path.write_bytes(old.certificate_pem)
    parameters = trial.parameters(root_cert_path=str(path))
    trial.pair(parameters=parameters).handshake()
    for how, trusted, other in (("replaced", new, old), ("rewritten", old, new)):
        with trial.case(how):
            if how == "replaced":
                (folder / "new").write_bytes(trusted.certificate_pem)
                (folder / "new").replace(path)
            else:
                path.write_bytes(trusted.certificate_pem)
            trial.pair(parameters=parameters, certificate=certificates[trusted]).handshake()
            refused(trial.pair(parameters=parameters, certificate=certificates[other]))
    path.unlink()
    raised(ConfigError, "create_context() without the file", trial.connection, NAME, parameters)


@check()
def revocation(trial: Trial) -> None:
    """Each certificate of the chain needs a current revocation list of its issuer, which does not name it."""
    trial.needs(crl_path="unused")
    root = trial.fixtures.authority
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
    folder = trial.fixtures.new_folder()
    if place == "file":
        (folder / "crl.pem").write_bytes(b"a comment\n".join(lists))
        return {"crl_path": str(folder / "crl.pem")}
    for index, data in enumerate(lists):
        (folder / f"{index:08x}.r{index}").write_bytes(data)
    return {"crl_dir": str(folder)}


def _verdict(trial: Trial, changes: dict[str, str], leaf: ServerCertificate, reason: str | None) -> None:
    for level in (TlsVerify.FULL, TlsVerify.CA):
        pair = trial.pair(certificate=leaf, parameters=trial.parameters(**changes, verify=level))
        with trial.case(f"verify={level.value}"):
            if reason is None:
                pair.handshake()
            else:
                refused(pair, reason)
    trial.pair(certificate=leaf, parameters=trial.parameters(**changes, verify=TlsVerify.NONE)).handshake()


@check()
def revocation_files(trial: Trial) -> None:
    """A file without revocation lists is a ConfigError, and a certificate in such a file is not trusted."""
    trial.needs(crl_path="unused")
    folder = trial.fixtures.new_folder()
    (folder / "empty").write_bytes(b"")
    for path in (folder / "missing", folder / "empty"):
        _is_refused_by_name(trial, path, "crl_path")
    other = CertificateAuthority()
    lists = other.root_pem + other.revocation_list() + trial.fixtures.authority.revocation_list()
    parameters = trial.parameters(crl_path=trial.fixtures.put("lists.pem", lists))
    pair = trial.pair(certificate=other.issue(NAME), parameters=parameters)
    with trial.case("a CA from the file of lists"):
        refused(pair, "untrusted")


@check(per_version=True)
def key_log(trial: Trial, version: str) -> None:
    """Secrets are appended in NSS's format, with the client random, to a file that only its owner can read."""
    trial.needs(key_log_path="unused")
    path = trial.fixtures.new_folder() / "keys"
    parameters = trial.parameters(key_log_path=str(path))
    pairs = [trial.pair(version=version, parameters=parameters).handshake() for _ in range(2)]
    randoms = {pair.hello.random.hex() for pair in pairs}
    text = path.read_text()
    lines = [_LINE.fullmatch(line) for line in text.splitlines()]
    assert all(lines), "a line is not in NSS's format"
    seen = {line[1] for line in lines if line is not None and line[1]}
    assert seen == randoms, f"the log has {len(seen)} client randoms, which are not those of the two connections"
    label = "CLIENT_RANDOM" if version == "TLSv1.2" else "CLIENT_TRAFFIC_SECRET_0"
    assert label in text, f"the log does not have {label}"
    mode = stat.S_IMODE(path.stat().st_mode)
    assert os.name == "nt" or mode == 0o600, f"the file's mode is {mode:o}"
    trial.pair(version=version).handshake()
    assert path.read_text() == text, "connections without a key log are logged"


def _source(trial: Trial, form: str) -> dict[str, Any]:
    """Return the arguments of `ClientCertificate` for the client certificate in a form."""
    client = trial.fixtures.client
    if form == "PKCS #12":
        return {"certificate": client.pkcs12(_PASSWORD.encode()), "password": _PASSWORD}
    if form == "DER":
        return {"certificate": client.certificate_pem, "key": client.private_key(der=True)}
    folder = trial.fixtures.new_folder()
    client.write(folder / "c.crt", folder / "c.key")
    source = {"certificate": str(folder / "c.crt"), "key": str(folder / "c.key")}
    if form == "PEM, encrypted":
        (folder / "c.key").write_bytes(client.private_key(password=_PASSWORD.encode()))
        source["password"] = _PASSWORD
    return source


@check(per_version=True, cases={form: form for form in ("PEM", "PEM, encrypted", "DER", "PKCS #12")})
def client_certificate(trial: Trial, version: str, form: str) -> None:
    """A client certificate reaches the server, from every kind of file."""
    trial.needs(client_certificate=_UNUSED)
    pair = _requesting_pair(trial, version, _presenting(trial, **_source(trial, form))).handshake()
    seen = pair.server.getpeercert(binary_form=True)
    assert seen == trial.fixtures.client.der, "the server received another certificate, or none"


def _presenting(trial: Trial, **source: Any) -> TlsParameters:
    return trial.parameters(client_certificate=ClientCertificate(**source))


def _requesting_pair(trial: Trial, version: str, parameters: TlsParameters) -> Pair:
    return trial.pair(version=version, parameters=parameters, client_ca_pem=trial.fixtures.clients.root_pem)


@check(per_version=True)
def client_certificate_refused(trial: Trial, version: str) -> None:
    """A client certificate that the server refuses is a ClientCertificateError; in TLS 1.3 read_into() raises it."""
    sources: dict[str, TlsParameters] = {"none": trial.parameters()}
    if "PEM" in trial.capabilities.client_keys:
        other = CertificateAuthority().issue(usage="client", common_name="app")
        sources["another CA's"] = _presenting(trial, certificate=other.certificate_pem, key=other.private_key_pem)
    for what, parameters in sources.items():
        with trial.case(what):
            pair = _requesting_pair(trial, version, parameters)
            raised(ClientCertificateError, "handshake, then reading", _connect_and_read, pair)


def _connect_and_read(pair: Pair) -> bytes:
    return pair.handshake().read()


@check()
def client_certificate_files(trial: Trial) -> None:
    """A missing client certificate or key, a key that does not match, or a wrong password is a ConfigError."""
    trial.needs(client_certificate=_UNUSED)
    client, other = trial.fixtures.client, trial.fixtures.clients.issue(usage="client", key="rsa2048")
    missing = str(trial.fixtures.new_folder() / "missing")
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
            error: BaseException | None = raised(
                ConfigError, "create_context()", trial.connection, NAME, _presenting(trial, **source)
            )
            while error is not None:
                text = f"{error!r} {error} {error.args!r}"
                assert _PASSWORD not in text, f"{type(error).__name__} has the key's password"
                error = error.__cause__


@check()
def secrets_stay_secret(trial: Trial) -> None:
    """The repr of the backend, its contexts and its streams shows neither a key nor a password."""
    trial.needs(client_certificate=_UNUSED)
    client = trial.fixtures.client
    key = client.private_key(password=_PASSWORD.encode())
    parameters = _presenting(trial, certificate=client.certificate_pem, key=key, password=_PASSWORD)
    connection = trial.connection(NAME, parameters)
    for thing in (trial.backend, connection._context.context, connection._stream):
        assert _PASSWORD not in f"{thing!r} {thing}", f"the repr of {type(thing).__name__} has the password"
        assert "PRIVATE KEY" not in f"{thing!r}", f"the repr of {type(thing).__name__} has the key"
