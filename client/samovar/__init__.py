"""samovar: live conversations with language models, held by a daemon that stays warm.

import samovar

with samovar.connect() as client:
    client.spawn("base", model="reader", system="…")
    client.fork("base", "w1")
    print(client.session("w1").ask("…").text)

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import PROTOCOL, __version__

if TYPE_CHECKING:
    from .aio import AsyncClient
    from .client import Client
    from .errors import DaemonGone, NoDaemon, ProtocolMismatch, SamovarError, UsageError
    from .home import Home

_PLACES = {
    "AsyncClient": "aio",
    "Client": "client",
    "DaemonGone": "errors",
    "Home": "home",
    "NoDaemon": "errors",
    "ProtocolMismatch": "errors",
    "SamovarError": "errors",
    "UsageError": "errors",
}

__all__ = [
    "PROTOCOL",
    "AsyncClient",
    "Client",
    "DaemonGone",
    "Home",
    "NoDaemon",
    "ProtocolMismatch",
    "SamovarError",
    "UsageError",
    "__version__",
    "connect",
]


def connect(home: str | None = None, *, start: bool = True) -> Client:
    """A client of the daemon of `home` (see `Home.find`), which is started if there is none and `start` allows it.

    Raises NoDaemon.
    """
    from .client import Client

    client = Client(home, start=start)
    try:
        client.ping()
    except BaseException:
        client.close()
        raise
    return client


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(f".{_PLACES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
