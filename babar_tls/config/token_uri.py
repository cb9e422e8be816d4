"""PKCS #11 URIs (RFC 7512), which name a private key or a certificate in a token.

Only the syntax is checked here. The TLS library interprets the attributes.
"""

from __future__ import annotations

import re

from ..errors import ConfigError

_SCHEME = "pkcs11:"
_PIN_ATTRIBUTES = ("pin-value", "pin-source", "pinfile")  # the last is an older name of pin-source, which p11-kit reads
_MAX_LENGTH = 2048  # characters; the attributes of PKCS #11 that identify an object are shorter
# RFC 7512 §2.3. A path needs an attribute here: without one, the URI matches every object.
_NAME = r"[A-Za-z0-9_-]+"
_PATH = rf"{_NAME}=(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{{2}})*"
_QUERY = rf"{_NAME}=(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{{2}})*"
_URI = re.compile(rf"({_PATH}(?:;{_PATH})*)(?:\?({_QUERY}(?:&{_QUERY})*))?")
# In p11-kit, a value that begins with a NUL matches every token.
_ONE_TOKEN = re.compile(r"(?:[^?]*;)?(?:token|serial)=(?!%00)[^;?]")
_EXAMPLE = "Write a URI of RFC 7512, such as pkcs11:token=NAME;object=KEY. Other characters are written as %20."


def is_token_uri(source: object) -> bool:
    """Return True for a text with the scheme ``pkcs11``, in any letter case."""
    return isinstance(source, str) and source[: len(_SCHEME)].lower() == _SCHEME


def as_token_uri(name: str, text: str) -> str:
    """Check a URI, and return it with its scheme in lower case.

    The result contains no secret and only printable ASCII characters, so that messages may show it.

    Args:
        name: The name of the field, for messages.
        text: A text for which `is_token_uri` returns True.

    Raises:
        ConfigError: The URI is malformed or too long, has an attribute twice, or has a PIN or the source of one.
    """
    attributes = text[len(_SCHEME) :]
    parts = re.split(r"[;?&]", attributes)  # a value in the path may contain "&", so these may be parts of values
    if any(part.partition("=")[0].lower() in _PIN_ATTRIBUTES for part in parts):
        raise ConfigError(
            f"{name} contains the PIN of a token, or its source (pin-value, pin-source)",
            remedy="Remove it from the URI, and set tls_client_key_password (sslpassword) to the PIN, or to a "
            "callable that returns it.",
        )
    found = _URI.fullmatch(attributes) if len(text) <= _MAX_LENGTH else None
    if found is None:  # the text may contain a secret, so it is not shown
        raise ConfigError(f"{name} is not a valid PKCS #11 URI", remedy=_EXAMPLE)
    for group, separator in ((found[1], ";"), (found[2] or "", "&")):
        names = [part.partition("=")[0] for part in group.split(separator)]
        if len(set(names)) < len(names):
            raise ConfigError(f"{name} is not a valid PKCS #11 URI: it has an attribute twice", remedy=_EXAMPLE)
    return _SCHEME + attributes


def check_key_uri(uri: str) -> None:
    """Check that the URI of a key names its token. Otherwise the PIN would be sent to the first token that matches.

    Args:
        uri: A result of `as_token_uri`.

    Raises:
        ConfigError: It has neither ``token`` nor ``serial``. GnuTLS ignores ``slot-id``.
    """
    if _ONE_TOKEN.match(uri, len(_SCHEME)) is None:
        raise ConfigError(
            "tls_client_key does not name its token, so that the PIN could be sent to another one",
            remedy="Add token=LABEL or serial=NUMBER to the URI of tls_client_key (sslkey); see the output of "
            "`p11tool --list-tokens`.",
        )
