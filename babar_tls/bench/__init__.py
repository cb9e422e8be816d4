"""Benchmarks: everything that is compared is measured in one run, in turns, on the same server.

A workload is a module here that measures and returns one JSON-ready document; drawing is the command line's. Only
ratios within a document mean something: the machine has other things to do, and it shows in the distance between
minimum and median, and between wall clock and CPU time, of which both are recorded.
"""

#: The modules of this package that measure something.
WORKLOADS = ("connect", "handshake", "kdf", "stream", "storm", "roundtrips", "memory", "scale")

#: Those that connect to a server, which may be behind something.
CONNECTING = ("connect", "stream", "storm", "roundtrips", "memory", "scale")

#: What a server of our own can be put behind.
THROUGH = ("pgbouncer",)
