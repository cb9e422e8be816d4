"""A token, a server that accepts its keys, and a Python process that uses them.

The libraries read their configuration once for each process. So every test runs code in another process, with a
configuration that contains only the tokens of the test.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .installation import run

if TYPE_CHECKING:
    from babar_tls.testing import CertificateAuthority, PostgresServer

PIN = "2468"
WRONG = "1357"
TWO_PIN = "9182"  # of the token "two"
MODULES = [
    Path("/usr/lib", folder, "softhsm/libsofthsm2.so") for folder in ("", "x86_64-linux-gnu", "aarch64-linux-gnu")
]

#: Functions for the code of the tests, whose first argument is the configuration.
PRELUDE = """if True:
    import asyncio, ctypes, gc, json, os, pathlib, threading, traceback
    from babar_tls import AsyncSession, Config, Error, Session

    options, folder = json.loads(sys.argv[1]), sys.argv[2]
    PIN, WRONG, TWO_PIN = sys.argv[3:]
    requests = []

    def read_pin():
        requests.append(1)
        return PIN

    def config(key="rsa", certificate=None, pin=PIN, token="babar", **others):
        uri = f"pkcs11:token={token};object={key}"
        certificate = f"{folder}/{key}.crt" if certificate is None else certificate
        fields = {"tls_client_cert": certificate, "tls_client_key": uri, "tls_client_key_password": pin}
        return Config(**{**options, **fields, **others})

    def who(config):
        with Session.connect(config) as session:
            return session.query("select current_user")[0][0]

    def refused(config):
        try:
            who(config)
        except Error as error:
            shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
            assert not any(pin in shown for pin in (PIN, WRONG, TWO_PIN)), shown
            return [type(error).__name__, error.message, error.remedy]
"""


class World(NamedTuple):
    """A server, a folder with certificates, and the environment in which a token is found."""

    server: PostgresServer
    folder: Path
    environment: dict[str, str]
    site: Path

    def run(self, code: str) -> Any:
        """Run code after the prelude, and return the JSON document that it prints."""
        options = {
            "host": self.server.host,
            "port": self.server.port,
            "user": "app",
            "database": "postgres",
            "tls_root_cert_path": str(self.server.root_cert_path),
            "tls_backend": "gnutls",
            "connect_timeout": 60,
        }
        arguments = (json.dumps(options), str(self.folder), PIN, WRONG, TWO_PIN)
        return json.loads(run(self.site, PRELUDE + code, *arguments, environment=self.environment))


def make_token(folder: Path, module: Path, clients: CertificateAuthority) -> dict[str, str]:
    """Create tokens with keys and certificates, and return the environment in which they are found.

    The key `guarded` requires the PIN for each signature, and its certificate in the token is private. The key `keytwo`
    is in the token `two`, and the others are in the token `babar`.
    """
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    (folder / "pkcs11" / "modules").mkdir(parents=True)
    (folder / "pkcs11" / "modules" / "softhsm2.module").write_text(f"module: {module}\n")
    environment = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf"), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}

    def call(*command: str) -> None:
        env = {**os.environ, **environment}
        done = subprocess.run(  # noqa: S603 - fixed programs
            command, capture_output=True, text=True, check=False, timeout=60, env=env, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stdout + done.stderr

    for token, pin in (("babar", PIN), ("two", TWO_PIN)):
        call("softhsm2-util", "--init-token", "--free", "--label", token, "--so-pin", "87654321", "--pin", pin)

    def add(number: int, name: str, kind: str, token: str, pin: str) -> None:
        client = clients.issue(usage="client", common_name="app", key=kind)  # type: ignore[arg-type]  # a literal
        (folder / f"{name}.crt").write_bytes(client.certificate_pem)
        (folder / "key").write_bytes(client.private_key_pem)
        write = ("p11tool", "--batch", "--login", f"--set-pin={pin}", "--write", f"--label={name}", f"--id=0{number}")
        if name == "guarded":
            guard = ("--mark-always-authenticate", "--mark-private", "--mark-sign")
            call(*write, f"--load-privkey={folder / 'key'}", *guard, f"pkcs11:token={token}")
        else:
            identity = ("--label", name, "--id", f"0{number}")
            call("softhsm2-util", "--import", str(folder / "key"), "--token", token, "--pin", pin, *identity)
        secrecy = ("--mark-private",) if name == "guarded" else ()
        call(*write, f"--load-certificate={folder / name}.crt", *secrecy, f"pkcs11:token={token}")
        (folder / "key").unlink()

    for number, (name, kind) in enumerate((("rsa", "rsa2048"), ("ec", "p256"), ("other", "p256")), 1):
        add(number, name, kind, "babar", PIN)
    add(4, "guarded", "rsa2048", "babar", PIN)
    add(5, "keytwo", "p256", "two", TWO_PIN)
    (folder / "ec.key").write_bytes(clients.issue(usage="client").private_key(password=b"another"))
    (folder / "ec.key").chmod(0o600)
    return environment
