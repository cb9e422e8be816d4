"""The functions of GnuTLS that a client needs, called with ctypes.

It does not depend on babar-tls. For most libraries a Python package would replace this module.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from ctypes import CFUNCTYPE, byref, c_char_p, c_int, c_size_t, c_ssize_t, c_uint, c_void_p, string_at
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, finalize

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    library = ctypes.CDLL("libgnutls.so.30")
except OSError as exc:
    raise ImportError(f"GnuTLS is not installed: {exc}") from exc  # by this babar-tls knows that the backend is absent

CERTIFICATE_ERROR, KEY_MISMATCH = -43, -60
_AGAIN, _ALERT_RECEIVED, _REHANDSHAKE = -28, -12, -37
_DER, _PEM, _CLIENT, _NONBLOCK, _SHUT_WR, _KEY_PURPOSE = 0, 1, 2, 8, 1, 2
_SERVER_AUTH = b"1.3.6.1.5.5.7.3.1"
_INVALID = 1 << 1  # GNUTLS_CERT_INVALID
_RECORD = 1 << 14  # the most plaintext in one record, in bytes


class Datum(ctypes.Structure):  # gnutls_datum_t
    _fields_ = (("data", c_void_p), ("size", c_uint))

    @classmethod
    def of(cls, data: bytes) -> Datum:
        return cls(ctypes.cast(c_char_p(data), c_void_p), len(data))  # the caller keeps `data`

    def __bytes__(self) -> bytes:
        return string_at(self.data, self.size)


class _Expected(ctypes.Structure):  # gnutls_typed_vdata_st
    _fields_ = (("type", c_int), ("data", c_char_p), ("size", c_uint))


for _name in ("check_version", "ciphersuite_get", "protocol_get_name", "strerror"):
    getattr(library, f"gnutls_{_name}").restype = c_char_p
library.gnutls_certificate_get_peers.restype = ctypes.POINTER(Datum)
library.gnutls_record_send.restype = library.gnutls_record_recv.restype = c_ssize_t


def text(name: str, *arguments: Any) -> str:
    """Call a function that returns a string."""
    return (getattr(library, f"gnutls_{name}")(*arguments) or b"").decode()


class GnuTlsError(Exception):
    """A failure that ends a session.

    Attributes:
        code: GnuTLS's number of it.
        alert: The number of the alert that the server sent, `None` if it sent none.
    """

    def __init__(self, code: int, alert: int | None = None) -> None:
        super().__init__(text("strerror", code))
        self.code, self.alert = code, alert


class _Callback(threading.local):
    """The exception of a callback in this thread, which cannot pass through C.

    GnuTLS calls a callback in the thread that called GnuTLS. That caller raises the exception again.
    """

    raised: BaseException | None = None

    def raise_again(self) -> None:
        raised, self.raised = self.raised, None
        if raised is not None:
            raise raised


callback = _Callback()


class Credentials:
    """The trust anchors and the client certificate that sessions share."""

    def __init__(self) -> None:
        self.handle = c_void_p()
        library.gnutls_certificate_allocate_credentials(byref(self.handle))
        finalize(self, _free_credentials, self.handle, os.getpid()).atexit = False
        library.gnutls_certificate_set_verify_function(self.handle, _verify)

    def trust(self, der: bytes) -> None:
        """Add a trust anchor. One that GnuTLS cannot read is not trusted."""
        library.gnutls_certificate_set_x509_trust_mem(self.handle, byref(Datum.of(der)), _DER)

    def use_key(self, chain: bytes, key: bytes, password: bytes | None) -> None:
        """Set the client certificate and its key, PEM."""
        arguments = (byref(Datum.of(chain)), byref(Datum.of(key)), _PEM, password, 0)
        code = int(library.gnutls_certificate_set_x509_key_mem2(self.handle, *arguments))
        if code < 0:
            raise GnuTlsError(code)


def _free_credentials(handle: c_void_p, process: int) -> None:
    if process == os.getpid():  # a key in a token would close a session of the child, which may have the same number
        library.gnutls_certificate_free_credentials(handle)


class Session:
    """A client's session over memory.

    Args:
        credentials: The trust anchors and the client certificate.
        priorities: Versions and algorithms, in GnuTLS's language.
        accept: Called within the handshake when the server's certificates are there. `False` ends the handshake.

    Attributes:
        incoming: Ciphertext from the server.
        outgoing: Ciphertext for the server.
        status: What `verify` returned last.
        is_accepted: What `accept` returned.
    """

    def __init__(self, credentials: Credentials, priorities: str, accept: Callable[[Session], bool]) -> None:
        self.handle = c_void_p()
        library.gnutls_init(byref(self.handle), c_uint(_CLIENT | _NONBLOCK))
        finalize(self, library.gnutls_deinit, self.handle).atexit = False  # other threads may still use it then
        self.incoming, self.outgoing = bytearray(), bytearray()
        self.accept, self.is_accepted = accept, False
        self.status = 0
        self._credentials = credentials
        _sessions[self.handle.value or 0] = self
        library.gnutls_transport_set_ptr(self.handle, self.handle)
        library.gnutls_transport_set_push_function(self.handle, _push)
        library.gnutls_transport_set_pull_function(self.handle, _pull)
        library.gnutls_credentials_set(self.handle, 1, credentials.handle)
        library.gnutls_priority_set_direct(self.handle, priorities.encode(), None)

    def call(self, name: str, *arguments: Any) -> int:
        """Call a function of a session."""
        return int(getattr(library, f"gnutls_{name}")(self.handle, *arguments))

    def offer(self, protocols: tuple[str, ...], server_name: str | None) -> None:
        """Set ALPN and SNI."""
        names = [name.encode() for name in protocols]
        self.call("alpn_set_protocols", (Datum * len(names))(*map(Datum.of, names)), len(names), 0)
        if server_name is not None:
            self.call("server_name_set", 1, server_name.encode(), c_size_t(len(server_name)))

    def handshake(self) -> bool:
        """Continue the handshake; return True when it is complete."""
        if self._advance("handshake") is None:
            return False
        if not self.is_accepted:  # an exception prevented the callback from answering: ctypes returns 0 then
            raise GnuTlsError(CERTIFICATE_ERROR)
        return True

    def receive(self, buffer: memoryview) -> int | None:
        """Decrypt one record; return its length, `None` if more ciphertext is needed, 0 at close_notify."""
        return self._advance("record_recv", byref(ctypes.c_char.from_buffer(buffer)), c_size_t(len(buffer)))

    def send(self, data: memoryview) -> None:
        """Encrypt all of `data`."""
        while data:
            chunk = bytes(data[:_RECORD])
            data = data[self._advance("record_send", chunk, c_size_t(len(chunk))) or 0 :]

    def close_notify(self) -> None:
        """Send close_notify, and wait for nothing."""
        self.call("bye", _SHUT_WR)

    def _advance(self, name: str, *arguments: Any) -> int | None:
        """Call a function until it succeeds or needs more ciphertext (`None`).

        Raises:
            GnuTlsError: The session has failed. The alert that tells the server why is in `outgoing`.
        """
        while True:
            before = len(self.incoming)
            code = self.call(name, *arguments)
            callback.raise_again()
            if code >= 0:
                return code
            if code == _AGAIN and len(self.incoming) == before:
                return None  # otherwise it has used some: it returns after a session ticket, too
            if code == _ALERT_RECEIVED:
                raise GnuTlsError(code, self.call("alert_get"))
            if code == _REHANDSHAKE or library.gnutls_error_is_fatal(code):
                self.call("alert_send_appropriate", code)
                raise GnuTlsError(code)

    def peers(self) -> tuple[bytes, ...]:
        """Return the server's certificates, as it sent them; none before they were received."""
        count = c_uint()
        sent = library.gnutls_certificate_get_peers(self.handle, byref(count))
        return tuple(bytes(sent[index]) for index in range(count.value))

    def verify(self) -> int:
        """Return the bits of gnutls_certificate_status_t for a TLS server's chain; 0 if it is accepted."""
        status, purpose = c_uint(), _Expected(_KEY_PURPOSE, _SERVER_AUTH, 0)
        code = self.call("certificate_verify_peers", byref(purpose), 1, byref(status))
        self.status = status.value or (_INVALID if code < 0 else 0)
        return self.status

    def alpn(self) -> str | None:
        """Return the protocol that the server selected."""
        selected = Datum()
        return bytes(selected).decode() if self.call("alpn_get_selected_protocol", byref(selected)) == 0 else None

    def export(self, label: bytes, length: int) -> bytes:
        """Return keying material for an empty context."""
        out = ctypes.create_string_buffer(length)
        sizes = c_size_t(len(label)), c_size_t(0), c_size_t(length)
        code = self.call("prf_rfc5705", sizes[0], label, sizes[1], b"", sizes[2], out)
        if code < 0:
            raise GnuTlsError(code)
        return out.raw


# GnuTLS calls these with a session's address. They find the session by it and keep none alive.
_sessions: WeakValueDictionary[int, Session] = WeakValueDictionary()


@CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, c_size_t)
def _push(address: int, data: int, size: int) -> int:
    _sessions[address].outgoing += string_at(data, size)
    return size


@CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, c_size_t)
def _pull(address: int, data: int, size: int) -> int:
    session = _sessions[address]
    if not session.incoming:
        session.call("transport_set_errno", errno.EAGAIN)
        return -1
    chunk = bytes(session.incoming[:size])
    del session.incoming[:size]
    ctypes.memmove(data, chunk, len(chunk))
    return len(chunk)


@CFUNCTYPE(c_int, c_void_p)
def _verify(address: int) -> int:
    session = _sessions[address]
    try:
        session.is_accepted = session.accept(session)
    except BaseException as exc:  # raised again by the call that led here
        callback.raised = exc
    return 0 if session.is_accepted else CERTIFICATE_ERROR
