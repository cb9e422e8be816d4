"""A backend without a part of the contract, or with a wrong type, fails one check, whose message names the fault."""

from __future__ import annotations

from typing import Any

import pytest

from babar_tls.backends import TlsBackend, TlsStream, stdlib
from babar_tls.testing import CheckResult, check_backend

from .broken_backends import Backend, Stream


def only_failure(backend: object) -> CheckResult:
    """Return the only result of an incomplete backend, which is the same if other checks were chosen."""
    report = check_backend(backend, raising=False)  # type: ignore[arg-type]  # may be no backend
    assert check_backend(backend, only="facts", raising=False).results[0].name == "contract.complete"  # type: ignore[arg-type]  # may be no backend
    assert [result.name for result in report.results] == ["contract.complete"]
    assert not report.passed
    assert "\n" not in report.failures[0].detail
    return report.failures[0]


def backend_with(stream: type[TlsStream]) -> type[Backend]:
    return type("MyBackend", (Backend,), {"stream": stream})


def stream_without(*missing: str) -> type[TlsStream]:
    """Return a class with the methods of a correct stream, except for some."""
    members = {name: member for name, member in vars(stdlib._Stream).items() if not name.startswith("__")}
    members["__init__"] = vars(stdlib._Stream)["__init__"]
    for name in missing:
        del members[name]
    return type("MyStream", (TlsStream,), members)


def stream_returning(method: str, value: object) -> type[TlsStream]:
    return type("MyStream", (Stream,), {method: lambda *_, **__: value})


def test_complete_stream_passes() -> None:
    assert check_backend(backend_with(stream_without()), only=["contract", "facts"]).passed


@pytest.mark.parametrize("method", sorted(TlsStream.__abstractmethods__))
def test_missing_method_of_a_stream_is_named(method: str) -> None:
    detail = only_failure(backend_with(stream_without(method))).detail
    assert detail.startswith("create_stream() raised TypeError: Can't instantiate abstract class MyStream with")
    assert method in detail


@pytest.mark.parametrize("method", sorted(TlsBackend.__abstractmethods__))
def test_missing_method_of_a_backend_is_named(method: str) -> None:
    methods = {name: vars(Backend)[name] for name in TlsBackend.__abstractmethods__ if name != method}
    backend = type("MyBackend", (TlsBackend,), {"name": "mine", **methods})
    detail = only_failure(backend).detail
    assert detail.startswith(
        "the backend cannot be created: TypeError: Can't instantiate abstract class MyBackend with"
    )
    assert method in detail


def test_missing_library_errors_are_named() -> None:
    detail = only_failure(backend_with(stream_without("library_errors"))).detail
    assert detail == "the attribute `library_errors` of MyStream must be a tuple of exception types, not None"


@pytest.mark.parametrize("errors", [ValueError, (), ["x"], (str,), (BaseException,)], ids=repr)
def test_wrong_library_errors_are_named(errors: object) -> None:
    detail = only_failure(backend_with(type("MyStream", (Stream,), {"library_errors": errors}))).detail
    assert "`library_errors`" in detail


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"name": None}, "the attribute `name` of MyBackend must be a str, not None"),
        ({"name": ""}, "the attribute `name` of MyBackend is empty"),
        ({"capabilities": lambda _: None}, "`capabilities` must be an attribute, not a method"),
        ({"capabilities": None}, "the attribute `capabilities` must be a Capabilities, not None"),
        ({"capabilities": property(lambda _: {}["tls"])}, "the attribute `capabilities` raised KeyError: 'tls'"),
        ({"name": property(lambda _: {}["tls"])}, "the attribute `name` raised KeyError: 'tls'"),
        ({"create_stream": lambda *_: None}, "create_stream() must return a TlsStream, not None"),
        ({"create_stream": lambda *_: object()}, "create_stream() must return a TlsStream, not object"),
        ({"create_stream": lambda _: None}, "create_stream() raised TypeError: "),
        ({"create_context": lambda *_: 1 / 0}, "create_context() raised ZeroDivisionError: division by zero"),
    ],
)
def test_wrong_member_of_a_backend_is_named(members: dict[str, Any], text: str) -> None:
    backend = type("MyBackend", (Backend,), {"__init__": lambda self: None, **members})
    if "capabilities" not in members:
        backend.capabilities = Backend().capabilities  # type: ignore[attr-defined]  # set on a class made by type()
    assert text in only_failure(backend).detail


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({"version": None}, "capabilities.version must be a str, not None"),
        ({"tls_versions": "TLSv1.3"}, "capabilities.tls_versions must be a tuple of TlsVersion, not 'TLSv1.3'"),
        ({"tls_versions": ("TLSv1.3",)}, "capabilities.tls_versions must be a tuple of TlsVersion, not ('TLSv1.3',)"),
        ({"channel_bindings": "tls-unique"}, "capabilities.channel_bindings must be a tuple of str"),
        ({"client_keys": "PEM"}, "capabilities.client_keys must be a tuple of str, not 'PEM'"),
        ({"crls": "yes"}, "capabilities.crls must be a bool, not 'yes'"),
        ({"unverified_proven": None}, "capabilities.unverified_proven must be a bool, not None"),
    ],
)
def test_wrong_capability_is_named(stated: dict[str, Any], text: str) -> None:
    assert text in only_failure(type("MyBackend", (Backend,), {"stated": stated})).detail


@pytest.mark.parametrize(
    ("method", "value", "text"),
    [
        ("do_handshake", None, "do_handshake() must return bool, not None"),
        ("do_handshake", False, "do_handshake() did not return True when all that the server had sent was received"),
        ("data_to_send", None, "data_to_send() must return bytes, not None"),
        ("data_to_send", bytearray(), "data_to_send() must return bytes, not bytearray"),
        ("receive_data", 5, "receive_data() must return None, not int"),
        ("read_into", b"data", "read_into() must return int or None, not bytes"),
        ("read_into", False, "read_into() must return int or None, not bool"),
        ("write", 4, "write() must return None, not int"),
        ("close_notify", b"", "close_notify() must return None, not bytes"),
        ("close", 0, "close() must return None, not int"),
        ("peer_chain", None, "peer_chain() must return tuple, not None"),
        ("peer_chain", [b"der"], "peer_chain() must return tuple, not list"),
        ("peer_chain", (), "peer_chain() returned () after the handshake"),
        ("peer_chain", ("pem",), "peer_chain() must return a tuple of bytes (DER)"),
        ("facts", {"version": "TLSv1.3"}, "facts() must return StreamFacts, not dict"),
        ("translate", None, "translate() must return a babar_tls.Error, not None"),
        ("translate", OSError(), "translate() must return a babar_tls.Error, not OSError"),
    ],
)
def test_wrong_result_of_a_method_is_named(method: str, value: object, text: str) -> None:
    assert text in only_failure(backend_with(stream_returning(method, value))).detail


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("version", "TLS 1.3"),
        ("version", None),
        ("cipher", None),
        ("alpn", b"postgresql"),
        ("possession_proven", None),
        ("certificate_requested", 1),
    ],
)
def test_wrong_fact_is_named(fact: str, value: object) -> None:
    class Wrong(Stream):
        def facts(self) -> Any:
            return super().facts()._replace(**{fact: value})

    assert only_failure(backend_with(Wrong)).detail.startswith(f"facts().{fact} must be ")


@pytest.mark.parametrize("thing", [object(), 5, dict], ids=["object", "int", "class"])
def test_object_that_is_not_a_backend_is_named(thing: object) -> None:
    assert "is not a subclass of babar_tls.TlsBackend" in only_failure(thing).detail
