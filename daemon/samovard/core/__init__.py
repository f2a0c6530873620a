"""Sessions, asks, forks, relay: what samovar exists for. Knows no SDK, no SQL and no socket."""

from .core import Core, Daemon
from .models import BackendLoader, Models

__all__ = ["BackendLoader", "Core", "Daemon", "Models"]
