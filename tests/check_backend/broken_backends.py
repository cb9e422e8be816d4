"""Backends with one fault each, derived from the standard library's: mistakes that authors of backends can make."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babar_tls import CertificateError, Error, TlsError, TlsVerify
from babar_tls.backends import TlsStream, stdlib

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from babar_tls.backends import StreamFacts, TlsParameters
    from babar_tls.tls.material import TlsMaterial


class Stream(stdlib._Stream):
    """A correct stream; subclasses have the faults."""

    backend: Backend


class Backend(stdlib.StdlibBackend):
    """A correct backend; subclasses have the faults."""

    name = "sound"
    stream: type[Stream] = Stream
    stated: dict[str, Any] = {}
    ignored: dict[str, Any] = {}

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = dataclasses.replace(self.capabilities, **self.stated)

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        return super().create_context(dataclasses.replace(parameters, **self.ignored), material)

    def create_stream(self, context: Any, sni: str | None, check_leaf: object) -> TlsStream:
        stream = self.stream(context, sni)
        stream.backend = self
        return stream


#: Every faulty backend, with the checks that must fail for it.
FAULTS: dict[type[Backend], set[str]] = {}


def fails(*checks: str) -> Any:
    def register(backend: type[Backend]) -> type[Backend]:
        FAULTS[backend] = set(checks)
        return backend

    return register


# Parameters


@fails("handshake.alpn")
class IgnoresAlpn(Backend):
    ignored = {"alpn": ()}


@fails("handshake.version_range")
class IgnoresTheNewestVersion(Backend):
    ignored = {"max_version": None}


@fails("handshake.ciphers", "contract.unknown_choices")
class IgnoresCipherSuites(Backend):
    ignored = {"ciphers": ()}


@fails("handshake.groups")
class IgnoresGroups(Backend):
    ignored = {"groups": ()}


@fails("files.revocation")
class IgnoresRevocationLists(Backend):
    ignored = {"crl_path": None, "crl_dir": None}


@fails("files.client_certificate", "files.client_certificate_files", "facts.certificate_requested")
class PresentsNoCertificate(Backend):
    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        material.__class__ = type("NoIdentity", (type(material),), {"identity": None})
        return super().create_context(parameters, material)


@fails("endurance.threads", "names.server_name_indication")
class NeverSendsTheName(Backend):
    def create_stream(self, context: Any, sni: str | None, check_leaf: object) -> TlsStream:
        return super().create_stream(context, None, check_leaf)


@fails("names.server_name_indication", "names.server_name_kept_back")
class AlwaysSendsAName(Backend):
    def create_stream(self, context: Any, sni: str | None, check_leaf: object) -> TlsStream:
        return super().create_stream(context, sni or "localhost", check_leaf)


# Verification


@fails(
    "certificates.default_roots",
    "certificates.expired_root",
    "certificates.faults",
    "certificates.only_the_given_roots",
    "certificates.weak_signatures",
    "files.revocation",
    "files.revocation_files",
    "files.root_file_rotates",
    "hostile.alert_reaches_the_server",
    "names.common_names",
)
class VerifiesNothing(Backend):
    ignored = {"verify": TlsVerify.NONE}


@fails("endurance.threads", "names.lower_levels", "names.mismatching")
class ComparesNamesByItself(Backend):
    def create_stream(self, context: Any, sni: str | None, check_leaf: object) -> TlsStream:
        if sni is not None and context.verify_mode:
            context.check_hostname = True
        return super().create_stream(context, sni, check_leaf)


@fails("names.common_names")
class PromisesConstrainedCommonNames(Backend):
    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        context = super().create_context(parameters, material)
        context.hostname_checks_common_name = False
        return context


@fails("keys.wrong_key")
class AcceptsAnySignature(Backend):
    """Report success after a bad signature, because Python's `ssl` always checks it."""

    class stream(Stream):
        broken = False

        def do_handshake(self) -> bool:
            try:
                return super().do_handshake()
            except ssl.SSLError as exc:
                if "bad signature" in str(exc):
                    self.broken = True
                    return True
                raise

        def peer_chain(self) -> tuple[bytes, ...]:
            return super().peer_chain() or ((b"unknown",) if self.broken else ())


# Bytes


@fails(
    "closing.truncation",
    "data.both_ways_at_once",
    "data.no_data",
    "data.empty_input",
    "hostile.changed_records",
    "keys.key_update",
    "keys.renegotiation",
    "keys.session_tickets",
)
class ReportsNoDataAsTheEnd(Backend):
    class stream(Stream):
        def read_into(self, buffer: memoryview) -> int | None:
            return super().read_into(buffer) or 0


@fails("closing.close_notify", "closing.read_after_our_close_notify")
class IgnoresCloseNotify(Backend):
    class stream(Stream):
        def read_into(self, buffer: memoryview) -> int | None:
            return super().read_into(buffer) or None


@fails("data.large_writes")
class LosesWhatIsLarge(Backend):
    class stream(Stream):
        def write(self, data: Buffer) -> None:
            super().write(memoryview(data).cast("B")[: 1 << 20])


@fails("data.large_writes", "data.sizes", "handshake.drained")
class WritesOneRecord(Backend):
    class stream(Stream):
        def write(self, data: Buffer) -> None:
            super().write(memoryview(data).cast("B")[: 1 << 14])


@fails("data.kinds_of_buffers")
class CountsItems(Backend):
    class stream(Stream):
        def write(self, data: Buffer) -> None:
            super().write(memoryview(data).cast("B")[: len(memoryview(data))])


@fails("data.buffers_are_copied")
class KeepsTheCallersBuffer(Backend):
    class stream(Stream):
        waiting: Buffer = b""

        def receive_data(self, data: Buffer) -> None:
            self.flush()
            self.waiting = data

        def flush(self) -> None:
            waiting, self.waiting = self.waiting, b""
            super().receive_data(waiting)

        def do_handshake(self) -> bool:
            self.flush()
            return super().do_handshake()

        def read_into(self, buffer: memoryview) -> int | None:
            self.flush()
            return super().read_into(buffer)


@fails("data.reads_stay_inside")
class WritesBehindWhatItReads(Backend):
    class stream(Stream):
        def read_into(self, buffer: memoryview) -> int | None:
            count = super().read_into(buffer)
            if count and count < len(buffer):
                buffer[count:] = bytes(len(buffer) - count)
            return count


@fails("handshake.drained")
class SendsTwice(Backend):
    class stream(Stream):
        last = b""

        def data_to_send(self) -> bytes:
            fresh = super().data_to_send()
            again, self.last = self.last, fresh
            return fresh or (again if len(again) > 50_000 else b"")


@fails("data.large_writes", "data.sizes", "handshake.drained")
class SendsInPieces(Backend):
    class stream(Stream):
        rest = b""

        def data_to_send(self) -> bytes:
            data = self.rest + super().data_to_send()
            self.rest = data[1 << 16 :]
            return data[: 1 << 16]


@fails("handshake.data_behind_finished")
class LosesWhatFollowsFinished(Backend):
    class stream(Stream):
        def do_handshake(self) -> bool:
            done = super().do_handshake()
            if done:
                self._incoming.read()
            return done


@fails("hostile.alert_reaches_the_server")
class LosesItsAlert(Backend):
    class stream(Stream):
        def do_handshake(self) -> bool:
            try:
                return super().do_handshake()
            except ssl.SSLError:
                self._outgoing.read()
                raise


@fails("closing.our_close_notify")
class SendsNoCloseNotify(Backend):
    class stream(Stream):
        def close_notify(self) -> None:
            pass


@fails("closing.close_notify_of_both", "closing.our_close_notify", "endurance.only_our_exceptions")
class FailsAtCloseNotify(Backend):
    class stream(Stream):
        def close_notify(self) -> None:
            if self._object.pending() or self._incoming.pending:
                raise ValueError("there is unread data")
            super().close_notify()


@fails("closing.close", "handshake.groups")
class FailsToClose(Backend):
    class stream(Stream):
        is_waiting = False

        def do_handshake(self) -> bool:
            done = super().do_handshake()
            self.is_waiting = not done
            return done

        def receive_data(self, data: Buffer) -> None:
            self.is_waiting = False
            super().receive_data(data)

        def close(self) -> None:
            if self.is_waiting:
                raise ValueError("the handshake is not complete")


# Facts


@fails("handshake.alpn")
class StatesWhatItOffered(Backend):
    class stream(Stream):
        def facts(self) -> StreamFacts:
            return super().facts()._replace(alpn="postgresql")


@fails("facts.exporter")
class InventsAnExporter(Backend):
    stated = {"channel_bindings": ("tls-server-end-point", "tls-exporter", "tls-unique")}

    class stream(Stream):
        def export_keying_material(self, label: bytes, length: int) -> bytes:
            return hashlib.shake_128(label + self.peer_chain()[0]).digest(length)


@fails("facts.no_exporter")
class ExportsZeros(Backend):
    class stream(Stream):
        def export_keying_material(self, label: bytes, length: int) -> bytes:
            return bytes(length)


@fails("facts.first_finished_message")
class ReturnsAnotherFinished(Backend):
    class stream(Stream):
        def first_finished_message(self) -> bytes:
            return super().first_finished_message()[::-1]


@fails("facts.peer_chain")
class SortsTheChain(Backend):
    class stream(Stream):
        def peer_chain(self) -> tuple[bytes, ...]:
            chain = super().peer_chain()
            return chain[:1] + chain[:0:-1]


@fails("facts.certificate_requested")
class AlwaysRequested(Backend):
    class stream(Stream):
        def facts(self) -> StreamFacts:
            return super().facts()._replace(certificate_requested=True)


@fails("keys.possession")
class StatesNoProofOfUnverifiedServers(Backend):
    stated = {"unverified_proven": False}


@fails("keys.possession")
class DoubtsEveryServer(Backend):
    class stream(Stream):
        def facts(self) -> StreamFacts:
            return super().facts()._replace(possession_proven=False)


@fails("facts.version", "handshake.ciphers", "handshake.version_range")
class StatesOneVersion(Backend):
    class stream(Stream):
        def facts(self) -> StreamFacts:
            return super().facts()._replace(version="TLSv1.3")


@fails("contract.capabilities")
class UnknownCapabilities(Backend):
    stated = {"selects_groups": "maybe"}


# Capabilities that promise too much


@fails("files.key_log")
class PromisesAKeyLog(Backend):
    ignored = {"key_log_path": None}


@fails("facts.certificate_requested")
class PromisesToReportRequests(Backend):
    ignored = {"watch_certificate_request": False}


@fails("facts.first_finished_message")
class PromisesFinishedMessages(Backend):
    class stream(Stream):
        first_finished_message = TlsStream.first_finished_message


@fails("facts.exporter")
class PromisesAnExporter(Backend):
    stated = {"channel_bindings": ("tls-exporter", "tls-unique")}


@fails("handshake.groups")
class PromisesListsOfGroups(Backend):
    stated = {"selects_groups": "list"}


@fails("handshake.ciphers")
class PromisesAllCipherSuites(Backend):
    stated = {"selects_ciphers": "all"}

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        if any(name.startswith("TLS_AES") for name in parameters.ciphers):
            parameters = dataclasses.replace(parameters, ciphers=())
        return super().create_context(parameters, material)


# Errors


@fails(
    "certificates.default_roots",
    "certificates.faults",
    "certificates.only_the_given_roots",
    "certificates.weak_signatures",
    "files.revocation",
    "files.revocation_files",
)
class OneReasonForAll(Backend):
    class stream(Stream):
        def translate(self, error: Exception, *, established: bool) -> Error:
            found = super().translate(error, established=established)
            return CertificateError("bad", reason="expired") if isinstance(found, CertificateError) else found


@fails("files.client_certificate_refused")
class OneErrorForAllAlerts(Backend):
    class stream(Stream):
        def translate(self, error: Exception, *, established: bool) -> Error:
            found = super().translate(error, established=established)
            return found if isinstance(found, CertificateError) else TlsError("bad")


@fails(
    "endurance.only_our_exceptions",
    "files.client_certificate_refused",
    "hostile.alert_after_the_handshake",
    "hostile.changed_handshake",
    "hostile.changed_records",
    "hostile.garbage_after_the_handshake",
    "hostile.reordered_records",
    "keys.renegotiation",
)
class LetsForeignErrorsThrough(Backend):
    class stream(Stream):
        def read_into(self, buffer: memoryview) -> int | None:
            try:
                return super().read_into(buffer)
            except ssl.SSLError as exc:
                raise ValueError(str(exc)) from exc


# More than one connection


@fails("endurance.given_up", "endurance.memory")
class Leaks(Backend):
    def create_stream(self, context: Any, sni: str | None, check_leaf: object) -> TlsStream:
        stream = super().create_stream(context, sni, check_leaf)
        self.__dict__.setdefault("streams", []).append(stream)
        return stream


@fails("endurance.threads")
class SharesItsState(Backend):
    """A backend whose connections all report the certificate of the last one."""

    last: tuple[bytes, ...] = ()

    class stream(Stream):
        def do_handshake(self) -> bool:
            done = super().do_handshake()
            self.backend.last = super().peer_chain()  # type: ignore[attr-defined]  # of the outer class
            time.sleep(0.0001)
            return done

        def peer_chain(self) -> tuple[bytes, ...]:
            return self.backend.last  # type: ignore[attr-defined,no-any-return]  # of the outer class


@fails("endurance.after_fork")
class BelongsToOneProcess(Backend):
    """A backend that works only in the process that uses it first."""

    process = 0

    def create_stream(self, context: Any, sni: str | None, check_leaf: object) -> TlsStream:
        self.process = self.process or os.getpid()
        if os.getpid() != self.process:
            raise TlsError("this is another process")
        return super().create_stream(context, sni, check_leaf)


@fails("contract.new_streams", "endurance.given_up", "endurance.only_our_exceptions")
class HasOneStream(Backend):
    """A backend that returns the last stream again if that was not used."""

    unused: Stream | None = None

    class stream(Stream):
        def do_handshake(self) -> bool:
            self.backend.unused = None  # type: ignore[attr-defined]  # of the outer class
            return super().do_handshake()

    def create_stream(self, context: Any, sni: str | None, check_leaf: object) -> TlsStream:
        if self.unused is None:
            self.unused = super().create_stream(context, sni, check_leaf)  # type: ignore[assignment]  # it is a Stream
        return self.unused  # type: ignore[return-value]  # it is a Stream


# Files


@fails("files.root_file_rotates")
class ReadsFilesOnce(Backend):
    def __init__(self) -> None:
        super().__init__()
        self.contexts: dict[TlsParameters, Any] = {}

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        if parameters not in self.contexts:
            self.contexts[parameters] = super().create_context(parameters, material)
        return self.contexts[parameters]


@fails("files.key_log")
class MakesTheKeyLogReadable(Backend):
    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        context = super().create_context(parameters, material)
        if parameters.key_log_path is not None:
            Path(parameters.key_log_path).chmod(0o644)
        return context


@fails("files.secrets_stay_secret")
class ShowsItsSecrets(Backend):
    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> Any:
        self.latest = parameters
        return super().create_context(parameters, material)

    def __repr__(self) -> str:
        source = self.latest.client_certificate
        return f"Backend(password={source.password if source else None!r})"


# Hangs and crashes


class Waits(Backend):
    """A backend that waits in C without the interpreter's lock."""

    class stream(Stream):
        def do_handshake(self) -> bool:
            threading.Event().wait()
            return False


class Loops(Backend):
    """A backend that loops in Python."""

    class stream(Stream):
        def do_handshake(self) -> bool:
            while not super().do_handshake():
                pass
            return True


class LoopsInC(Backend):
    """A backend that loops in C and holds the interpreter's lock."""

    class stream(Stream):
        def do_handshake(self) -> bool:
            re.match(r"(a|aa)+$", "a" * 100 + "b")
            return False


class Crashes(Backend):
    """A backend that ends the process."""

    class stream(Stream):
        def do_handshake(self) -> bool:
            os.abort()
