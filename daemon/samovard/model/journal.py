"""What the core asks of whatever keeps its sessions: the journal's contract and its records.

A write's coroutine returns when the write is on disk. It raises `JournalUnwritable` where nothing of it was kept.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .backend import Usage
from .message import Head, Message
from .states import AskState
from .views import AskView, ErrorView, Timing


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as the journal has it. `key` is the journal's own; names are free again after a kill."""

    key: int
    name: str
    model: str
    settings: dict[str, Any]
    head: Head | None
    forked_from: str | None
    forked_at: str | None
    created_at: float
    asks: int = 0
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be. `root` is its system prompt, where it has one; a fork has a `parent` and a `head`."""

    name: str
    model: str
    settings: dict[str, Any]
    created_at: float
    root: Message | None = None
    head: Head | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class AskOpened:
    """An ask as it arrives."""

    ask: str
    session: int
    prompt: str
    created_at: float


@dataclass(frozen=True, slots=True)
class AskClosed:
    """An ask as it ends. Where it is done, `reply` follows its prompt and becomes the session's head."""

    ask: str
    session: int
    state: AskState
    timing: Timing
    usage: Usage
    reply: Message | None = None
    partial: str = ""
    stop_reason: str | None = None
    error: ErrorView | None = None


class Journal(Protocol):
    """Keeps messages, sessions and asks."""

    async def add_session(self, new: NewSession) -> int:
        """Keeps the session and returns its key. Raises NameInUse where a live session has the name."""
        ...

    async def end_sessions(self, keys: Sequence[int], at: float) -> None:
        """The sessions end; their names are free, all else stays."""
        ...

    async def move_head(self, key: int, head: Head | None) -> None:
        """The session's history now ends with `head`."""
        ...

    def open_ask(self, opened: AskOpened) -> Future[None]:
        """Keeps an ask that is about to wait or run. Its place among the writes is taken by the call itself."""
        ...

    async def close_ask(self, closed: AskClosed) -> None:
        """Keeps how an ask ended, with its messages and the session's new head, all or nothing."""
        ...

    async def session(self, name: str) -> SessionRecord | None:
        """The live session of that name."""
        ...

    async def sessions(self) -> list[SessionRecord]:
        """All live sessions, the oldest first."""
        ...

    async def names(self) -> list[str]:
        """The names of all live sessions."""
        ...

    async def count(self) -> int:
        """How many sessions are live."""
        ...

    async def history(self, head: Head, last: int | None = None) -> list[Message]:
        """The messages up to `head`, root first; only the `last` ones where that is given."""
        ...

    async def find_message(self, head: Head, ref: str) -> list[Head]:
        """The messages up to `head` that `ref` means: a number, or four or more digits that an id begins with."""
        ...

    async def ask(self, ticket: str) -> AskView | None:
        """The ask of that ticket."""
        ...

    async def asks(self, key: int, last: int) -> list[AskView]:
        """The session's latest asks, the newest first."""
        ...

    async def close(self) -> None:
        """Flushes and lets go of the file."""
        ...
