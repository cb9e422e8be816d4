"""Prepare passwords with SASLprep (RFC 4013) in the same way as PostgreSQL's `pg_saslprep`.

Client and server must compute the same bytes. So this module reproduces PostgreSQL's deviations from the RFC:

* ASCII text is not changed, even if it contains control characters.
* Where the RFC requires an error (prohibited or unassigned characters, bidirectional violations, an empty result), the
  password is used unprepared.
* The mapped text is checked for prohibited characters *before* normalization. RFC 3454 checks the normalized text.
* Non-ASCII spaces are mapped before the characters "commonly mapped to nothing". So U+200B, which is in both tables,
  becomes a space.
"""

from __future__ import annotations

import stringprep
import unicodedata

from ..config.validation import as_bytes, has_surrogates
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
    stringprep.in_table_a1,  # unassigned in Unicode 3.2 (RFC 3454 §7: not allowed in stored strings)
)


def saslprep(password: str | bytes) -> bytes:
    """Return the bytes from which PostgreSQL derives a SCRAM key.

    Args:
        password: Text, or bytes, which need not be UTF-8.

    Returns:
        The prepared password in UTF-8, or the unprepared password if PostgreSQL would not prepare it.

    Raises:
        ConfigError: The password has another type, or contains a lone surrogate.
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
        if has_surrogates(password):  # a UnicodeEncodeError would contain the password, also as a context
            raise ConfigError("password contains a lone surrogate", remedy="Pass the exact bytes instead.")
        return password.encode()
    return as_bytes("password", password, "str or bytes")


def _map(text: str) -> str:
    """Apply the mappings of RFC 4013 §2.1, spaces first."""
    spaced = (" " if stringprep.in_table_c12(char) else char for char in text)
    return "".join(char for char in spaced if not stringprep.in_table_b1(char))


def _is_prohibited(text: str) -> bool:
    """Return True if RFC 4013 §2.3 or §2.5 prohibits a character."""
    return any(table(char) for char in text for table in _PROHIBITED)


def _violates_bidi(text: str) -> bool:
    """Return True if right-to-left text has left-to-right characters, or does not begin and end right-to-left.

    RFC 3454 §6.
    """
    if not any(map(stringprep.in_table_d1, text)):
        return False
    if any(map(stringprep.in_table_d2, text)):
        return True
    return not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1]))
