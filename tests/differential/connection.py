"""The verdict on a world: that of OpenSSL through `ssl` without this library, and that of each backend."""

from __future__ import annotations

import itertools
import ssl
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from babar_tls import CertificateError, TlsError
from babar_tls.backends import TlsParameters, available_backends
from babar_tls.testing import ServerCertificate
from babar_tls.testing._tls_contexts import server_context
from babar_tls.testing.backend_checks._pair import Pair
from babar_tls.x509.hostname import name_fault
from babar_tls.x509.pem import encode

from .certificates import NAME, World, certificate

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.config.enums import TlsVerify

BACKENDS = tuple(name for name in ("stdlib", "openssl", "rustls") if name in available_backends())
_files = itertools.count()


class Verdict(NamedTuple):
    """Whether the server was accepted.

    Attributes:
        text: Why not; empty where it was.
        code: OpenSSL's X.509 verification code, where it has one.
        reason: `CertificateError.reason`.
    """

    text: str = ""
    code: int = 0
    reason: str = ""

    @property
    def accepted(self) -> bool:
        return not self.text


class Server:
    """The server of a world, and the client's root file."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        ders = [certificate(spec) for spec in (world.leaf, *world.sent)]
        key = world.leaf.pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._certificate = ServerCertificate(
            b"".join(encode("CERTIFICATE", der) for der in ders), key, ders[0], root_pem=b""
        )
        self._context = server_context(self._certificate)
        self._roots = [certificate(spec) for spec in world.trusted]
        self._path = folder / f"{next(_files)}.crt"
        self._path.write_bytes(b"".join(encode("CERTIFICATE", der) for der in self._roots))

    def connect(self, backend: str) -> Verdict:
        """Return the verdict of a backend."""
        world = self.world
        parameters = TlsParameters(
            root_cert_path=str(self._path), default_roots=False, verify=world.verify, common_name=world.common_name
        )
        pair = Pair(backend, parameters, NAME, self._certificate, context=self._context)
        try:
            pair.handshake()
        except CertificateError as error:
            assert not pair._server_done, "the server finished its handshake before its certificate was rejected"
            return Verdict(error.message, reason=error.reason)
        except TlsError as error:
            return Verdict(error.message)
        return Verdict()

    def connect_with_openssl(self) -> Verdict:
        """Return OpenSSL's verdict on the chain, and then on the name."""
        world = self.world
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.hostname_checks_common_name = world.common_name
        context.load_verify_locations(cadata=b"".join(dict.fromkeys(self._roots)))
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(down, up, server_hostname=NAME)
        server = self._context.wrap_bio(up, down, server_side=True)
        done = False
        while not done:
            for end in (client, server):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                except ssl.SSLCertVerificationError as exc:
                    return Verdict(exc.verify_message, exc.verify_code)
                except ssl.SSLError as exc:
                    return Verdict(str(exc.reason))
                done = done or end is client
        return Verdict(_name_fault(world.verify, certificate(world.leaf), common_name=world.common_name))


def _name_fault(verify: TlsVerify, der: bytes, *, common_name: bool) -> str:
    fault = name_fault(der, NAME, common_name=common_name) if verify is verify.FULL else None
    return fault.message if fault is not None else ""
