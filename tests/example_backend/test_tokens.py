"""Client keys in PKCS #11 tokens: SoftHSM, GnuTLS, and a PostgreSQL server with the method `cert`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="the server of the test needs it")

from .installation import needs_example
from .token_world import MODULES

if TYPE_CHECKING:
    from .token_world import World

pytestmark = needs_example


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
    module = ctypes.CDLL({str(next(path for path in MODULES if path.exists()))!r})  # the same instance as p11-kit's

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
