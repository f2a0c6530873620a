"""How the contract's tests ask: the model they ask, what they ask it, and how long they wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from samovard.model.backend import Backend, Finished, Request, StreamEvent, TextDelta
from samovard.model.message import Message, say

from .behaviours import ContractBroken, hold


@dataclass(frozen=True, slots=True)
class Reply:
    """A stream that was read to its end."""

    events: Sequence[StreamEvent]

    @property
    def text(self) -> str:
        """The deltas joined."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def finished(self) -> Finished:
        """The end, or the first of them."""
        ends = [event for event in self.events if isinstance(event, Finished)]
        hold(bool(ends), "the reply did not end")
        return ends[0]


class Asking:
    """What a subclass of the contract says about its backend, and what every test is made of."""

    model: ClassVar[str]
    """The id of the model to ask: one that replies to `prompt` with at least three words, and does it in a few s."""
    prompt: ClassVar[str] = "Name the seven days of the week, in order, separated by spaces."
    """To be answered with some words, whatever they are."""
    system: ClassVar[str] = "The seven days of the week are named in order, separated by spaces, when asked."
    patience_s: ClassVar[float] = 10.0
    """How long the end of a cancelled stream, or one stream beside others, is waited for."""
    pause_s: ClassVar[float] = 1.0
    """For how long nothing else may run on the loop: well above what a garbage collection takes."""

    def backend(self) -> Backend:
        """A new backend, for one test."""
        raise NotImplementedError("a contract's subclass says how its backend is made")

    def failing(self) -> Sequence[tuple[Backend, str]]:
        """Backends, each with a model whose stream fails: an unreachable provider, a wrong key. None by default."""
        return ()

    # What the tests are made of

    def request(
        self, backend: Backend, prompt: str | None = None, after: Message | None = None, **settings: Any
    ) -> Request:
        """A request for the reply to `prompt` after a history."""
        message = say("user", prompt or self.prompt, after, 0.0)
        return Request(self.model, message, backend.settings_type.model_validate(settings))

    async def reply(self, backend: Backend, request: Request | None = None) -> Reply:
        """The whole stream."""
        return Reply([event async for event in backend.stream(request or self.request(backend))])

    async def in_time(self, work: Coroutine[Any, Any, Reply], what: str) -> Reply:
        """The outcome of `work`; the contract is broken where it takes longer than `patience_s`."""
        task = asyncio.create_task(work)
        done, _ = await asyncio.wait([task], timeout=self.patience_s)
        if not done:
            task.cancel()
            raise ContractBroken(f"{what} had not ended after {self.patience_s} s")
        return task.result()

    def complete(self, reply: Reply, what: str = "the reply") -> None:
        """The contract is broken where the reply has no text or no end."""
        hold(any(isinstance(event, Finished) for event in reply.events), f"{what} did not end")
        hold(reply.text != "", f"{what} has no text")


def closable(stream: AsyncIterator[StreamEvent]) -> Any:
    """The stream, as something that can be closed; the core closes every stream that it opens."""
    if not hasattr(stream, "aclose"):
        raise ContractBroken(f"its stream is a {type(stream).__name__}, which can't be closed")
    return stream
