"""Messages: an immutable, hash-chained tree that every session is a pointer into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .ids import message_id

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Message:
    """One entry of history. `number` counts from 1 at the root; equal prefixes are the same messages.

    Iterating a message gives its history, root first, itself last.
    """

    id: str
    role: Role
    content: str
    parent: Message | None
    number: int
    at: float
    """When it was first said, in s since the epoch; no part of the id."""

    def __iter__(self) -> Iterator[Message]:
        path = []
        message: Message | None = self
        while message is not None:
            path.append(message)
            message = message.parent
        return reversed(path)


def say(role: Role, content: str, parent: Message | None, at: float) -> Message:
    """The message that follows `parent`."""
    above = parent.id if parent else None
    number = parent.number + 1 if parent else 1
    return Message(message_id(role, content, above), role, content, parent, number, at)


@dataclass(frozen=True, slots=True)
class Head:
    """A pointer to a message: all that a fork copies. No content is loaded with it."""

    id: str
    number: int


def head_of(message: Message | None) -> Head | None:
    """The pointer to `message`."""
    return Head(message.id, message.number) if message else None
