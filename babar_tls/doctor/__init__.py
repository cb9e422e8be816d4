"""Diagnose a connection in stages, and name the cause if it fails."""

from __future__ import annotations

from .causes import Cause
from .diagnosis import BackendHandshake, CertificateSummary, Diagnosis, Finding, Stage, Status, Target
from .run import diagnose

__all__ = [
    "BackendHandshake",
    "Cause",
    "CertificateSummary",
    "Diagnosis",
    "Finding",
    "Stage",
    "Status",
    "Target",
    "diagnose",
]
