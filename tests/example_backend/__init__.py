"""Tests of the package babar-tls-gnutls, an example of a backend in a package of its own."""
