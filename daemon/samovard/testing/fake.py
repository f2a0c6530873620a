"""A backend whose model's id tells how it behaves: for tests, benchmarks and a look at how failures are told.

A home uses it by `backends: {fake: "samovard.testing.fake:FakeBackend"}` in its samovar.yaml. It holds no state.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence

from samovard.model.backend import (
    Capabilities,
    Finished,
    ModelSpec,
    Request,
    Settings,
    StreamEvent,
    TextDelta,
    Usage,
)
from samovard.model.errors import BackendError

Stream = AsyncGenerator[StreamEvent, None]

_BEHAVIOURS: dict[str, tuple[str, str]] = {
    "echo": ("", "replies with the prompt"),
    "instant": ("", 'replies "ok." at once'),
    "sleep": (r":\d+(\.\d+)?", 'sleep:S waits S seconds, then replies "ok."'),
    "words": (r":\d+:\d+(\.\d+)?", "words:N:S replies with N words, S seconds apart"),
    "big": (r":\d+", "big:N replies with N characters in one part"),
    "hang": ("", "never ends"),
    "fail": (r":[a-z_]+", "fail:CODE fails with that code before any text"),
    "cut": (r":\d+", "cut:N fails after N words"),
    "garbage": ("", "goes on after its end, which the contract forbids"),
    "unfinished": ("", "ends without an end, which the contract forbids"),
    "crash": ("", "raises what no backend may raise"),
}
"""Name -> what may follow it, and what it does."""


class FakeBackend:
    """Speaks to nobody."""

    name = "fake"
    capabilities = Capabilities()
    settings_type = Settings

    def models(self) -> Sequence[ModelSpec]:
        """The behaviours that need no numbers, `echo` first."""
        return [ModelSpec(name, description=does) for name, (takes, does) in _BEHAVIOURS.items() if not takes]

    def find(self, model: str) -> ModelSpec | None:
        """The behaviour that `model` spells, with its numbers."""
        name = model.partition(":")[0]
        takes, does = _BEHAVIOURS.get(name, ("(?!)", ""))
        return ModelSpec(model, description=does) if re.fullmatch(name + takes, model) else None

    async def stream(self, request: Request) -> Stream:
        """What the model's id says."""
        name, *numbers = request.model.split(":")
        behave: Callable[..., Stream] = getattr(self, f"_{name}")
        async for event in behave(request, *numbers):
            yield event

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _echo(self, request: Request) -> Stream:
        words = request.history.content.split(" ")
        limit = request.settings.max_tokens
        reply = " ".join(words[:limit])
        if reply:
            yield TextDelta(reply)
        yield _finished(request, reply, "max_tokens" if limit and limit < len(words) else "end")

    async def _instant(self, request: Request) -> Stream:
        yield TextDelta("ok.")
        yield _finished(request, "ok.")

    async def _sleep(self, request: Request, seconds: str) -> Stream:
        await asyncio.sleep(float(seconds))
        yield TextDelta("ok.")
        yield _finished(request, "ok.")

    async def _words(self, request: Request, count: str, seconds: str) -> Stream:
        total = min(int(count), request.settings.max_tokens or int(count))
        for number in range(total):
            if number:
                await asyncio.sleep(float(seconds))
            yield TextDelta(f" w{number}" if number else "w0")
        stop_reason = "max_tokens" if total < int(count) else "end"
        yield _finished(request, " ".join(["w"] * total), stop_reason)

    async def _big(self, request: Request, size: str) -> Stream:
        yield TextDelta("x" * int(size))
        yield _finished(request, "x")

    async def _hang(self, request: Request) -> Stream:
        await asyncio.Event().wait()
        yield _finished(request, "")

    async def _fail(self, request: Request, code: str) -> Stream:
        raise _failure(code, f"the fake model was told to fail with {code}")
        yield _finished(request, "")

    async def _cut(self, request: Request, count: str) -> Stream:
        for number in range(int(count)):
            yield TextDelta(f" w{number}" if number else "w0")
        raise BackendError(f"the fake model was told to break off after {count} words")

    async def _garbage(self, request: Request) -> Stream:
        yield TextDelta("ok.")
        yield _finished(request, "ok.")
        yield TextDelta("and on it goes")

    async def _unfinished(self, request: Request) -> Stream:
        yield TextDelta("ok.")

    async def _crash(self, request: Request) -> Stream:
        raise RuntimeError("the fake model was told to crash")
        yield _finished(request, "")


def _finished(request: Request, reply: str, stop_reason: str = "end") -> Finished:
    """Counts words as tokens, and the prompt alone, so that a long history costs a benchmark nothing."""
    given = len(request.history.content.split())
    return Finished(Usage(input=given, output=len(reply.split())), stop_reason)


def _failure(code: str, message: str) -> BackendError:
    error = BackendError(message)
    error.code = code  # type: ignore[misc]
    return error
