"""As much of GnuTLS as a client needs, by ctypes: numbers and bytes, nothing of babar-tls.

A C library of another kind would come with a Python package in this file's place.
"""

from __future__ import annotations

import ctypes
import errno
from ctypes import CFUNCTYPE, byref, c_char_p, c_int, c_size_t, c_ssize_t, c_uint, c_void_p, string_at
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    _lib = ctypes.CDLL("libgnutls.so.30")
except OSError as exc:
    raise ImportError(f"GnuTLS is not installed: {exc}") from exc  # by this babar-tls knows that an engine is absent

AGAIN, ALERT_RECEIVED, REHANDSHAKE, CERTIFICATE_ERROR, KEY_MISMATCH = -28, -12, -37, -43, -60
PREMATURE_END = -110
ENDS = (PREMATURE_END, -9)  # the latter: within a record's header
_DER, _PEM, _CLIENT, _NONBLOCK, _SHUT_WR, _KEY_PURPOSE = 0, 1, 2, 8, 1, 2
_SERVER_AUTH = b"1.3.6.1.5.5.7.3.1"


class _Datum(ctypes.Structure):  # gnutls_datum_t
    _fields_ = (("data", c_void_p), ("size", c_uint))

    @classmethod
    def of(cls, data: bytes) -> _Datum:
        return cls(ctypes.cast(c_char_p(data), c_void_p), len(data))  # the caller keeps `data`

    def __bytes__(self) -> bytes:
        return string_at(self.data, self.size)


class _Expected(ctypes.Structure):  # gnutls_typed_vdata_st
    _fields_ = (("type", c_int), ("data", c_char_p), ("size", c_uint))


for _name in ("alert_get_name", "check_version", "ciphersuite_get", "group_get_name", "protocol_get_name", "strerror"):
    getattr(_lib, f"gnutls_{_name}").restype = c_char_p
_lib.gnutls_certificate_get_peers.restype = ctypes.POINTER(_Datum)
_lib.gnutls_record_send.restype = _lib.gnutls_record_recv.restype = c_ssize_t


def text(name: str, *arguments: Any) -> str:
    """What a function that returns a string returns."""
    return (getattr(_lib, f"gnutls_{name}")(*arguments) or b"").decode()


def is_fatal(code: int) -> bool:
    """Is the session over?"""
    return bool(code < 0 and _lib.gnutls_error_is_fatal(code))


class Credentials:
    """What sessions share: roots, and our own certificate."""

    def __init__(self) -> None:
        self.handle = c_void_p()
        _lib.gnutls_certificate_allocate_credentials(byref(self.handle))
        _lib.gnutls_certificate_set_verify_function(self.handle, _verify)

    def __del__(self) -> None:
        _lib.gnutls_certificate_free_credentials(self.handle)

    def trust(self, der: bytes) -> int:
        """Add a root; return 1, or a negative number if it cannot be read."""
        return int(_lib.gnutls_certificate_set_x509_trust_mem(self.handle, byref(_Datum.of(der)), _DER))

    def use_key(self, chain: bytes, key: bytes, password: bytes | None) -> int:
        certificate, private = _Datum.of(chain), _Datum.of(key)
        arguments = (byref(certificate), byref(private), _PEM, password, 0)
        return int(_lib.gnutls_certificate_set_x509_key_mem2(self.handle, *arguments))


class Session:
    """A client's session over memory.

    Args:
        credentials: What to verify with.
        priorities: Versions and algorithms, in GnuTLS's language.
        judge: Called within the handshake when the server's certificates are there; `False` ends it.
    """

    def __init__(self, credentials: Credentials, priorities: str, judge: Callable[[Session], bool]) -> None:
        self.handle = c_void_p()
        _lib.gnutls_init(byref(self.handle), c_uint(_CLIENT | _NONBLOCK))
        self.incoming, self.outgoing, self.eof = bytearray(), bytearray(), False
        self.judge = judge
        self._credentials = credentials
        _sessions[self.handle.value or 0] = self
        _lib.gnutls_transport_set_ptr(self.handle, self.handle)
        _lib.gnutls_transport_set_push_function(self.handle, _push)
        _lib.gnutls_transport_set_pull_function(self.handle, _pull)
        _lib.gnutls_credentials_set(self.handle, 1, credentials.handle)
        _lib.gnutls_priority_set_direct(self.handle, priorities.encode(), None)

    def __del__(self) -> None:
        _lib.gnutls_deinit(self.handle)

    def call(self, name: str, *arguments: Any) -> int:
        """A function of a session."""
        return int(getattr(_lib, f"gnutls_{name}")(self.handle, *arguments))

    def offer(self, protocols: tuple[str, ...], server_name: str | None) -> None:
        """ALPN and SNI."""
        names = [name.encode() for name in protocols]
        self.call("alpn_set_protocols", (_Datum * len(names))(*map(_Datum.of, names)), len(names), 0)
        if server_name is not None:
            self.call("server_name_set", 1, server_name.encode(), c_size_t(len(server_name)))

    def receive(self, buffer: memoryview) -> int:
        return self.call("record_recv", byref(ctypes.c_char.from_buffer(buffer)), c_size_t(len(buffer)))

    def send(self, chunk: bytes) -> int:
        return self.call("record_send", chunk, c_size_t(len(chunk)))

    def goodbye(self) -> None:
        self.call("bye", _SHUT_WR)

    def peers(self) -> tuple[bytes, ...]:
        """The server's certificates, as it sent them."""
        count = c_uint()
        sent = _lib.gnutls_certificate_get_peers(self.handle, byref(count))
        return tuple(bytes(sent[index]) for index in range(count.value))

    def verify(self) -> int:
        """The bits of gnutls_certificate_status_t for a TLS server's chain; 0 if all is well."""
        status, purpose = c_uint(), _Expected(_KEY_PURPOSE, _SERVER_AUTH, 0)
        code = self.call("certificate_verify_peers", byref(purpose), 1, byref(status))
        return status.value or code

    def alpn(self) -> str | None:
        selected = _Datum()
        return bytes(selected).decode() if self.call("alpn_get_selected_protocol", byref(selected)) == 0 else None

    def export(self, label: bytes, length: int) -> bytes | None:
        out = ctypes.create_string_buffer(length)
        sizes = c_size_t(len(label)), c_size_t(0), c_size_t(length)
        return out.raw if self.call("prf_rfc5705", sizes[0], label, sizes[1], b"", sizes[2], out) == 0 else None


# GnuTLS calls these with a session's address. They find the session by it and hold none: nothing but its user does.
_sessions: WeakValueDictionary[int, Session] = WeakValueDictionary()


@CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, c_size_t)
def _push(address: int, data: int, size: int) -> int:
    _sessions[address].outgoing += string_at(data, size)
    return size


@CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, c_size_t)
def _pull(address: int, data: int, size: int) -> int:
    session = _sessions[address]
    if not session.incoming and not session.eof:
        session.call("transport_set_errno", errno.EAGAIN)
        return -1
    chunk = bytes(session.incoming[:size])
    del session.incoming[:size]
    ctypes.memmove(data, chunk, len(chunk))
    return len(chunk)


@CFUNCTYPE(c_int, c_void_p)
def _verify(address: int) -> int:
    try:
        session = _sessions[address]
        return 0 if session.judge(session) else CERTIFICATE_ERROR
    except BaseException:  # ctypes would report it and return 0: accepted
        return CERTIFICATE_ERROR
