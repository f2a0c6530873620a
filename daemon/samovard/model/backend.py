"""What a backend is: the one contract between the core and the code that speaks to a provider.

`samovard.testing.contract` holds the suite that every backend passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from .message import Message


class Settings(BaseModel):
    """The settings that every backend understands; a backend's own settings extend this class."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_tokens: int | None = Field(default=None, ge=1, description="the reply ends after this many tokens")
    temperature: float | None = Field(default=None, ge=0, le=2, description="0 is the most predictable")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do, declared and never probed for."""

    streams: bool = True
    """Text comes in parts, as it is made."""
    needs_key: bool = False
    """It can't answer without a credential."""
    needs_network: bool = False
    """It can't answer without a connection to somewhere."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as its backend knows it. `id` is the provider's own; tokens are the unit of both windows."""

    id: str
    context_window: int | None = None
    max_output: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one ask, or of many added up."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.reasoning + other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One request for a reply. `history` ends with the prompt: iterate it for all messages, root first."""

    model: str
    history: Message
    settings: Settings


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A part of the reply's text, in order, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a reply: exactly one a stream, and last. `stop_reason`: `end` or `max_tokens`."""

    usage: Usage
    stop_reason: str = "end"


StreamEvent = TextDelta | Finished


class Backend(Protocol):
    """Speaks to one kind of provider.

    `stream` yields any number of `TextDelta` and then one `Finished`. It raises `BackendError` and nothing else
    of its own; when its task is cancelled it lets go of the provider at once and lets CancelledError pass. Many
    streams may be under way at once. A backend holds no conversation: all it needs is in the request.
    """

    @property
    def name(self) -> str:
        """The word before the slash in `backend/model`."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def settings_type(self) -> type[Settings]:
        """Its settings: those of `Settings` and its own."""
        ...

    def models(self) -> Sequence[ModelSpec]:
        """What it offers, its default first."""
        ...

    def find(self, model: str) -> ModelSpec | None:
        """The model of this id, or None; an id need not be listed by `models`."""
        ...

    def stream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """The reply to `request`, as it is made."""
        ...

    async def close(self) -> None:
        """Lets go of connections; called once, when no stream is under way."""
        ...
