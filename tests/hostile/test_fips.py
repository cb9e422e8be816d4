"""Connects use only FIPS 140 algorithms and work with a restricted hashlib."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import ScriptedServer

from .scripts import PASSWORD, log_in, receive_until_closed

if TYPE_CHECKING:
    from babar_tls import Config
    from babar_tls.testing import ScriptedPeer, ServerCertificate

#: Runs before other imports. FIPS 180-4 and FIPS 202 define the remaining algorithms.
RESTRICT = """
    import hashlib, sys

    approved = {"sha224", "sha256", "sha384", "sha512", "sha512_224", "sha512_256", "sha512-224", "sha512-256"}
    approved |= {"sha3_224", "sha3_256", "sha3_384", "sha3_512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"}
    real = hashlib.new

    def new(name, data=b"", **options):
        if name.lower() not in approved:
            raise ValueError(f"[digital envelope routines] unsupported: {name}")
        return real(name, data, **options)

    for name in ("md5", "sha1", "blake2b", "blake2s"):
        delattr(hashlib, name)
    hashlib.new = new
    hashlib.algorithms_available = {name for name in hashlib.algorithms_available if name in approved}
"""
CONNECT = """
    import asyncio
    from babar_tls import AsyncSession, Config, Session

    style, backend, roots, password, port = sys.argv[1:]
    config = Config(
        host="localhost", hostaddr="127.0.0.1", port=int(port), user="app", password=password, database="app",
        tls_backend=backend, tls_root_cert_path=roots, channel_binding="require",
    )
    for _ in range(2):  # the second connect uses cached keys
        if style == "blocking":
            with Session.connect(config) as session:
                print(session.security.auth_method, session.security.channel_binding_hash)
        else:
            async def connect():
                async with await AsyncSession.connect(config) as session:
                    print(session.security.auth_method, session.security.channel_binding_hash)
            asyncio.run(connect())
"""


@pytest.mark.parametrize("native", ["", "hashlib"])
def test_scram_login_needs_only_algorithms_of_fips_140(
    config: Config, backend: str, style: str, native: str, certificate: ServerCertificate
) -> None:
    def script(peer: ScriptedPeer) -> None:
        log_in(peer, certificate.der)
        receive_until_closed(peer)

    with ScriptedServer(script, tls=certificate) as server:
        program = textwrap.dedent(RESTRICT) + textwrap.dedent(CONNECT)
        arguments = [style, backend, str(config.tls_root_cert_path), PASSWORD, str(server.port)]
        result = subprocess.run(  # noqa: S603 - this Python, and the program above
            [sys.executable, "-c", program, *arguments],
            env={"BABAR_TLS_NATIVE": native, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.stderr == ""
    assert result.stdout.split("\n") == ["scram-sha-256-plus sha256", "scram-sha-256-plus sha256", ""]
