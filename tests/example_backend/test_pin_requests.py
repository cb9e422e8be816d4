"""The answers to GnuTLS's requests for a PIN, without a token."""

from __future__ import annotations

import ctypes
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from .installation import needs_example

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_example

USER, FINAL_TRY, WRONG = 1, 1 << 2, 1 << 5  # gnutls_pin_flag_t


@pytest.fixture(scope="module")
def pkcs11(installed: Path) -> Any:
    """Return the module."""
    pytest.importorskip("cryptography", reason="the rest of the package is not tested without it either")
    sys.path.insert(0, str(installed))
    try:
        return importlib.import_module("babar_tls_gnutls._pkcs11")
    finally:
        sys.path.remove(str(installed))


class Asked:
    """A callable that returns a PIN and counts the calls."""

    def __init__(self, pin: bytes) -> None:
        self.pin, self.count = pin, 0

    def __call__(self) -> bytes:
        self.count += 1
        return self.pin


def request(pkcs11: Any, number: int, *, attempt: int = 0, flags: int = USER, size: int = 16) -> bytes | None:
    """Request a PIN as GnuTLS does, and return the content of its buffer; `None` if the request was refused."""
    buffer = ctypes.create_string_buffer(b"#" * (size + 4), size + 4)
    address = ctypes.cast(buffer, ctypes.c_void_p)
    code = pkcs11._request_pin(number, attempt, b"pkcs11:token=t", b"t", flags, address, size)
    assert buffer.raw[size:] == b"####"
    if code < 0:
        assert buffer.raw == b"#" * (size + 4)
        return None
    return buffer.value


@pytest.mark.parametrize("length", [1, 8, 15])
def test_pin_is_written_with_its_end(pkcs11: Any, length: int) -> None:
    pin = pkcs11._Pin(Asked(b"1" * length))
    assert request(pkcs11, pin.number) == b"1" * length
    assert pkcs11._login.reason is None


@pytest.mark.parametrize("value", [b"1" * 16, b"1" * 500, b"12\x0034"])
def test_pin_that_does_not_fit_is_not_written(pkcs11: Any, value: bytes) -> None:
    pin = pkcs11._Pin(Asked(value))
    assert request(pkcs11, pin.number) is None
    assert pkcs11._login.reason == "unusable PIN"


def test_last_try_is_not_used(pkcs11: Any) -> None:
    asked = Asked(b"1234")
    pin = pkcs11._Pin(asked)
    assert request(pkcs11, pin.number, flags=USER | FINAL_TRY) is None
    assert (pkcs11._login.reason, asked.count) == ("last PIN", 0)
    assert request(pkcs11, pin.number) == b"1234"
    assert pkcs11._login.reason is None


@pytest.mark.parametrize(("attempt", "flags"), [(1, USER), (0, USER | WRONG), (1, USER | WRONG | FINAL_TRY)])
def test_wrong_pin_is_not_tried_again_by_any_key(pkcs11: Any, attempt: int, flags: int) -> None:
    value = f"wrong {attempt} {flags}".encode()
    asked = Asked(value)
    first, second = pkcs11._Pin(asked), pkcs11._Pin(asked)
    assert request(pkcs11, first.number) == value
    assert request(pkcs11, first.number, attempt=attempt, flags=flags) is None
    assert (pkcs11._login.reason, asked.count) == ("wrong PIN", 1)
    for pin in (first, second):
        assert request(pkcs11, pin.number) is None
        assert pkcs11._login.reason == "refused PIN"
    asked.pin = b"another"
    assert request(pkcs11, second.number) == b"another"


def test_exception_does_not_pass_through_c(pkcs11: Any) -> None:
    def interrupted() -> bytes:
        raise KeyboardInterrupt

    pin = pkcs11._Pin(interrupted)
    assert request(pkcs11, pin.number) is None
    with pytest.raises(KeyboardInterrupt):
        pkcs11.callback.raise_again()


def test_pin_of_an_earlier_login_is_not_refused_for_an_exception(pkcs11: Any) -> None:
    """A signature leaves its PIN as the last one. The next login ends with GNUTLS_E_PKCS11_PIN_ERROR, without a PIN."""
    asked = Asked(b"used for a signature")
    pin, failing = pkcs11._Pin(asked), pkcs11._Pin(lambda: 1 // 0)
    assert request(pkcs11, pin.number, size=40) == asked.pin
    assert request(pkcs11, failing.number) is None
    with pytest.raises(ZeroDivisionError):
        pkcs11._check(-303, "no key")
    assert request(pkcs11, pin.number, size=40) == asked.pin


def test_request_for_a_key_that_no_longer_exists_is_refused(pkcs11: Any) -> None:
    number = pkcs11._Pin(Asked(b"1234")).number
    assert request(pkcs11, number) is None
