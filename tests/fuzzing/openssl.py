"""Functions of OpenSSL for certificates, through ctypes, because Python's ssl module does not have them.

The library is the one that the system's linker finds, which may differ from Python's. Tests that import this module are
skipped if it is missing.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import ipaddress
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_path = ctypes.util.find_library("crypto")
if _path is None:
    pytest.skip("needs OpenSSL as an oracle: libcrypto was not found", allow_module_level=True)
_library = ctypes.CDLL(_path)
if not hasattr(_library, "X509_get_signature_info"):
    pytest.skip("needs OpenSSL 1.1.1 as an oracle: libcrypto is older", allow_module_level=True)

_pointer, _text, _size, _int = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int


def _declare(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_library, name)
    function.restype, function.argtypes = result, arguments
    return function


_parse = _declare("d2i_X509", _pointer, _pointer, ctypes.POINTER(_text), ctypes.c_long)
_free = _declare("X509_free", None, _pointer)
_check_host = _declare("X509_check_host", _int, _pointer, _text, _size, ctypes.c_uint, _pointer)
_check_ip = _declare("X509_check_ip", _int, _pointer, _text, _size, ctypes.c_uint)
_get_signature_info = _declare(
    "X509_get_signature_info", _int, _pointer, ctypes.POINTER(_int), _pointer, _pointer, _pointer
)
_short_name = _declare("OBJ_nid2sn", _text, _int)
_get_public_key = _declare("X509_get_X509_PUBKEY", _pointer, _pointer)
_encode_public_key = _declare("i2d_X509_PUBKEY", _int, _pointer, ctypes.POINTER(_text))
_clear_errors = _declare("ERR_clear_error", None)

_NEVER_CHECK_SUBJECT = 0x20


@contextmanager
def _parsed(der: bytes) -> Iterator[int | None]:
    """Parse a certificate that must fill `der` completely; yield `None` if it is invalid."""
    start = ctypes.create_string_buffer(der, len(der) + 1)
    at = ctypes.cast(start, _text)
    certificate = _parse(None, ctypes.byref(at), len(der))
    try:
        consumed = (ctypes.cast(at, _pointer).value or 0) - ctypes.addressof(start)
        yield certificate if certificate and consumed == len(der) else None
    finally:
        _free(certificate)
        _clear_errors()


def parses(der: bytes) -> bool:
    """Return True if OpenSSL reads `der` as a certificate."""
    with _parsed(der) as certificate:
        return certificate is not None


def public_key_info(der: bytes) -> bytes | None:
    """Return the SubjectPublicKeyInfo in DER, `None` if the certificate is invalid."""
    with _parsed(der) as certificate:
        if certificate is None:
            return None
        key = _get_public_key(certificate)
        encoded = ctypes.create_string_buffer(max(0, _encode_public_key(key, None)))
        _encode_public_key(key, ctypes.byref(ctypes.cast(encoded, _text)))
        return encoded.raw


def signature_hash(der: bytes) -> str | None:
    """Return the hash function of X509_get_signature_info as hashlib spells it, or `None`."""
    with _parsed(der) as certificate:
        nid = _int()
        if certificate is None or _get_signature_info(certificate, ctypes.byref(nid), None, None, None) != 1:
            return None
        name: bytes = _short_name(nid.value)
        return name.decode().lower().replace("-", "_") if nid.value else None


def is_for(der: bytes, host: bytes, *, common_name: bool) -> bool:
    """Return True if X509_check_host, or X509_check_ip for an address, accepts `host`.

    An address with a zone (``fe80::1%eth0``) is treated as a name, as in libpq.
    """
    flags = 0 if common_name else _NEVER_CHECK_SUBJECT
    try:
        address = None if b"%" in host else ipaddress.ip_address(host.decode()).packed
    except ValueError:
        address = None
    with _parsed(der) as certificate:
        if certificate is None:
            return False
        if address is not None:
            return bool(_check_ip(certificate, address, len(address), flags) == 1)
        return bool(_check_host(certificate, host, len(host), flags, None) == 1)
