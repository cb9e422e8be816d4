"""SASLprep (RFC 4013) as PostgreSQL's `pg_saslprep` does it, deviations included.

Client and server must agree to the byte on what a password is, so it is PostgreSQL that we follow where it departs
from the RFC:

* Text that is pure ASCII is left as it is, control characters included.
* Where the RFC says "error" (prohibited or unassigned characters, bidirectional violations, nothing left), the
  password is used as it came, unprepared.
* The prohibitions are tested on the mapped text *before* normalization, where RFC 3454 tests the result.
* Non-ASCII spaces are mapped before the characters "commonly mapped to nothing", so U+200B, which stands in both
  tables, becomes a space.
"""

from __future__ import annotations

import stringprep
import unicodedata

from ..config.validation import as_bytes
from ..errors import ConfigError

_PROHIBITED = (  # RFC 4013 §2.3; C.1.1 (the ASCII space) is allowed
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,  # unassigned in Unicode 3.2 (RFC 3454 §7: a stored string may not have them)
)


def saslprep(password: str | bytes) -> bytes:
    """The bytes that PostgreSQL derives a SCRAM key from.

    Args:
        password: Text, or bytes that may or may not be UTF-8.

    Returns:
        The prepared password in UTF-8, or the password unprepared where PostgreSQL would not prepare it.

    Raises:
        ConfigError: The password is neither, or text that UTF-8 cannot hold (a lone surrogate).
    """
    raw = _as_bytes(password)
    if raw.isascii():
        return raw
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw
    mapped = _map(text)
    if not mapped or _is_prohibited(mapped) or _violates_bidi(mapped):
        return raw
    return unicodedata.normalize("NFKC", mapped).encode()


def _as_bytes(password: object) -> bytes:
    if isinstance(password, str):
        try:
            return password.encode()
        except UnicodeEncodeError:
            raise ConfigError("password contains a lone surrogate", remedy="Pass the exact bytes instead.") from None
    return as_bytes("password", password, "str or bytes")


def _map(text: str) -> str:
    """RFC 4013 §2.1, spaces first."""
    return "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if stringprep.in_table_c12(char) or not stringprep.in_table_b1(char)
    )


def _is_prohibited(text: str) -> bool:
    """RFC 4013 §2.3 and §2.5."""
    return any(table(char) for char in text for table in _PROHIBITED)


def _violates_bidi(text: str) -> bool:
    """RFC 3454 §6: right-to-left text has no left-to-right characters and begins and ends right-to-left."""
    if not any(map(stringprep.in_table_d1, text)):
        return False
    if any(map(stringprep.in_table_d2, text)):
        return True
    return not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1]))
