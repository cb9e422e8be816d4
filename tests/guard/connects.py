"""A program that connects several times, for strace. Arguments: the fields of a Config as JSON, and the number."""

from __future__ import annotations

import json
import sys

from babar_tls import Config, Session


def main() -> None:
    """Connect and close."""
    config = Config(**json.loads(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        Session.connect(config).close()


if __name__ == "__main__":
    main()
