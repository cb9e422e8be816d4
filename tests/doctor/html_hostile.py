"""A diagnosis of a hostile server, for the tests of the report."""

from __future__ import annotations

from dataclasses import replace

from babar_tls.doctor.causes import Cause
from babar_tls.doctor.diagnosis import Diagnosis, Finding, Target

from .html_samples import CONFIGURATION, HANDSHAKES, INTERMEDIATE, SERVER, STAGES

#: What a hostile server could put into a certificate.
EVIL = "</style><script>alert(1)</script>\"'&\x00\x1b[31m\u202etxet\u202c\u2066\udc80 שלום <img src=x onerror=alert(1)>"

LONG = "a" * 5000 + "." + "example." * 500
HOSTILE = Diagnosis(
    began=1e30,
    configuration=replace(CONFIGURATION, observations=(EVIL, LONG), skipped=EVIL),
    targets=(
        Target(
            name=EVIL + LONG,
            stages=(
                *STAGES[:3],
                replace(
                    STAGES[3],
                    title=EVIL,
                    observations=(EVIL, LONG, *("another observation" for _ in range(1000))),
                    findings=(
                        Finding(cause=Cause.OTHER, is_fault=True, text=EVIL, remedy=EVIL),
                        *(Finding(cause=Cause.OTHER, is_fault=False, text=LONG) for _ in range(100)),
                    ),
                ),
            ),
            handshakes=tuple(replace(HANDSHAKES[2], backend=EVIL, problem=EVIL + LONG) for _ in range(50)),
            certificates=(
                replace(SERVER, names=tuple(f"name-{number}.example.com" for number in range(200))),
                *(
                    replace(
                        INTERMEDIATE,
                        subject=EVIL + LONG,
                        names=(EVIL, LONG) * (300 if number == 0 else 1),
                        issuer=LONG + EVIL,
                        key=EVIL,
                        signature=LONG,
                        origin=EVIL,
                        not_after=1e30,
                        fault=EVIL if number == 60 else None,
                    )
                    for number in range(99)
                ),
            ),
        ),
    )
    * 30,
)

#: Its first host only.
ONE_HOSTILE = replace(HOSTILE, targets=HOSTILE.targets[:1])
