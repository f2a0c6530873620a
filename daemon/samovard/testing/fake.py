"""A backend whose model id says how it behaves, for tests, benchmarks and demonstrations of failure.

It keeps nothing between two streams. A token is a word: what white space parts.

| model | what it does |
|---|---|
| `echo` | replies with the prompt, word by word |
| `instant` | replies `ok.` in one delta |
| `sleep:S` | waits for S seconds, then replies `ok.` |
| `words:N`, `words:N:S` | replies N words, `w0 w1 ...`, S seconds between two |
| `big:N` | replies N characters |
| `hang` | never replies |
| `fail:CODE` | fails with the backend's error of that code before any text |
| `cut:N` | replies N words, then fails |
| `crash` | raises what no backend may: RuntimeError |
| `garbage` | goes on after the end of its reply |
| `unfinished` | stops without ending its reply |
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from itertools import islice

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
from samovard.model.errors import BackendError, SamovarError

Events = AsyncIterator[StreamEvent]

EXAMPLES = (
    "echo", "instant", "sleep:1", "words:50:0.01", "big:100000", "hang",
    "fail:provider_error", "cut:3", "crash", "garbage", "unfinished",
)  # fmt: skip

_WORD = re.compile(r"\s*\S+\s*")
_CHUNK = 1000


class FakeBackend:
    """Does what the model's id says."""

    name = "fake"
    capabilities = Capabilities(streams=True)
    settings_type = Settings

    def models(self) -> Sequence[ModelSpec]:
        """One model of each kind, `echo` first."""
        return [spec for spec in map(self.find, EXAMPLES) if spec]

    def find(self, model: str) -> ModelSpec | None:
        """Any model whose id parses."""
        return ModelSpec(model, description="for tests") if _parse(model) else None

    def stream(self, request: Request) -> Events:
        """What the model's id says. Raises BackendError where there is no such model."""
        return (_parse(request.model) or _unknown)(request)

    async def close(self) -> None:
        """There is nothing to let go of."""


Behaviour = Callable[[Request], Events]


def _parse(model: str) -> Behaviour | None:
    """What the model does, or None where the id means nothing."""
    for form, make in _FORMS:
        if match := form.fullmatch(model):
            return make(*match.groups())
    return None


def _parse_fail(code: str) -> Behaviour | None:
    error = _errors().get(code)
    return partial(_fail, error) if error else None


def _errors() -> dict[str, type[BackendError]]:
    """Every error that a backend may raise, by its code."""
    found: dict[str, type[BackendError]] = {}
    pending = [BackendError]
    while pending:
        kind = pending.pop()
        found.setdefault(kind.code, kind)
        pending += kind.__subclasses__()
    return found


def _words(count: int) -> Iterable[str]:
    return (f"w{number} " if number < count - 1 else f"w{number}" for number in range(count))


def _characters(count: int) -> Iterable[str]:
    whole, rest = divmod(count, _CHUNK)
    line = "x" * 99 + "\n"
    yield from (line * (_CHUNK // len(line)) for _ in range(whole))
    if rest:
        yield (line * (_CHUNK // len(line)))[:rest]


async def _tell(request: Request, parts: Iterable[str], pause_s: float = 0.0) -> Events:
    """The parts, as far as `max_tokens` reaches, and the end."""
    told = 0
    limit = request.settings.max_tokens
    for count, part in enumerate(parts):
        words = len(part.split())
        if limit is not None and told + words > limit:
            fitting = "".join(islice(_WORD.findall(part), limit - told))
            if fitting:
                yield TextDelta(fitting)
            yield _end(request, limit, "max_tokens")
            return
        # A turn for everybody else, and the place where a cancellation comes in.
        await asyncio.sleep(pause_s if count else 0)
        told += words
        yield TextDelta(part)
    yield _end(request, told)


def _end(request: Request, output: int, reason: str = "end") -> Finished:
    return Finished(Usage(sum(len(message.content.split()) for message in request.history), output), reason)


def _echo(request: Request) -> Events:
    return _tell(request, _WORD.findall(request.history.content))


def _instant(request: Request) -> Events:
    return _tell(request, ("ok.",))


async def _sleep(wait_s: float, request: Request) -> Events:
    await asyncio.sleep(wait_s)
    async for event in _tell(request, ("ok.",)):
        yield event


async def _hang(_: Request) -> Events:
    await asyncio.Event().wait()
    yield TextDelta("never")


async def _fail(kind: type[BackendError], _: Request) -> Events:
    # Not by its own constructor: what that asks for differs from error to error.
    error = kind.__new__(kind)
    SamovarError.__init__(error, f"the fake backend was asked to fail with {kind.code!r}")
    raise error
    yield TextDelta("never")


async def _unknown(request: Request) -> Events:
    raise BackendError(f"the fake backend has no model {request.model[:80]!r}; `samovard.testing.fake` lists its kinds")
    yield TextDelta("never")


async def _cut(count: int, request: Request) -> Events:
    async for event in _tell(request, _words(count)):
        if isinstance(event, TextDelta):
            yield event
    raise BackendError(f"the fake backend was asked to fail after {count} words")


async def _crash(_: Request) -> Events:
    raise RuntimeError("the fake backend was asked to crash")
    yield TextDelta("never")


async def _garbage(request: Request) -> Events:
    async for event in _instant(request):
        yield event
    yield TextDelta("more")


async def _unfinished(request: Request) -> Events:
    async for event in _instant(request):
        if isinstance(event, TextDelta):
            yield event


_N = r"(\d{1,8})"
_S = r"(\d{1,5}(?:\.\d{1,9})?)"
_FORMS: tuple[tuple[re.Pattern[str], Callable[..., Behaviour | None]], ...] = tuple(
    (re.compile(form, re.ASCII), make)
    for form, make in (
        ("echo", lambda: _echo),
        ("instant", lambda: _instant),
        ("hang", lambda: _hang),
        ("crash", lambda: _crash),
        ("garbage", lambda: _garbage),
        ("unfinished", lambda: _unfinished),
        (f"sleep:{_S}", lambda wait: partial(_sleep, float(wait))),
        (f"words:{_N}(?::{_S})?", lambda n, s: lambda request: _tell(request, _words(int(n)), float(s or 0))),
        (f"big:{_N}", lambda n: lambda request: _tell(request, _characters(int(n)))),
        (f"cut:{_N}", lambda n: partial(_cut, int(n))),
        ("fail:([a-z_]+)", _parse_fail),
    )
)
