"""A client key in a PKCS #11 token, used by GnuTLS and p11-kit, called with ctypes. It does not depend on babar-tls.

A token is locked after a few wrong PINs. GnuTLS repeats the request after a wrong PIN; the callback then fails.
A PIN that a token has refused is not tried again by this process, because every connect would otherwise use up a try.
"""

from __future__ import annotations

import ctypes
import hmac
import itertools
import os
import threading
from ctypes import CFUNCTYPE, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ._library import KEY_MISMATCH, Credentials, Datum, GnuTlsError, callback, library

if TYPE_CHECKING:
    from collections.abc import Callable

_UNAVAILABLE, _NO_OBJECT, _PIN_ERROR, _PIN_LOCKED, _SIGN_FAILED = -56, -323, -303, -313, -46
_PKCS11_CODES = range(-317, -299)
_PEM = 1
_PIN_FINAL_TRY, _PIN_WRONG = 1 << 2, 1 << 5  # gnutls_pin_flag_t
_TOKEN_PIN_LOCKED = 1 << 8  # GNUTLS_PKCS11_TOKEN_USER_PIN_LOCKED
_MAX_CHAIN = 16  # certificates


class _Certificate(ctypes.Structure):  # gnutls_pcert_st
    _fields_ = (("key", c_void_p), ("der", Datum), ("type", c_int))


class TokenError(Exception):
    """A token cannot be used.

    Attributes:
        reason: ``no token``, ``no key``, ``no certificate``, ``wrong PIN``, ``refused PIN``, ``last PIN``,
            ``locked PIN``, ``unusable PIN``, ``mismatch``, or the text of GnuTLS.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TokenKey:
    """The private key of credentials, which stays in its token.

    Args:
        credentials: The credentials to which the key and its certificate are added.
        uri: The PKCS #11 URI of the key.
        certificate: The PKCS #11 URI of the certificate, or the chain in PEM.
        pin: Returns the PIN. It is called for each login, and its result is not kept.

    Raises:
        TokenError: The token, the key or the certificate was not found, or the PIN was refused.
        BaseException: What `pin` has raised.

    Attributes:
        is_lost: The token could not sign: it was removed, or the session of its login has ended.
    """

    def __init__(self, credentials: Credentials, uri: str, certificate: str | bytes, pin: Callable[[], bytes]) -> None:
        self.is_lost = False
        self._process = os.getpid()
        self._pin = _Pin(pin)
        _login.end(0)  # the PIN of a signature is not that of this login
        with _logins:
            self._load(credentials, uri.encode(), certificate)

    @property
    def is_usable(self) -> bool:
        """False if the credentials must be built again. A child process has no sessions of its own with the token."""
        return not self.is_lost and self._process == os.getpid()

    def failure(self, code: int) -> TokenError | None:
        """Return the error if a session failed because of the key, by the code of its `GnuTlsError`."""
        reason = _login.end(code)
        if code not in _PKCS11_CODES and code not in (_UNAVAILABLE, _NO_OBJECT, _SIGN_FAILED):
            return None
        self.is_lost = True
        return TokenError(reason or str(GnuTlsError(code)))

    def _load(self, credentials: Credentials, uri: bytes, certificate: str | bytes) -> None:
        flags = c_uint()
        if library.gnutls_pkcs11_token_get_flags(uri, byref(flags)) < 0:
            raise TokenError("no token")
        if flags.value & _TOKEN_PIN_LOCKED:
            raise TokenError("locked PIN")
        key = c_void_p()
        library.gnutls_privkey_init(byref(key))
        chain, count = (_Certificate * _MAX_CHAIN)(), c_uint(0)
        try:
            library.gnutls_privkey_set_pin_function(key, _request_pin, self._pin.number)
            _check(library.gnutls_privkey_import_url(key, uri, 0), "no key")
            count.value = _MAX_CHAIN
            code = _load_chain(chain, count, certificate)
            if code < 0:
                count.value = 0  # GnuTLS has freed the certificates
            _check(_NO_OBJECT if code == _PIN_ERROR else code, "no certificate")  # it would have needed a login
            code = library.gnutls_certificate_set_key(credentials.handle, None, 0, chain, c_int(count.value), key)
            if code < 0:
                _check(code, "")
        except BaseException:  # otherwise the credentials own them
            for each in chain[: count.value]:
                library.gnutls_pcert_deinit(byref(each))
            library.gnutls_privkey_deinit(key)
            raise
        _check(code, "")


def _check(code: int, missing: str) -> None:
    reason = _login.end(code)
    callback.raise_again()
    if code >= 0:
        return
    known = {_UNAVAILABLE: missing, _NO_OBJECT: missing, _PIN_LOCKED: "locked PIN", KEY_MISMATCH: "mismatch"}
    raise TokenError(reason or known.get(code) or str(GnuTlsError(code)))


def _load_chain(chain: ctypes.Array[_Certificate], count: c_uint, source: str | bytes) -> int:
    """Load the certificates without the PIN: GnuTLS would use it to log in to each token that the URI matches."""
    if isinstance(source, str):
        arguments = (source.encode(), _PEM, _PIN_FUNCTION(), None, 0)
        return int(library.gnutls_pcert_list_import_x509_file(chain, byref(count), *arguments))
    data = Datum.of(source)
    return int(library.gnutls_pcert_list_import_x509_raw(chain, byref(count), byref(data), _PEM, 0))


class _Pin:
    """The answers to the requests for a PIN. `number` is the number by which GnuTLS names it."""

    def __init__(self, ask: Callable[[], bytes]) -> None:
        self._ask = ask
        self.number = next(_numbers)
        _pins[self.number] = self

    def answer(self, token: bytes, flags: int, *, is_repeated: bool) -> bytes | None:
        """Return the PIN for a token, or `None` to end the login."""
        _login.reason = None
        if is_repeated or flags & _PIN_WRONG:
            _login.refused()
            return None
        _login.mark = b""
        if flags & _PIN_FINAL_TRY:
            _login.reason = "last PIN"
            return None
        pin = self._ask()
        _login.mark = hmac.digest(_MARKING_KEY, token + b"\0" + pin, "sha256")
        if _login.mark in _refused_pins:
            _login.reason = "refused PIN"
            return None
        return pin


class _Login(threading.local):
    """The last login of this thread: for a key, or for a signature. Other threads may use the same key.

    Attributes:
        reason: The reason for which it was given up, `None` if it was not.
        mark: Identifies the token and the PIN.
    """

    reason: str | None = None
    mark = b""

    def refused(self) -> None:
        """Record that the token has refused the PIN."""
        _refused_pins.add(self.mark)
        self.reason = "wrong PIN"

    def end(self, code: int) -> str | None:
        """Return the reason, and forget the login. `code` is the result of the function that requested the PIN."""
        if code == _PIN_ERROR and self.reason is None and self.mark:  # no second request, because of its length
            self.refused()
        reason, self.reason, self.mark = self.reason, None, b""
        return reason


_login = _Login()
_logins = threading.RLock()  # one at a time: two threads with the same wrong PIN would use up two tries
_numbers = itertools.count(1)
_pins: WeakValueDictionary[int, _Pin] = WeakValueDictionary()
_refused_pins: set[bytes] = set()  # each entry is a try at a token, which has few
_MARKING_KEY = os.urandom(32)  # the marks do not show the PINs to other processes


def _renew_lock() -> None:
    global _logins  # noqa: PLW0603 - another thread of the parent may have held it
    _logins = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@CFUNCTYPE(c_int, c_void_p, c_int, c_char_p, c_char_p, c_uint, c_void_p, c_size_t)
def _request_pin(  # noqa: PLR0917 - gnutls_pin_callback_t
    number: int, attempt: int, token: bytes | None, _label: bytes | None, flags: int, buffer: int, size: int
) -> int:
    """Write the PIN to a buffer of GnuTLS. An exception cannot pass through C; see `callback`."""
    request = _pins.get(number)
    if request is None:
        return -1
    try:
        pin = request.answer(token or b"", flags, is_repeated=attempt > 0)
    except BaseException as exc:  # raised again by the call that led here
        callback.raised = exc
        return -1
    if pin is None:
        return -1
    if b"\0" in pin or len(pin) >= size:
        _login.reason = "unusable PIN"
        return -1
    ctypes.memmove(buffer, pin + b"\0", len(pin) + 1)
    return 0


_PIN_FUNCTION = type(_request_pin)
_ARGUMENTS = {
    "pkcs11_token_get_flags": (c_char_p, c_void_p),
    "privkey_init": (c_void_p,),
    "privkey_deinit": (c_void_p,),
    "privkey_set_pin_function": (c_void_p, _PIN_FUNCTION, c_void_p),
    "privkey_import_url": (c_void_p, c_char_p, c_uint),
    "pcert_list_import_x509_file": (c_void_p, c_void_p, c_char_p, c_int, _PIN_FUNCTION, c_void_p, c_uint),
    "pcert_list_import_x509_raw": (c_void_p, c_void_p, c_void_p, c_int, c_uint),
    "pcert_deinit": (c_void_p,),
    "certificate_set_key": (c_void_p, c_void_p, c_int, c_void_p, c_int, c_void_p),
}
#: False if GnuTLS is older than 3.6.3, or was built without p11-kit.
is_supported = all(hasattr(library, f"gnutls_{name}") for name in _ARGUMENTS)
if is_supported:
    for _name, _types in _ARGUMENTS.items():
        getattr(library, f"gnutls_{_name}").argtypes = _types
