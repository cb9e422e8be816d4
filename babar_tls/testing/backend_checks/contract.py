"""Checks of a backend without the connection above it: it is complete, and all its types are right."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from babar_tls.backends import Capabilities, StreamFacts, TlsBackend, TlsStream
from babar_tls.config.enums import TlsVerify, TlsVersion
from babar_tls.errors import ConfigError, Error
from babar_tls.testing.backend_checks._check import ALERT_RECORD, Trial, check, raised
from babar_tls.testing.backend_checks._fixtures import cached_context
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.tls.material import TlsMaterial

if TYPE_CHECKING:
    from collections.abc import Callable

_BINDINGS = {"tls-server-end-point", "tls-unique", "tls-exporter"}
_ROUNDS = 10  # a handshake has two or three


@check(is_essential=True)
def complete(trial: Trial) -> None:
    """The backend has every attribute and method of the contract, and they are of the right types."""
    _check_attributes(trial.backend)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = cached_context(trial.fixtures.certificate).wrap_bio(incoming, outgoing, server_side=True)
    stream = _stream(trial)
    for _ in range(_ROUNDS):
        is_complete = _call(stream, "do_handshake", bool)
        incoming.write(_call(stream, "data_to_send", bytes))
        if is_complete:
            break
        try:
            peer.do_handshake()
        except ssl.SSLError:
            pass  # it needs more data, or has failed and sends an alert
        _call(stream, "receive_data", type(None), outgoing.read())
    assert is_complete, "do_handshake() did not return True when all that the server had sent was received"
    chain = _call(stream, "peer_chain", tuple)
    assert chain, "peer_chain() returned () after the handshake: the server's certificate must be in it"
    assert all(type(each) is bytes for each in chain), "peer_chain() must return a tuple of bytes (DER)"
    _check_facts(_call(stream, "facts", StreamFacts))
    _call(stream, "write", type(None), b"data")
    _call(stream, "read_into", (int, type(None)), memoryview(bytearray(100)))
    _call(stream, "close_notify", type(None))
    _call(stream, "close", type(None))
    _check_translation(_stream(trial))


def _check_attributes(backend: TlsBackend) -> None:
    name = _try("the attribute `name`", lambda: getattr(backend, "name", None))
    assert isinstance(name, str), f"the attribute `name` of {type(backend).__name__} must be a str, not {name!r}"
    assert name, f"the attribute `name` of {type(backend).__name__} is empty"
    stated: Any = _try("the attribute `capabilities`", lambda: getattr(backend, "capabilities", None))
    assert not callable(stated), "`capabilities` must be an attribute, not a method"
    assert isinstance(stated, Capabilities), f"the attribute `capabilities` must be a Capabilities, not {stated!r}"
    assert isinstance(stated.version, str), f"capabilities.version must be a str, not {stated.version!r}"
    for field, kind in (("tls_versions", TlsVersion), ("channel_bindings", str), ("client_keys", str)):
        values: Any = getattr(stated, field)
        is_sequence = isinstance(values, tuple | list) and all(isinstance(each, kind) for each in values)
        assert is_sequence, f"capabilities.{field} must be a tuple of {kind.__name__}, not {values!r}"
    for field, default in vars(Capabilities(version="", tls_versions=())).items():
        if isinstance(default, bool):
            value = getattr(stated, field)
            assert isinstance(value, bool), f"capabilities.{field} must be a bool, not {value!r}"


def _stream(trial: Trial) -> TlsStream:
    backend = trial.backend
    parameters = trial.parameters(verify=TlsVerify.NONE)
    material = TlsMaterial(parameters, system_store=backend.capabilities.system_store)
    context = _try("create_context()", lambda: backend.create_context(parameters, material))
    stream: Any = _try("create_stream()", lambda: backend.create_stream(context, NAME, lambda _: None))
    assert isinstance(stream, TlsStream), f"create_stream() must return a TlsStream, not {_kind(stream)}"
    errors: Any = getattr(stream, "library_errors", None)
    is_tuple = isinstance(errors, tuple) and all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in errors
    )
    assert is_tuple, (
        f"the attribute `library_errors` of {type(stream).__name__} must be a tuple of exception types, not {errors!r}"
    )
    return stream


def _check_facts(facts: StreamFacts) -> None:
    versions = [version.value for version in TlsVersion]
    assert facts.version in versions, f"facts().version must be one of {versions}, not {facts.version!r}"
    kinds = {"cipher": str, "alpn": str | None, "possession_proven": bool, "certificate_requested": bool | None}
    for field, kind in kinds.items():
        value = getattr(facts, field)
        name = kind.__name__ if isinstance(kind, type) else str(kind)
        assert isinstance(value, kind), f"facts().{field} must be {name}, not {value!r}"


def _check_translation(stream: TlsStream) -> None:
    stream.do_handshake()
    stream.data_to_send()
    stream.receive_data(ALERT_RECORD)
    found = raised(Exception, "do_handshake() after an alert", stream.do_handshake)
    if not isinstance(found, Error):  # the backend may translate by itself
        is_listed = isinstance(found, stream.library_errors)
        assert is_listed, f"do_handshake() raised {_kind(found)}, which is not one of `library_errors`: {found}"
        error: Any = _try("translate()", lambda: stream.translate(found, established=False))
        assert isinstance(error, Error), f"translate() must return a babar_tls.Error, not {_kind(error)}"
    _call(stream, "data_to_send", bytes)
    _call(stream, "peer_chain", tuple)
    _call(stream, "close", type(None))


def _call(stream: TlsStream, method: str, kind: type | tuple[type, ...], *arguments: Any) -> Any:
    result = _try(f"{method}()", lambda: getattr(stream, method)(*arguments))
    kinds = kind if isinstance(kind, tuple) else (kind,)
    expected = " or ".join("None" if each is type(None) else each.__name__ for each in kinds)
    is_right = isinstance(result, kinds) and (bool in kinds or not isinstance(result, bool))
    assert is_right, f"{method}() must return {expected}, not {_kind(result)}"
    return result


def _try(what: str, call: Callable[[], Any]) -> Any:
    """Return what a call returns; fail with its description if it raises."""
    try:
        return call()
    except Exception as exc:
        raise AssertionError(f"{what} raised {_kind(exc)}: {exc}") from exc


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


@check()
def capabilities(trial: Trial) -> None:
    """Capabilities are plausible, and the same each time."""
    stated = trial.capabilities
    assert stated == trial.backend.capabilities, "capabilities differ the second time"
    assert stated.version, "version is empty"
    versions = list(stated.tls_versions)
    assert versions, "tls_versions is empty"
    assert versions == [each for each in TlsVersion if each in versions], "tls_versions is not in order, oldest first"
    unknown = set(stated.channel_bindings) - _BINDINGS
    assert not unknown, f"channel_bindings holds {sorted(unknown)}; there are {sorted(_BINDINGS)}"
    assert stated.selects_groups in ("no", "one", "list"), f"selects_groups is {stated.selects_groups!r}"
    assert stated.selects_ciphers in ("no", "TLSv1.2", "all"), f"selects_ciphers is {stated.selects_ciphers!r}"
    assert stated.fips in (True, False, None), f"fips is {stated.fips!r}"


@check()
def new_streams(trial: Trial) -> None:
    """create_stream() returns a new stream each time, which has nothing to send before do_handshake()."""
    first, second = trial.connection(), trial.connection()
    assert first._stream is not second._stream, "create_stream() returned the same stream twice"
    assert first.data_to_send() == b"", "there is data to send before do_handshake()"
    first.do_handshake()
    assert second.data_to_send() == b"", "a stream sends another stream's data"


@check()
def unknown_choices(trial: Trial) -> None:
    """A group or cipher suite that does not exist, or cannot be chosen, is a ConfigError of create_context()."""
    for field in ("groups", "ciphers"):
        with trial.case(field):
            parameters = trial.parameters(**{field: ("no-such-thing",)})
            raised(ConfigError, f"{field}=('no-such-thing',)", trial.connection, NAME, parameters)
    if trial.capabilities.selects_ciphers == "TLSv1.2":
        with trial.case("ciphers, one of TLS 1.3"):
            parameters = trial.parameters(ciphers=("TLS_AES_128_GCM_SHA256",))
            raised(ConfigError, "ciphers=('TLS_AES_128_GCM_SHA256',)", trial.connection, NAME, parameters)
