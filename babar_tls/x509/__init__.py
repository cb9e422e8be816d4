"""Certificates as they are read here: DER, names, PEM. Nothing is verified in this package."""
