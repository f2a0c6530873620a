"""Imports every module of ops, so that `registry.OPS` holds them all."""

from . import asks, daemon, sessions
from .registry import OPS, call

__all__ = ["OPS", "asks", "call", "daemon", "sessions"]
