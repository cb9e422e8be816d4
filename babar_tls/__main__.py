"""Run the command ``babar-tls`` as ``python -m babar_tls``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
