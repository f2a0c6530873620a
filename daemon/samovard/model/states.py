"""The state tables of asks and sessions. The diagrams in docs/architecture.md are made from them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class AskState(StrEnum):
    """Where an ask is between its prompt and its end."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """True where no move leads on."""
        return not ASK_MOVES[self]


class SessionState(StrEnum):
    """Whether a session has an ask under way, or has ended."""

    IDLE = "idle"
    BUSY = "busy"
    KILLED = "killed"


ASK_MOVES: Mapping[AskState, frozenset[AskState]] = {
    AskState.QUEUED: frozenset({AskState.RUNNING, AskState.FAILED, AskState.CANCELLED, AskState.INTERRUPTED}),
    AskState.RUNNING: frozenset({AskState.DONE, AskState.FAILED, AskState.CANCELLED, AskState.INTERRUPTED}),
    AskState.DONE: frozenset(),
    AskState.FAILED: frozenset(),
    AskState.CANCELLED: frozenset(),
    AskState.INTERRUPTED: frozenset(),
}

SESSION_MOVES: Mapping[SessionState, frozenset[SessionState]] = {
    SessionState.IDLE: frozenset({SessionState.BUSY, SessionState.KILLED}),
    SessionState.BUSY: frozenset({SessionState.IDLE, SessionState.KILLED}),
    SessionState.KILLED: frozenset(),
}

State = TypeVar("State", AskState, SessionState)


def move(table: Mapping[State, frozenset[State]], now: State, then: State) -> State:
    """`then`, where the table has that move; a move that it lacks is a fault of ours and raises ValueError."""
    if then not in table[now]:
        raise ValueError(f"no move leads from {now.value} to {then.value}")
    return then
