"""Write the table of the faults to docs/doctor.md."""

from __future__ import annotations

from .faults import DOCUMENT, replaced_table

if __name__ == "__main__":
    DOCUMENT.write_text(replaced_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
