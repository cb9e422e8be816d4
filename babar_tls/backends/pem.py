"""PEM (RFC 7468): the blocks of a file, and blocks from DER."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Block", "blocks", "encode"]

_BEGIN = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n", re.MULTILINE)
_END = re.compile(rb"^-----END ([A-Z0-9 ]+)-----", re.MULTILINE)


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
    """The blocks of these labels, in order; what stands around them is passed over.

    A block ends at the first line that ends its label. Where a line begins a block and none ends it, it begins none.
    """
    # Only what ends is searched for its end, so that every byte is passed a fixed number of times.
    last = {found[1]: found.start() for found in _END.finditer(data)}
    position = 0
    for found in _BEGIN.finditer(data):
        start = found.end()
        if found.start() < position or last.get(found[1], -1) < start:
            continue
        line = b"-----END " + found[1] + b"-----"
        end = data.index(b"\n" + line, start - 1) + 1
        position = end + len(line)
        label = found[1].decode("ascii")
        if label in labels:
            yield Block(label, data[found.start() : position] + b"\n", data[start:end])


def encode(label: str, der: bytes) -> bytes:
    """One block."""
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""])
