"""Client keys in PKCS #11 tokens: SoftHSM, GnuTLS, and a PostgreSQL server with the method `cert`.

The libraries read their configuration once for each process. So every test runs code in another process, with a
configuration that contains only a token of the test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

pytest.importorskip("cryptography")

from babar_tls.testing import CertificateAuthority, PostgresServer

from .installation import needs_example, run

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_example

PIN = "2468"
WRONG = "1357"
MODULES = [
    Path("/usr/lib", folder, "softhsm/libsofthsm2.so") for folder in ("", "x86_64-linux-gnu", "aarch64-linux-gnu")
]

#: Functions for the code of the tests, whose first argument is the configuration.
PRELUDE = """if True:
    import asyncio, ctypes, gc, json, os, pathlib, threading, traceback
    from babar_tls import AsyncSession, Config, Error, Session

    options, folder = json.loads(sys.argv[1]), sys.argv[2]
    PIN, WRONG = sys.argv[3], sys.argv[4]
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
            assert PIN not in shown and WRONG not in shown, shown
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
        arguments = (json.dumps(options), str(self.folder), PIN, WRONG)
        return json.loads(run(self.site, PRELUDE + code, *arguments, environment=self.environment))


@pytest.fixture(scope="module")
def world(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    module = next(filter(Path.exists, MODULES), None)
    if module is None or shutil.which("softhsm2-util") is None or shutil.which("p11tool") is None:
        text = "needs SoftHSM and p11tool (Debian: softhsm2, gnutls-bin)"
        if os.environ.get("BABAR_TLS_TEST_SOFTHSM") == "require":
            pytest.fail(text)
        pytest.skip(text)
    folder = tmp_path_factory.mktemp("token")
    clients = CertificateAuthority()
    environment = make_token(folder, module, clients)
    with PostgresServer(
        roles={"app": None},
        hba=["hostssl all all all cert"],
        settings={"ssl_ca_file": "clients.crt"},
        files={"clients.crt": clients.root_pem},
    ) as server:
        yield World(server, folder, environment, installed)


def make_token(folder: Path, module: Path, clients: CertificateAuthority) -> dict[str, str]:
    """Create a token with keys and certificates, and return the environment in which it is found."""
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

    call("softhsm2-util", "--init-token", "--free", "--label", "babar", "--so-pin", "87654321", "--pin", PIN)
    for number, (name, kind) in enumerate((("rsa", "rsa2048"), ("ec", "p256"), ("other", "p256")), 1):
        client = clients.issue(usage="client", common_name="app", key=kind)  # type: ignore[arg-type]  # a literal
        (folder / f"{name}.crt").write_bytes(client.certificate_pem)
        (folder / "key").write_bytes(client.private_key_pem)
        identity = ("--label", name, "--id", f"0{number}")
        call("softhsm2-util", "--import", str(folder / "key"), "--token", "babar", "--pin", PIN, *identity)
        write = ("--write", f"--load-certificate={folder / name}.crt", f"--label={name}", f"--id=0{number}")
        call("p11tool", "--batch", "--login", f"--set-pin={PIN}", *write, "pkcs11:token=babar")
        (folder / "key").unlink()
    (folder / "ec.key").write_bytes(clients.issue(usage="client").private_key(password=b"another"))
    (folder / "ec.key").chmod(0o600)
    return environment


@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_key_in_a_token_logs_in(world: World, key: str) -> None:
    """With the certificate from a file, from memory and from the token; in TLS 1.2 and 1.3."""
    found = world.run(f"""
    key, path = {key!r}, f"{{folder}}/{key}.crt"
    sources = path, pathlib.Path(path).read_bytes(), f"pkcs11:token=babar;object={{key}};type=cert"
    found = []
    for version in ("TLSv1.2", "TLSv1.3"):
        for source in sources:
            versions = {{"tls_min_version": version, "tls_max_version": version}}
            found.append(who(config(key, source, read_pin, **versions)))
    string = config(key).to_conninfo()
    found.append(who(Config.from_conninfo(string, environ={{}})))
    print(json.dumps(found))
    """)
    assert found == ["app"] * 7


@pytest.mark.parametrize(
    ("changes", "message", "remedy"),
    [
        ('token="missing"', 'private key "pkcs11:token=missing;object=rsa": the token was not found', "--list-tokens"),
        ('"missing", f"{folder}/rsa.crt"', 'object=missing": the token has no such private key', "--list-privkeys"),
        ('"rsa", "pkcs11:token=babar;object=missing"', "the token has no such certificate", "--list-all-certs"),
        ('"rsa", f"{folder}/ec.crt"', "key values mismatch", "tls_client_cert"),
        ('"other", f"{folder}/ec.crt"', "key values mismatch", "tls_client_cert"),
        ("pin=None", "requires the PIN of its token", "tls_client_key_password"),
        ('pin="x" * 256', "the PIN is too long", "tls_client_key_password"),
        ('pin="2468" + chr(0)', "contains a NUL", "tls_client_key_password"),
        ('pin="1"', "the token refused the PIN", "tls_client_key_password"),
    ],
)
def test_unusable_token_is_a_configuration_error(world: World, changes: str, message: str, remedy: str) -> None:
    """The error is the same every time, and the right key still works then."""
    first, again, name = world.run(f"""
    first = refused(config({changes}))
    for _ in range(5):
        again = refused(config({changes}))
    gc.collect()
    print(json.dumps([first, again, who(config("ec"))]))
    """)
    assert first[0] == "ConfigError"
    assert message in first[1]
    assert remedy in first[2]
    assert "PIN before" in again[1] if "refused the PIN" in message else again == first
    assert name == "app"


def test_wrong_pin_is_tried_once(world: World) -> None:
    """Neither threads nor later connects try it again. The right PIN is still accepted."""
    found = world.run("""
    from babar_tls_gnutls import _pkcs11
    tries = []

    class Marks(set):
        def add(self, mark):
            tries.append(mark)
            super().add(mark)

    _pkcs11._refused_pins = Marks()
    errors = []
    wrong = [config(key, pin=pin) for key in ("rsa", "ec") for pin in (WRONG, WRONG.encode(), lambda: WRONG)]
    threads = [threading.Thread(target=lambda each=each: errors.append(refused(each))) for each in wrong]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([errors, len(tries), who(config(pin=read_pin)), len(requests)]))
    """)
    errors, tries, name, requests = found
    texts = sorted(message.partition(": ")[2] for _, message, _ in errors)
    assert texts == [
        "the token refused the PIN",
        *["the token refused this PIN before, and it was not tried again"] * 5,
    ]
    assert (tries, name, requests) == (1, "app", 1)


def test_exception_of_a_pin_callable_is_reported(world: World) -> None:
    found = world.run("""
    async def asynchronous():
        return PIN

    def interrupted():
        raise KeyboardInterrupt

    try:
        who(config(pin=interrupted))
        found = None
    except KeyboardInterrupt:
        found = "interrupted"
    print(json.dumps([refused(config(pin=lambda: 1 / 0)), refused(config(pin=asynchronous)), found, who(config())]))
    """)
    assert found[0][0] == "PasswordUnavailable"
    assert "tls_client_key_password raised ZeroDivisionError" in found[0][1]
    assert found[1][0] == "ConfigError"
    assert "returned an awaitable" in found[1][1]
    assert found[2:] == ["interrupted", "app"]


def test_password_of_a_key_file_is_not_in_the_traceback(world: World) -> None:
    found = world.run("""
    print(json.dumps(refused(config("ec", pin=WRONG, tls_client_key=f"{folder}/ec.key"))))
    """)
    assert "the password is wrong" in found[1]


def test_concurrent_connects_request_the_pin_once(world: World) -> None:
    """In threads and in tasks. A token is logged in for the whole process, so that a login is shared."""
    found = world.run("""
    async def ask(key):
        async with await AsyncSession.connect(config(key, pin=read_pin)) as session:
            return (await session.query("select current_user"))[0][0]

    async def ask_all():
        return await asyncio.gather(*map(ask, ["rsa", "ec", "other"] * 4))

    names = []
    threads = [threading.Thread(target=lambda: names.append(who(config(pin=read_pin)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    names += asyncio.run(ask_all())
    for thread in threads:
        thread.join()
    print(json.dumps([sorted(set(names)), len(names), len(requests)]))
    """)
    assert found == [["app"], 18, 1]


def test_child_process_opens_the_token_again(world: World) -> None:
    found = world.run("""
    before = [who(config(key)) for key in ("rsa", "ec")]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, json.dumps([who(config(key)) for key in ("ec", "rsa", "other")]).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        inside = json.load(pipe)
    os.waitpid(child, 0)
    print(json.dumps([*before, *inside, *(who(config(key)) for key in ("rsa", "ec", "other"))]))
    """)
    assert found == ["app"] * 8


def test_key_is_opened_again_after_its_sessions_have_ended(world: World) -> None:
    """As after the token was removed and inserted. The PIN is requested again, and a wrong one is tried once."""
    found = world.run(f"""
    module = ctypes.CDLL({str(next(filter(Path.exists, MODULES)))!r})  # p11-kit has loaded the same instance

    def end_sessions():
        slots, count = (ctypes.c_ulong * 8)(), ctypes.c_ulong(8)
        module.C_GetSlotList(ctypes.c_ubyte(1), slots, ctypes.byref(count))
        for slot in slots[: count.value]:
            module.C_CloseAllSessions(ctypes.c_ulong(slot))

    good = config(pin=read_pin)
    names = [who(good)]
    for _ in range(3):
        end_sessions()
        names.append(refused(good) or who(good))
        names.append(who(good))
    used = len(requests)
    PIN = "9753"
    end_sessions()
    errors = [refused(good) for _ in range(3)]
    print(json.dumps([names, used, errors, len(requests) - used]))
    """)
    names, used, errors, requests = found
    assert names[0] == "app"
    assert names[2::2] == ["app"] * 3
    assert used == 4, names
    assert "the token refused the PIN" in errors[0][1]
    assert "refused this PIN before" in errors[1][1]
    assert requests == 3


def test_removed_token_is_a_configuration_error(world: World) -> None:
    """First the handshake fails, and then the token is not found."""
    errors = world.run("""
    who(config())
    tokens = pathlib.Path(folder, "tokens")
    away = tokens.rename(tokens.with_name("away"))
    try:
        errors = [refused(config()) for _ in range(2)]
    finally:
        away.rename(tokens)
    print(json.dumps(errors))
    """)
    for name, message, remedy in errors:
        assert name == "ConfigError"
        assert 'could not use private key "pkcs11:token=babar;object=rsa"' in message
        assert remedy.startswith(("Check that the token is inserted", "Insert the token"))
    assert "the token was not found" in errors[1][1]
