"""The release and the wire protocol that this package speaks."""

__version__ = "0.1.0"

PROTOCOL = 1
"""Raised when a frame changes its meaning; a daemon and a client of different protocols refuse each other."""
