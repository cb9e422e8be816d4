"""Tests of the code that all TLS libraries share."""
