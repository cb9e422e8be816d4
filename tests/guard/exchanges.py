"""A program that runs handshakes without a network, for callgrind. Argument: the number of handshakes."""

from __future__ import annotations

import gc
import sys

from babar_tls.protocol import scram
from babar_tls.protocol.channel_binding import tls_server_end_point
from babar_tls.protocol.handshake import handshake

from ..protocol.configs import PASSWORD, make
from ..protocol.script import Facts, ScramPeer, talk


def main() -> None:
    """Log in with SCRAM and channel binding."""
    scram.make_nonce = lambda: b"rOprNGfwEbeRWgbNEkqO8901"
    config = make(channel_binding="require")
    bindings = {"tls-server-end-point": tls_server_end_point(Facts().peer_certificate)}
    gc.freeze()  # a full collection must not depend on the size of the modules that are imported
    for _ in range(int(sys.argv[1])):
        talk(*ScramPeer(PASSWORD, bindings=bindings).script).run(handshake(config))


if __name__ == "__main__":
    main()
