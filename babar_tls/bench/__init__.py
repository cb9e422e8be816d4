"""Benchmarks of this library, its TLS backends and other PostgreSQL drivers.

Each module in `babar_tls.bench.workloads` is one benchmark. It measures all clients in turns, in one run and on one
server, and returns a document that can be written as JSON. Compare only figures of the same document: other processes
disturb every run. The distances between minimum and median, and between wall clock and CPU time, show how much.
"""
