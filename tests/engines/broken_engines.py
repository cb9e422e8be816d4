"""Engines with one fault each, around the standard library's: what a careless author might write."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babar_tls import Closed, Error, TlsError, TlsVerify
from babar_tls.backends import Capabilities, TlsBackend, TlsParameters, TlsStream, get_backend
from babar_tls.backends.stdlib import StdlibBackend

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Stream(TlsStream):
    """A sound stream; faults are in what overrides it."""

    def __init__(self, inner: TlsStream, parameters: TlsParameters, engine: Engine) -> None:
        self.inner = inner
        self.parameters = parameters
        self.engine = engine

    @property
    def peer_closed(self) -> bool:  # type: ignore[override]
        return self.inner.peer_closed

    @property
    def possession_proven(self) -> bool:  # type: ignore[override]
        return self.inner.possession_proven

    @property
    def trusted_roots(self) -> Any:  # type: ignore[override]
        return self.inner.trusted_roots

    def do_handshake(self) -> bool:
        return self.inner.do_handshake()

    def receive_data(self, data: Buffer) -> None:
        self.inner.receive_data(data)

    def receive_eof(self) -> None:
        self.inner.receive_eof()

    def data_to_send(self) -> bytes:
        return self.inner.data_to_send()

    def read_into(self, buffer: memoryview) -> int:
        return self.inner.read_into(buffer)

    def write(self, data: Buffer) -> int:
        return self.inner.write(data)

    def close_notify(self) -> None:
        self.inner.close_notify()

    @property
    def version(self) -> str:
        return self.inner.version

    @property
    def cipher(self) -> str:
        return self.inner.cipher

    @property
    def group(self) -> str | None:
        return self.inner.group

    @property
    def alpn(self) -> str | None:
        return self.inner.alpn

    @property
    def peer_certificate(self) -> bytes:
        return self.inner.peer_certificate

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        return self.inner.peer_chain

    @property
    def certificate_requested(self) -> bool | None:
        return self.inner.certificate_requested

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        return self.inner.export_keying_material(label, length)

    def first_finished_message(self) -> bytes:
        return self.inner.first_finished_message()


class Engine(TlsBackend):
    """A sound engine: it changes nothing."""

    name = "sound"
    stream: type[Stream] = Stream
    said: dict[str, Any] = {}  # noqa: RUF012 - never changed
    asked: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self.inner = get_backend("stdlib")

    def capabilities(self) -> Capabilities:
        return dataclasses.replace(self.inner.capabilities(), **self.said)

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        changed = dataclasses.replace(parameters, **self.asked)
        return self.stream(self.inner.wrap(changed, server_hostname), parameters, self)


#: Every faulty engine, and the checks that must fail for it.
FAULTS: dict[type[Engine], set[str]] = {}


def fails(*checks: str) -> Any:
    def register(engine: type[Engine]) -> type[Engine]:
        FAULTS[engine] = set(checks)
        return engine

    return register


@fails("names.server_name_kept_back")
class AlwaysSendsTheName(Engine):
    asked = {"send_server_name": True}  # noqa: RUF012


@fails(
    "certificates.default_roots",
    "certificates.expired_root",
    "certificates.faults",
    "certificates.messages",
    "certificates.only_the_given_roots",
    "certificates.weak_signatures",
    "contract.name_needed",
    "contract.parameters_are_left_alone",
    "endurance.threads",
    "files.revocation",
    "files.revocation_files",
    "files.root_file",
    "files.root_file_rotates",
    "hostile.no_plaintext_after_failure",
    "names.addresses_as_names",
    "names.common_name_is_no_name",
    "names.common_names",
    "names.mismatching",
    "names.null_in_a_name",
    "names.server_name_kept_back",
)
class VerifiesNothing(Engine):
    asked = {"verify": TlsVerify.NONE}  # noqa: RUF012


@fails(
    "contract.name_needed",
    "contract.parameters_are_left_alone",
    "endurance.threads",
    "hostile.no_plaintext_after_failure",
    "names.addresses_as_names",
    "names.common_name_is_no_name",
    "names.common_names",
    "names.mismatching",
    "names.null_in_a_name",
    "names.server_name_kept_back",
)
class VerifiesNoNames(Engine):
    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        if parameters.verify is TlsVerify.FULL:
            parameters = dataclasses.replace(parameters, verify=TlsVerify.CA)
        return super().wrap(parameters, server_hostname)


@fails("files.revocation", "files.revocation_files")
class IgnoresRevocationLists(Engine):
    asked = {"crl_path": None, "crl_dir": None}  # noqa: RUF012


@fails("contract.refusals")
class IgnoresWhatItCannotDo(IgnoresRevocationLists):
    said = {"crls": False}  # noqa: RUF012


@fails("handshake.version_range")
class IgnoresTheNewestVersion(Engine):
    asked = {"max_version": None}  # noqa: RUF012


@fails("handshake.ciphers", "contract.unknown_choices", "contract.refusals")
class IgnoresCipherSuites(Engine):
    asked = {"ciphers": ()}  # noqa: RUF012


@fails(
    "closing.end_right_after_the_handshake",
    "closing.truncation",
    "hostile.changed_records",
)
class TakesTheEndForAGoodbye(Engine):
    class stream(Stream):  # noqa: N801
        ended = False

        @property
        def peer_closed(self) -> bool:
            return self.ended or self.inner.peer_closed

        def read_into(self, buffer: memoryview) -> int:
            try:
                return self.inner.read_into(buffer)
            except Closed:
                self.ended = True
                return 0


@fails(
    "data.empty_buffer",
    "keys.session_tickets",
)
class TakesNothingForTheEnd(Engine):
    class stream(Stream):  # noqa: N801
        ended = False

        @property
        def peer_closed(self) -> bool:
            return self.ended

        def read_into(self, buffer: memoryview) -> int:
            count = self.inner.read_into(buffer)
            self.ended = count == 0
            return count


@fails("data.large_writes")
class LosesWhatIsLarge(Engine):
    class stream(Stream):  # noqa: N801
        def write(self, data: Buffer) -> int:
            self.inner.write(memoryview(data).cast("B")[: 1 << 20])
            return memoryview(data).nbytes


@fails("data.large_writes", "data.sizes", "handshake.drained")
class WritesOneRecord(Engine):
    class stream(Stream):  # noqa: N801
        def write(self, data: Buffer) -> int:
            return self.inner.write(memoryview(data).cast("B")[: 1 << 14])


@fails("data.kinds_of_buffers")
class CountsItems(Engine):
    class stream(Stream):  # noqa: N801
        def write(self, data: Buffer) -> int:
            self.inner.write(data)
            return len(memoryview(data))


@fails(
    "data.buffers_are_copied",
)
class KeepsTheCallersBuffer(Engine):
    class stream(Stream):  # noqa: N801
        waiting: Buffer = b""

        def receive_data(self, data: Buffer) -> None:
            self.flush()
            self.waiting = data

        def flush(self) -> None:
            waiting, self.waiting = self.waiting, b""
            self.inner.receive_data(waiting)

        def receive_eof(self) -> None:
            self.flush()
            self.inner.receive_eof()

        def do_handshake(self) -> bool:
            self.flush()
            return self.inner.do_handshake()

        def read_into(self, buffer: memoryview) -> int:
            self.flush()
            return self.inner.read_into(buffer)


@fails(
    "handshake.drained",
)
class SendsTwice(Engine):
    class stream(Stream):  # noqa: N801
        last = b""

        def data_to_send(self) -> bytes:
            fresh = self.inner.data_to_send()
            again, self.last = self.last, fresh
            return fresh or (again if len(again) > 50_000 else b"")


@fails(
    "data.large_writes",
    "data.sizes",
    "handshake.drained",
)
class SendsInPieces(Engine):
    class stream(Stream):  # noqa: N801
        rest = b""

        def data_to_send(self) -> bytes:
            data = self.rest + self.inner.data_to_send()
            self.rest = data[1 << 16 :]
            return data[: 1 << 16]


@fails("handshake.alpn")
class SaysWhatItOffered(Engine):
    class stream(Stream):  # noqa: N801
        @property
        def alpn(self) -> str | None:
            return self.parameters.alpn[0] if self.parameters.alpn else None


@fails("facts.exporter")
class MakesUpAnExporter(Engine):
    said = {"channel_bindings": ("tls-server-end-point", "tls-exporter", "tls-unique")}  # noqa: RUF012

    class stream(Stream):  # noqa: N801
        def export_keying_material(self, label: bytes, length: int) -> bytes:
            return hashlib.shake_128(label + self.peer_certificate).digest(length)


@fails("facts.no_exporter")
class ExportsZeros(Engine):
    class stream(Stream):  # noqa: N801
        def export_keying_material(self, label: bytes, length: int) -> bytes:
            return bytes(length)


@fails("facts.first_finished_message")
class TakesAnotherFinished(Engine):
    class stream(Stream):  # noqa: N801
        def first_finished_message(self) -> bytes:
            return self.inner.first_finished_message()[::-1]


@fails("facts.group")
class NamesAGroupItDoesNotKnow(Engine):
    said = {"reports_group": False}  # noqa: RUF012


@fails("facts.peer_chain")
class SaysAChainAndHasNone(Engine):
    class stream(Stream):  # noqa: N801
        @property
        def peer_chain(self) -> tuple[bytes, ...]:
            return (self.peer_certificate,)


@fails("contract.wrap_does_nothing")
class TrustsBeforeTheHandshake(Engine):
    class stream(Stream):  # noqa: N801
        possession_proven = True  # type: ignore[assignment]


@fails("keys.possession")
class SaysNothingOfUnverifiedServers(Engine):
    said = {"unverified_proven": False}  # noqa: RUF012


@fails("keys.possession")
class DoubtsEveryServer(Engine):
    class stream(Stream):  # noqa: N801
        possession_proven = False  # type: ignore[assignment]


@fails(
    "endurance.cancelled",
    "endurance.given_up",
    "endurance.memory",
)
class Leaks(Engine):
    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        stream = super().wrap(parameters, server_hostname)
        self.__dict__.setdefault("streams", []).append(stream)
        return stream


@fails("endurance.memory")
class LeaksContexts(Engine):
    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[Any] = []

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        self.contexts.append(dataclasses.astuple(parameters) + (bytearray(50_000),))  # noqa: RUF005
        return super().wrap(parameters, server_hostname)


@fails(
    "closing.end_within_the_handshake",
    "endurance.only_our_exceptions",
    "hostile.garbage_for_a_server_hello",
)
class LoopsAtTheEnd(Engine):
    class stream(Stream):  # noqa: N801
        ended = done = False

        def receive_eof(self) -> None:
            self.ended = True
            if self.done:
                self.inner.receive_eof()

        def do_handshake(self) -> bool:
            self.done = self.inner.do_handshake()
            while self.ended and not self.done:
                self.done = self.inner.do_handshake()
            return self.done


@fails(
    "data.nothing_before_the_handshake",
    "endurance.only_our_exceptions",
    "files.client_certificate_refused",
    "hostile.alert_after_the_handshake",
    "hostile.alert_for_a_server_hello",
    "hostile.changed_handshake",
    "hostile.changed_records",
    "hostile.garbage_after_the_handshake",
    "hostile.garbage_for_a_server_hello",
    "hostile.garbage_within_the_handshake",
    "hostile.no_plaintext_after_failure",
    "hostile.plain_text",
    "hostile.reordered_records",
    "keys.renegotiation",
    "keys.wrong_key",
)
class LetsForeignErrorsThrough(Engine):
    class stream(Stream):  # noqa: N801
        def read_into(self, buffer: memoryview) -> int:
            try:
                return self.inner.read_into(buffer)
            except TlsError as exc:
                raise OSError(str(exc)) from exc


@fails(
    "endurance.threads",
)
class SharesItsState(Engine):
    """The last connection's certificate is everybody's."""

    last = b""

    class stream(Stream):  # noqa: N801
        def do_handshake(self) -> bool:
            done = self.inner.do_handshake()
            if done:
                self.engine.last = self.inner.peer_certificate  # type: ignore[attr-defined]
            return done

        @property
        def peer_certificate(self) -> bytes:
            return self.engine.last  # type: ignore[attr-defined,no-any-return]


@fails("endurance.after_fork")
class BelongsToOneProcess(Engine):
    def __init__(self) -> None:
        super().__init__()
        self.process = os.getpid()

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        if os.getpid() != self.process:
            raise TlsError("this is another process")
        return super().wrap(parameters, server_hostname)


@fails(
    "certificates.expired_root",
    "certificates.faults",
    "certificates.only_the_given_roots",
    "certificates.weak_signatures",
    "closing.end_within_the_handshake",
    "hostile.alert_for_a_server_hello",
    "hostile.changed_handshake",
    "hostile.garbage_for_a_server_hello",
    "hostile.garbage_within_the_handshake",
    "hostile.no_plaintext_after_failure",
    "hostile.plain_text",
    "keys.wrong_key",
    "names.common_names",
    "names.server_name_kept_back",
)
class WritesInTheClearAfterFailure(Engine):
    class stream(Stream):  # noqa: N801
        failed = False
        clear = b""

        def do_handshake(self) -> bool:
            try:
                return self.inner.do_handshake()
            except Error:
                self.failed = True
                raise

        def write(self, data: Buffer) -> int:
            if self.failed:
                self.clear += bytes(data)
                return len(bytes(data))
            return self.inner.write(data)

        def data_to_send(self) -> bytes:
            clear, self.clear = self.clear, b""
            return self.inner.data_to_send() + clear


@fails(
    "certificates.messages",
    "closing.end_within_the_handshake",
    "hostile.alert_for_a_server_hello",
    "hostile.changed_handshake",
    "hostile.garbage_for_a_server_hello",
    "hostile.garbage_within_the_handshake",
    "hostile.no_plaintext_after_failure",
    "hostile.plain_text",
    "keys.wrong_key",
)
class ForgetsItsFailure(Engine):
    class stream(Stream):  # noqa: N801
        failed = False

        def do_handshake(self) -> bool:
            if self.failed:
                return False
            try:
                return self.inner.do_handshake()
            except Error:
                self.failed = True
                raise


@fails("files.root_file_rotates")
class ReadsFilesOnce(Engine):
    class stream(Stream):  # noqa: N801
        trusted_roots = None

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[str, str] = {}

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        path = parameters.root_cert_path
        unread = path is not None and path not in self.copies and Path(path).is_file()
        if unread and parameters.verify is not TlsVerify.NONE:
            self.copies[path] = f"{path}.{len(self.copies)}"
            Path(self.copies[path]).write_bytes(Path(path).read_bytes())
        copy = dataclasses.replace(parameters, root_cert_path=self.copies.get(path or "", path))
        return super().wrap(copy, server_hostname)


@fails("files.key_log")
class LogsForEverybody(Engine):
    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        stream = super().wrap(parameters, server_hostname)
        if parameters.key_log_path is not None:
            Path(parameters.key_log_path).chmod(0o644)
        return stream


@fails("files.client_certificate", "files.client_certificate_files", "facts.certificate_requested")
class HasNoCertificateToShow(Engine):
    asked = {"client_certificate": None}  # noqa: RUF012


@fails("files.secrets_stay_secret")
class ShowsItsSecrets(Engine):
    class stream(Stream):  # noqa: N801
        def __repr__(self) -> str:
            source = self.parameters.client_certificate
            return f"Stream(password={source.password if source else None!r})"


@fails("keys.wrong_key")
class BelievesAnySignature(Engine):
    """Cannot be had with `ssl`: it is made up that the handshake has succeeded."""

    class stream(Stream):  # noqa: N801
        def do_handshake(self) -> bool:
            try:
                return self.inner.do_handshake()
            except TlsError as exc:
                if "bad signature" in str(exc):
                    return True
                raise


class NeverFinishes(Engine):
    """Waits where nothing will come, and cannot be woken."""

    class stream(Stream):  # noqa: N801
        def do_handshake(self) -> bool:
            threading.Event().wait(20)
            return False


class CannotEvenSay(Engine):
    def capabilities(self) -> Capabilities:
        raise KeyError("version")


class CannotBeMade(StdlibBackend):
    """Its wrap() is of another age."""

    name = "old"

    def wrap(self, parameters: TlsParameters) -> TlsStream:  # type: ignore[override]
        return super().wrap(parameters, None)
