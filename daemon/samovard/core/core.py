"""The core: sessions and asks, made together and ended together. Runs on one asyncio loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from samovard.model.journal import Journal
from samovard.model.views import AskView

from .asks import Asks
from .history import Histories
from .models import Models
from .session import Surroundings
from .sessions import Sessions

_LAST_WAIT_S = 5.0
"""How long a backend that was told to stop may take to do so before the daemon ends without it."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the core knows of the process around it."""

    home: str
    pid: int
    started_at: float
    grace_s: float
    shut_down: Callable[[float], None]
    """Begins the shutdown, with this grace in s, and returns at once."""


class Core:
    """What the ops are functions of. Every method is called on the loop that the core was made on."""

    def __init__(
        self,
        journal: Journal,
        models: Models,
        *,
        daemon: Daemon,
        log_content: bool = False,
        interrupted: Sequence[AskView] = (),
    ) -> None:
        self.models = models
        self.daemon = daemon
        self.interrupted = list(interrupted)
        self._journal = journal
        self._around = Surroundings(journal, Histories(journal), log_content)
        self.sessions = Sessions(self._around, models)
        self.asks = Asks(self._around, self.sessions)

    async def drain(self, grace_s: float) -> None:
        """Takes no more asks, gives what runs `grace_s` to end, and interrupts the rest."""
        self._around.closing = True
        for session in self.sessions:
            session.pause()
        self.asks.interrupt_waiting()
        await self.asks.wait_for_all(grace_s)
        self.asks.interrupt_all()
        await self.asks.wait_for_all(_LAST_WAIT_S)

    async def close(self) -> None:
        """Lets go of the backends and of the journal; nothing may be called after it."""
        await self.models.close()
        await self._journal.close()
