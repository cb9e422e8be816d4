"""Diagnose a connection in stages, and name the cause if it fails."""
