"""The stage `authentication-offer` makes the attempts that a connect makes, and no other."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from babar_tls import Session
from babar_tls.config import Config
from babar_tls.doctor import Cause, Diagnosis, diagnose
from babar_tls.doctor.classify import find_cause
from babar_tls.errors import Error
from babar_tls.testing import PeerDisconnected, ScriptedServer

from .test_bounds import CERTIFICATE

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import ScriptedPeer

_TIMEOUT = 2  # seconds
_SSL_REQUEST = b"\x04\xd2\x16\x2f"


class Server:
    """A server that offers TLS, and answers each StartupMessage with the same bytes. It counts them."""

    def __init__(self, answer: bytes, tls_answer: bytes | None = None) -> None:
        self.plain: list[bytes] = []
        self.over_tls: list[bytes] = []
        self._answer = answer
        self._tls_answer = answer if tls_answer is None else tls_answer

    def __call__(self, peer: ScriptedPeer) -> None:
        try:
            data = peer.receive()
            if data[4:8] == _SSL_REQUEST:
                peer.send(b"S")
                peer.start_tls(CERTIFICATE)
                data = peer.receive()
                if data:
                    self.over_tls.append(data)
                    peer.send(self._tls_answer)
            elif data[:1] not in (b"", b"\x16"):
                self.plain.append(data)
                peer.send(self._answer)
        except (PeerDisconnected, OSError):
            pass

    def diagnose(self, parameters: str) -> tuple[Diagnosis, Cause | None]:
        """Return the diagnosis, and the cause of the error of a connect, whose messages are not recorded."""
        with ScriptedServer(self) as server:
            conninfo = f"host=127.0.0.1 port={server.port} user=app dbname=shop connect_timeout={_TIMEOUT} {parameters}"
            try:
                Session.connect(Config.from_conninfo(conninfo, environ={})).close()
                expected = None
            except Error as error:
                expected = find_cause(error)
            self.plain.clear()
            self.over_tls.clear()
            return diagnose(conninfo, environ={}), expected


def error(code: str, text: str = "refused") -> bytes:
    body = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
    return b"E" + struct.pack("!I", len(body) + 4) + body


def message(kind: bytes, *numbers: int) -> bytes:
    return kind + struct.pack(f"!{1 + len(numbers)}i", 4 + 4 * len(numbers), *numbers)


def test_nothing_is_sent_in_plain_text_if_the_root_file_is_missing(tmp_path: Path) -> None:
    server = Server(error("28000"))
    diagnosis, expected = server.diagnose(f"sslmode=prefer sslrootcert={tmp_path / 'missing.crt'}")
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is expected is Cause.ROOT_FILE
    assert server.plain == []
    assert server.over_tls == []


@pytest.mark.parametrize("sslmode", ["allow", "prefer", "disable", "require"])
@pytest.mark.parametrize("code", ["57P03", "28000", "53300", "3D000"])
def test_cause_is_that_of_a_connect(sslmode: str, code: str) -> None:
    diagnosis, expected = Server(error(code)).diagnose(f"sslmode={sslmode}")
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is expected


def test_starting_server_is_not_asked_again_over_tls() -> None:
    server = Server(error("57P03"), error("28000"))
    diagnosis, _expected = server.diagnose("sslmode=allow")
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.SERVER_STARTING
    assert len(server.plain) == 1
    assert server.over_tls == []


@pytest.mark.parametrize(
    "negotiation",
    [
        message(b"v", 3 << 16, 0),  # no change
        message(b"v", 5 << 16, 0),
        message(b"v", 3 << 16, -1),
        message(b"v", 3 << 16),
    ],
)
def test_invalid_negotiation_of_the_protocol_is_a_fault(negotiation: bytes) -> None:
    diagnosis, expected = Server(negotiation + message(b"R", 0)).diagnose("sslmode=disable")
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is expected is Cause.PROTOCOL


def test_older_version_of_the_protocol_is_accepted() -> None:
    answer = message(b"v", 3 << 16, 0) + message(b"R", 0) + message(b"K", 1, 2) + b"Z\0\0\0\5I"
    diagnosis, expected = Server(answer).diagnose("sslmode=disable max_protocol_version=3.2")
    assert expected is diagnosis.fault is None
