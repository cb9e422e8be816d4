"""The drivers' own test suites, over the driver's TLS and over a connection of babar-tls; see docs/testing.md."""
