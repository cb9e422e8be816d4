"""Tests of the code that all TLS backends share."""
