"""To which token the PIN goes, and what happens if it is requested for a signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="the server of the test needs it")

from .installation import needs_example

if TYPE_CHECKING:
    from .token_world import World

pytestmark = needs_example

#: Functions for the code of the tests.
FLAGS = """
    def has_failed_login(token):
        flags = ctypes.c_uint()
        library = ctypes.CDLL("libgnutls.so.30")
        assert library.gnutls_pkcs11_token_get_flags(f"pkcs11:token={token}".encode(), ctypes.byref(flags)) == 0
        return bool(flags.value & 1 << 6)  # GNUTLS_PKCS11_TOKEN_USER_PIN_COUNT_LOW
"""


def test_failed_login_is_noticed(world: World) -> None:
    """The check of the next tests works. The right PIN resets the counter of the token."""
    found = world.run(f"""{FLAGS}
    two = dict(key="keytwo", token="two")
    found = [has_failed_login("two"), refused(config(pin=WRONG, **two))[0], has_failed_login("two")]
    print(json.dumps([*found, who(config(pin=TWO_PIN, **two)), has_failed_login("two")]))
    """)
    assert found == [False, "ConfigError", True, "app", False]


@pytest.mark.parametrize(
    "certificate", ["token=two;object=rsa", "manufacturer=SoftHSM%20project;object=no", "object=no"]
)
def test_pin_goes_only_to_the_token_of_the_key(world: World, certificate: str) -> None:
    """A certificate that is not found without a login is not looked for with the PIN of the key."""
    error, is_tried, name = world.run(f"""{FLAGS}
    error = refused(config(certificate="pkcs11:{certificate}"))
    print(json.dumps([error, has_failed_login("two"), who(config())]))
    """)
    assert not is_tried
    assert error[:2] == [
        "ConfigError",
        f'could not use certificate "pkcs11:{certificate}": the token has no such certificate',
    ]
    assert name == "app"


def test_certificate_in_another_token_is_used(world: World) -> None:
    found = world.run("""
    print(json.dumps(who(config("keytwo", "pkcs11:token=two;object=keytwo;type=cert", TWO_PIN, "two"))))
    """)
    assert found == "app"


def test_private_certificate_is_read_with_the_login_of_the_key(world: World) -> None:
    found = world.run("""
    certificate = "pkcs11:token=babar;object=guarded;type=cert"
    print(json.dumps([who(config("guarded", certificate, read_pin)), len(requests)]))
    """)
    assert found == [
        "app",
        3,
    ]  # the login, a signature to compare the key with the certificate, and the signature of the handshake


@pytest.mark.parametrize("fault", ["ValueError", "KeyboardInterrupt", "SystemExit", "OSError"])
def test_exception_of_a_pin_callable_at_a_signature_is_reported(world: World, fault: str) -> None:
    """The signature of a key that always requires the PIN is made in the handshake."""
    caught, cause, name = world.run(f"""
    def read_pin_twice():
        requests.append(1)
        if len(requests) == 3:
            raise {fault}
        return PIN

    try:
        who(config("guarded", pin=read_pin_twice))
        found = None
    except BaseException as error:
        found = [type(error).__name__, type(error.__cause__).__name__]
    print(json.dumps([*found, who(config("guarded"))]))
    """)
    if fault in {"KeyboardInterrupt", "SystemExit"}:
        assert caught == fault
    else:
        assert (caught, cause) == ("PasswordUnavailable", fault)
    assert name == "app"


def test_exception_at_a_signature_is_reported_by_asynchronous_connects(world: World) -> None:
    """One thread loads the key, and another one signs. No socket is leaked."""
    found = world.run("""
    answers = [PIN, PIN, PIN, None, PIN, None, PIN]

    def read_pin_sometimes():
        pin = answers.pop(0)
        if pin is None:
            raise ValueError
        return pin

    async def ask():
        try:
            async with await AsyncSession.connect(config("guarded", pin=read_pin_sometimes)) as session:
                return (await session.query("select current_user"))[0][0]
        except Error as error:
            return [type(error).__name__, type(error.__cause__).__name__]

    async def ask_all():
        return [await ask() for _ in range(5)]

    sockets = lambda: sum(map(pathlib.Path.is_socket, pathlib.Path("/proc/self/fd").iterdir()))
    before = sockets()
    found = asyncio.run(ask_all())
    print(json.dumps([found, sockets() - before]))
    """)
    failed = ["PasswordUnavailable", "ValueError"]
    assert found == [["app", failed, "app", failed, "app"], 0]


@pytest.mark.parametrize("result", ["None", "b''", "12"])
def test_unusable_result_of_a_pin_callable_at_a_signature_is_reported(world: World, result: str) -> None:
    found = world.run(f"""
    answers = [PIN, PIN, {result}]
    print(json.dumps(refused(config("guarded", pin=lambda: answers.pop(0)))))
    """)
    assert found[0] == "ConfigError"
    assert "requires the PIN of its token" in found[1]


def test_wrong_pin_at_a_signature_is_tried_once(world: World) -> None:
    found = world.run("""
    answers = [PIN, PIN, WRONG]
    first = refused(config("guarded", pin=lambda: answers.pop(0)))
    again = refused(config("guarded", pin=lambda: WRONG))
    print(json.dumps([first[1], again[1], who(config("guarded"))]))
    """)
    assert "the token refused the PIN" in found[0]
    assert "refused this PIN before" in found[1]
    assert found[2] == "app"


def test_concurrent_signatures_report_their_own_exceptions(world: World) -> None:
    """The threads share a key. Each of them requests the PIN for its signature."""
    found = world.run("""
    local, errors = threading.local(), []

    def read_pin_of_thread():
        fault = getattr(local, "fault", None)
        if fault is not None:
            raise fault
        return PIN

    shared = config("guarded", pin=read_pin_of_thread)
    names = [who(shared)]

    def use(fault):
        local.fault = fault
        try:
            names.append(who(shared))
        except Error as error:
            errors.append(error.__cause__ is fault)

    threads = [threading.Thread(target=use, args=(ValueError() if n % 2 else None,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([names, errors]))
    """)
    assert found == [["app"] * 5, [True] * 4]


def test_pin_with_a_surrogate_is_refused(world: World) -> None:
    found = world.run("""
    surrogate = PIN + chr(0xDCFF)
    print(json.dumps([refused(config(pin=lambda: surrogate)), who(config())]))
    """)
    assert found[0][0] == "ConfigError"
    assert "contains a lone surrogate" in found[0][1]
    assert found[1] == "app"
