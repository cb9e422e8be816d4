"""PEM (RFC 7468): the blocks of a file, and blocks from DER."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Block", "blocks", "encode"]

_BLOCK = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(.*?)^-----END \1-----", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One block: its label, and the whole of it, headers of the traditional encryption included."""

    label: str
    pem: bytes
    body: bytes

    def der(self) -> bytes:
        """What it holds.

        Raises:
            ValueError: It is damaged.
        """
        try:
            return base64.b64decode(b"".join(self.body.split()), validate=True)
        except binascii.Error as exc:
            raise ValueError("damaged PEM") from exc


def blocks(data: bytes, *labels: str) -> Iterator[Block]:
    """The blocks of these labels, in order; what stands around them is passed over."""
    for found in _BLOCK.finditer(data):
        label = found[1].decode("ascii")
        if label in labels:
            yield Block(label, found[0] + b"\n", found[2])


def encode(label: str, der: bytes) -> bytes:
    """One block."""
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""])
