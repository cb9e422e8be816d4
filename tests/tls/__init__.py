"""Tests of what all TLS libraries share."""
