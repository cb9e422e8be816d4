"""The faults that a diagnosis must name, and the table of them in docs/doctor.md."""

from __future__ import annotations

from pathlib import Path

from .faults_binding import FAULTS as _BINDING
from .faults_certificates import FAULTS as _CERTIFICATES
from .faults_credentials import FAULTS as _CREDENTIALS
from .faults_login import FAULTS as _LOGIN
from .faults_network import FAULTS as _NETWORK
from .faults_tls import FAULTS as _TLS
from .faults_trust import FAULTS as _TRUST

FAULTS = [*_NETWORK, *_TLS, *_BINDING, *_CERTIFICATES, *_TRUST, *_CREDENTIALS, *_LOGIN]

#: The stages of a host, in order.
STAGES = [
    "dns", "tcp", "offer", "handshake", "chain", "trust", "hostname",
    "authentication-offer", "channel-binding", "authentication", "server",
]  # fmt: skip

DOCUMENT = Path(__file__).parents[2] / "docs" / "doctor.md"
BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"
COMMAND = "python -m tests.doctor.write_table"


def table() -> str:
    """Return the table of the faults in Markdown, in the order of the stages."""
    order = ["configuration", *STAGES]
    lines = ["| fault | cause | stage | what doctor says to do |", "|---|---|---|---|"]
    for fault in sorted(FAULTS, key=lambda fault: order.index(fault.stage)):
        cause = f"`{fault.cause.value}`" + ("" if fault.is_fault else " (warning)")
        lines.append(f"| {fault.description} | {cause} | {fault.stage} | {fault.advice} |")
    return "\n".join(lines)


def committed_table(text: str) -> str:
    """Return the table in the text of the document."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def replaced_table(text: str) -> str:
    """Return the text of the document with the present table."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"
