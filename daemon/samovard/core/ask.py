"""An ask while it is under way: its state, its text so far, and whoever listens to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from samovard.model.backend import Usage
from samovard.model.errors import SamovarError
from samovard.model.ids import ask_id
from samovard.model.message import Message
from samovard.model.states import ASK_MOVES, AskState, move
from samovard.model.views import AskView, ErrorView, Timing

if TYPE_CHECKING:
    from .session import Session

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Ask:
    """One request for a reply. Its id is its ticket."""

    def __init__(self, session: Session, prompt: str, listener: Listener | None = None) -> None:
        self.id = ask_id()
        self.session = session
        self.prompt = prompt
        self.state = AskState.QUEUED
        self.created_at = time.time()
        self.usage = Usage()
        self.stop_reason: str | None = None
        self.reply: Message | None = None
        self.error: SamovarError | None = None
        self.recorded: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        """True from its task's first step on."""
        self.stopping: AskState | None = None
        """The state that a stop asked for, until the ask has come to it."""
        self.ended = asyncio.Event()
        self._listener = listener
        self._parts: list[str] = []
        self._length = 0
        self._came = time.perf_counter()
        self._started: float | None = None
        self._first: float | None = None
        self._finished: float | None = None

    @property
    def text(self) -> str:
        """The reply so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def start(self) -> None:
        """The ask runs from now on."""
        self._started = time.perf_counter()
        self.state = move(ASK_MOVES, self.state, AskState.RUNNING)
        self.tell_state()

    def add(self, text: str) -> None:
        """Takes the next part of the reply."""
        if self._first is None:
            self._first = time.perf_counter()
        if self._listener:
            # `offset` lets a listener that missed a part know it; see `samovar.stream`.
            self._tell({"type": "delta", "text": text, "offset": self._length})
        self._parts.append(text)
        self._length += len(text)

    def finish(self, state: AskState, error: SamovarError | None = None) -> None:
        """The stream is over; the ask has ended once this is on disk."""
        self._finished = time.perf_counter()
        self.state = move(ASK_MOVES, self.state, state)
        self.error = error

    def tell_state(self) -> None:
        """Says the state to the listener."""
        if self._listener:
            self._tell({"type": "state", "state": self.state.value})

    def _tell(self, event: Event) -> None:
        assert self._listener
        self._listener({**event, "ask": self.id, "session": self.session.name})

    @property
    def timing(self) -> Timing:
        """How long each part has taken."""
        if self._started is None:
            return Timing(queued_s=_s((self._finished or time.perf_counter()) - self._came))
        end = self._finished or time.perf_counter()
        return Timing(
            queued_s=_s(self._started - self._came),
            first_token_s=_s(self._first - self._started) if self._first else None,
            total_s=_s(end - self._started),
        )

    @property
    def error_view(self) -> ErrorView | None:
        """Why it failed, where it did."""
        return ErrorView(self.error.code, self.error.message) if self.error else None

    def view(self) -> AskView:
        """The ask as it is now."""
        return AskView(
            ask=self.id,
            session=self.session.name,
            model=self.session.model.name,
            state=self.state,
            text=self.text,
            message=self.reply.id if self.reply and self.state is AskState.DONE else None,
            stop_reason=self.stop_reason,
            usage=self.usage,
            timing=self.timing,
            error=self.error_view,
            created_at=self.created_at,
        )


def _s(seconds: float) -> float:
    return round(seconds, 6)
