"""The symbols of which sequences consist.

A symbol is the result of one read from the network. Most symbols are one message. Two contain several messages, so that
a SCRAM login fits into four symbols and a second connection into five. Three are not messages: the end of the stream, a
failure of the connection, and a truncated message, which consumes the beginning of the next one.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .honest_server import (
    CLIENT_NONCE,
    FULL_NONCE,
    ITERATIONS,
    MD5_SALT,
    frame,
    request,
    server_first,
    server_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PLUS, SCRAM = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"


@dataclass(frozen=True)
class Symbol:
    """A symbol of the alphabet.

    Attributes:
        name: For reports.
        data: The bytes of one read; empty at the end of the stream; `None` if the connection fails.
        signed: Computes the bytes from the exchange's AuthMessage instead of `data`.
    """

    name: str
    data: bytes | None = None
    signed: Callable[[bytes], bytes] | None = None

    def read(self, auth_message: bytes) -> bytes | None:
        """Return the result of one read; `auth_message` is that of SCRAM, empty before it is known."""
        return self.data if self.signed is None else self.signed(auth_message)


def _sasl(*mechanisms: str) -> bytes:
    return request(10, b"".join(name.encode() + b"\0" for name in mechanisms) + b"\0")


def _error(code: str, kind: bytes = b"E") -> bytes:
    return frame(kind, b"SFATAL\0VFATAL\0C" + code.encode() + b"\0Mno\0\0")


def _final(signature: bytes) -> bytes:
    return request(12, b"v=" + signature)


OK = request(0)
PROCESS_ID, SECRET_KEY = 4711, b"key!"
LONG_KEY = bytes(range(32))
PARAMETER = ("server_version", "17.10")
_PARAMETER_STATUS = frame(b"S", "\0".join(PARAMETER).encode() + b"\0")
_KEY_DATA = frame(b"K", struct.pack("!I", PROCESS_ID) + SECRET_KEY)
_READY = frame(b"Z", b"I")
_WELCOME = OK + _PARAMETER_STATUS + _KEY_DATA + _READY
VALID_SERVER_FIRST = server_first()

#: Symbols with which most connections continue come first. The order has no other effect.
ALPHABET = (
    Symbol("AuthenticationOk", OK),
    Symbol("AuthenticationOk to ReadyForQuery", _WELCOME),
    Symbol("Cleartext", request(3)),
    Symbol("MD5", request(5, MD5_SALT)),
    Symbol("MD5 with 3 bytes of salt", request(5, MD5_SALT[:3])),
    Symbol("KerberosV5", request(2)),
    Symbol("GSS", request(7)),
    Symbol("GSSContinue", request(8, b"token")),
    Symbol("SSPI", request(9)),
    Symbol("SASL both", _sasl(PLUS, SCRAM)),
    Symbol("SASL unbound", _sasl(SCRAM)),
    Symbol("SASL PLUS", _sasl(PLUS)),
    Symbol("SASL empty", _sasl()),
    Symbol("SASL unknown", _sasl("OAUTHBEARER")),
    Symbol("SASL unterminated", request(10, SCRAM.encode())),
    Symbol("SASLContinue", request(11, VALID_SERVER_FIRST)),
    Symbol("SASLContinue, another nonce", request(11, server_first(b"x" + FULL_NONCE[1:]))),
    Symbol("SASLContinue, the client's nonce", request(11, server_first(CLIENT_NONCE))),
    Symbol("SASLContinue, bad base64", request(11, server_first(salt=b"AQID*"))),
    Symbol("SASLContinue, m=", request(11, b"m=x," + VALID_SERVER_FIRST)),
    Symbol("SASLContinue, no iterations", request(11, server_first(iterations=0))),
    Symbol("SASLContinue, too many iterations", request(11, server_first(iterations=ITERATIONS + 1))),
    Symbol("SASLFinal", signed=lambda auth_message: _final(server_signature(auth_message))),
    Symbol("SASLFinal to ReadyForQuery", signed=lambda auth_message: _final(server_signature(auth_message)) + _WELCOME),
    Symbol("SASLFinal, wrong signature", _final(base64.b64encode(bytes(32)))),
    Symbol("SASLFinal, short signature", signed=lambda auth_message: _final(server_signature(auth_message)[:40])),
    Symbol("SASLFinal, no signature", _final(b"")),
    Symbol("SASLFinal, e=", request(12, b"e=invalid-proof")),
    Symbol("unknown authentication request", request(99)),
    Symbol("authentication request without a code", frame(b"R", b"\0\0")),
    Symbol("ErrorResponse 28P01", _error("28P01")),
    Symbol("ErrorResponse 28000", _error("28000")),
    Symbol("ErrorResponse 57P03", _error("57P03")),
    Symbol("error of protocol 2", b"EFATAL:  sorry, too many clients already\n\0"),
    Symbol("NoticeResponse", _error("00000", b"N")),
    Symbol("ParameterStatus", _PARAMETER_STATUS),
    Symbol("BackendKeyData", _KEY_DATA),
    Symbol("ReadyForQuery", _READY),
    Symbol("BackendKeyData with a long key", frame(b"K", struct.pack("!I", PROCESS_ID) + LONG_KEY)),
    Symbol("NegotiateProtocolVersion 3.0", frame(b"v", struct.pack("!II", 0x30000, 0))),
    Symbol("NegotiateProtocolVersion 3.2", frame(b"v", struct.pack("!II", 0x30002, 0))),
    Symbol("NegotiateProtocolVersion, an option", frame(b"v", struct.pack("!II", 0x30000, 1) + b"_pq_.option\0")),
    Symbol("unknown type", frame(b"q", b"junk")),
    Symbol("truncated AuthenticationOk", OK[:-2]),
    Symbol("AuthenticationOk with length 3", b"R" + struct.pack("!II", 3, 0)),
    Symbol("AuthenticationOk with a length of 2 GiB", b"R" + struct.pack("!II", 0x7FFFFFFF, 0)),
    Symbol("AuthenticationOk with 2000 bytes of data", request(0, bytes(2000))),
    Symbol("end of stream", b""),
    Symbol("connection fails"),
)


def symbols(*names: str) -> tuple[Symbol, ...]:
    """Return the symbols with these names, to explore a part of the alphabet or to reproduce a finding."""
    known = {symbol.name: symbol for symbol in ALPHABET}
    return tuple(known[name] for name in names)
