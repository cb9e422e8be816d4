"""The scripted server's hash for tls-server-end-point is its own, and agrees with the client's."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import Any

import pytest

import babar_tls.testing
from babar_tls.crypto import tls_server_end_point
from babar_tls.errors import ChannelBindingUnsupported
from babar_tls.testing import CertificateAuthority
from babar_tls.testing._end_point_hash import end_point_hash

#: Key of the authority, how it signs, and the hash function.
SIGNATURES: list[tuple[Any, dict[str, Any], str | None]] = [
    ("rsa2048", {"hash": "md5"}, "sha256"),
    ("rsa2048", {"hash": "sha1"}, "sha256"),
    ("rsa2048", {"hash": "sha224"}, "sha224"),
    ("rsa2048", {"hash": "sha256"}, "sha256"),
    ("rsa2048", {"hash": "sha384"}, "sha384"),
    ("rsa2048", {"hash": "sha512"}, "sha512"),
    ("rsa2048", {"hash": "sha3-256"}, "sha3_256"),
    ("rsa2048", {"hash": "sha1", "padding": "pss"}, "sha256"),
    ("rsa2048", {"hash": "sha256", "padding": "pss"}, "sha256"),
    ("rsa2048", {"hash": "sha384", "padding": "pss"}, "sha384"),
    ("rsa2048", {"hash": "sha512", "padding": "pss"}, "sha512"),
    ("p256", {"hash": "sha1"}, "sha256"),
    ("p256", {"hash": "sha224"}, "sha224"),
    ("p256", {"hash": "sha384"}, "sha384"),
    ("p384", {"hash": "sha512"}, "sha512"),
    ("ed25519", {}, None),
]


@pytest.mark.parametrize(("key", "options", "expected"), SIGNATURES, ids=str)
def test_hash_follows_the_signature_of_the_issuer(key: Any, options: dict[str, Any], expected: str | None) -> None:
    der = CertificateAuthority(key).issue("localhost", **options).der
    if expected is None:
        assert end_point_hash(der) is None
        with pytest.raises(ChannelBindingUnsupported):
            tls_server_end_point(der)
    else:
        assert end_point_hash(der) == hashlib.new(expected, der).digest() == tls_server_end_point(der)


def test_servers_of_the_test_package_do_not_use_the_rules_of_the_client() -> None:
    rules = {"tls_server_end_point", "end_point_hash_name", "channel_binding_data", "channel_binding"}
    for path in Path(babar_tls.testing.__file__).parent.rglob("_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names} | set((node.module or "").split("."))
                assert not names & rules, path
