"""The result of a diagnosis: stages, what was seen in each, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..diagnostics.counts import count

if TYPE_CHECKING:
    from .causes import Cause


class Status(StrEnum):
    """The outcome of a stage."""

    OK = "ok"
    """The stage found no fault."""
    WARNING = "warning"
    """The stage found a weakness."""
    FAILED = "failed"
    """The stage found a fault."""
    SKIPPED = "skipped"
    """The stage was not run; `Stage.skipped` has the reason."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault, or a weakness.

    Attributes:
        cause: The cause.
        is_fault: True if the connection fails because of it, False for a warning.
        text: The finding in one sentence.
        remedy: How to fix it, or `None`.
    """

    cause: Cause
    is_fault: bool
    text: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as values for JSON."""
        return {"cause": self.cause.value, "fault": self.is_fault, "text": self.text, "remedy": self.remedy}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a diagnosis.

    Attributes:
        key: The stage: ``configuration``, ``dns``, ``tcp``, ``offer``, ``handshake``, ``chain``, ``trust``,
            ``hostname``, ``authentication-offer``, ``channel-binding``, ``authentication`` or ``server``.
        title: The name for people.
        start: When the stage began, in seconds after the diagnosis began.
        seconds: Its duration.
        observations: What was seen, one statement each. They contain no secrets, and text from the network is escaped.
        findings: The faults and warnings.
        skipped: Why the stage was skipped; `None` if it was not.
    """

    key: str
    title: str
    start: float
    seconds: float
    observations: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None

    @property
    def status(self) -> Status:
        """The outcome."""
        if self.skipped is not None:
            return Status.SKIPPED
        if not self.findings:
            return Status.OK
        return Status.FAILED if any(finding.is_fault for finding in self.findings) else Status.WARNING

    def as_dict(self) -> dict[str, Any]:
        """Return the stage as values for JSON."""
        return {
            "key": self.key,
            "title": self.title,
            "status": self.status.value,
            "start": self.start,
            "seconds": self.seconds,
            "observations": list(self.observations),
            "findings": [finding.as_dict() for finding in self.findings],
            "skipped": self.skipped,
        }


@dataclass(frozen=True, kw_only=True)
class CertificateSummary:
    """A certificate of the chain that the server sent, or a trusted certificate that issued one of them.

    Attributes:
        role: ``server``, ``intermediate`` or ``root``.
        origin: ``sent`` if the server sent it; otherwise its file or store.
        subject: The common name of the subject, or its whole name if it has none.
        names: The names that it is for (subjectAltName).
        issuer: The common name of the issuer.
        key: The kind of public key and its size (``RSA 2048``, ``EC P-256``, ``Ed25519``).
        signature: The signature algorithm.
        not_before: The first moment of its validity, in seconds since 1970.
        not_after: The last moment.
        days_left: Whole days until `not_after`, negative after it.
        sha256: The fingerprint in hexadecimal.
        fault: What is wrong with it, or `None`.
    """

    role: str
    origin: str
    subject: str
    names: tuple[str, ...]
    issuer: str
    key: str
    signature: str
    not_before: float
    not_after: float
    days_left: int
    sha256: str
    fault: str | None = None

    @property
    def time_left(self) -> str:
        """The time until `not_after` for people: ``30 days left``, ``expired 1 day ago``."""
        days = count(abs(self.days_left), "day")
        return f"{days} left" if self.days_left >= 0 else f"expired {days} ago"

    def as_dict(self) -> dict[str, Any]:
        """Return the certificate as values for JSON."""
        return {**self.__dict__, "names": list(self.names)}


@dataclass(frozen=True, kw_only=True)
class BackendHandshake:
    """The TLS handshake with one backend.

    Attributes:
        backend: The name of the backend.
        is_selected: The configuration selects this backend.
        seconds: The duration of the handshake.
        tls_version: The negotiated version, `None` if the handshake failed; so are `cipher` and `group`.
        cipher: The cipher suite.
        group: The key-exchange group, `None` if it is not known.
        alpn: The protocol that the server selected, `None` if it selected none.
        problem: The failure, or `None`.
    """

    backend: str
    is_selected: bool
    seconds: float
    tls_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the handshake as values for JSON."""
        return dict(self.__dict__)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The diagnosis of one host.

    Attributes:
        name: The host and its port, for people.
        stages: The stages in order.
        handshakes: The handshakes, with each installed backend.
        certificates: The certificates: the server's own first, then its issuers.
    """

    name: str
    stages: tuple[Stage, ...]
    handshakes: tuple[BackendHandshake, ...] = ()
    certificates: tuple[CertificateSummary, ...] = ()

    @property
    def fault(self) -> Finding | None:
        """The first fault, which is the cause of the failure; `None` if the connection works."""
        return next((each for stage in self.stages for each in stage.findings if each.is_fault), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the diagnosis as values for JSON."""
        return {
            "name": self.name,
            "cause": None if self.fault is None else self.fault.cause.value,
            "stages": [stage.as_dict() for stage in self.stages],
            "handshakes": [handshake.as_dict() for handshake in self.handshakes],
            "certificates": [certificate.as_dict() for certificate in self.certificates],
        }


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The result of a diagnosis.

    Attributes:
        began: When it began, in seconds since 1970.
        configuration: The stage that reads the configuration.
        targets: The hosts, in the order in which a connection tries them; empty if the configuration is invalid.
        decisive: The index of the host with which the connect ended, if there are several hosts; otherwise `None`.
    """

    began: float
    configuration: Stage
    targets: tuple[Target, ...] = ()
    decisive: int | None = None

    @property
    def fault(self) -> Finding | None:
        """The cause of the failure, `None` if the connection works.

        It is that of the configuration, or of the host with which the connect ended. If `decisive` is not set, it is
        that of the first host, if no host works.
        """
        invalid = next((each for each in self.configuration.findings if each.is_fault), None)
        if invalid is None and self.decisive is not None:
            return self.targets[self.decisive].fault
        if invalid is not None or any(target.fault is None for target in self.targets):
            return invalid
        return next((target.fault for target in self.targets), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the diagnosis as values for JSON."""
        return {
            "began": self.began,
            "cause": None if self.fault is None else self.fault.cause.value,
            "configuration": self.configuration.as_dict(),
            "targets": [target.as_dict() for target in self.targets],
        }
