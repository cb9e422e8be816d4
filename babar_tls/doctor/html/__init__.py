"""The report of a diagnosis as one HTML file, without scripts and without other files."""

from .report import render

__all__ = ["render"]
