"""The embedded model: needs no key and no network, and answers from the conversation alone.

It is a retrieval program and no language model. It composes nothing: it finds the sentences of its context (the
system prompt, earlier messages, the documents and replies in the prompt) that fit the question best, by BM25, and
repeats them. What `retrieval` makes of a message is kept and never changed, so that a second question about the same
megabyte costs its search alone, in whichever session it is asked.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from weakref import WeakValueDictionary

from pydantic import Field

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
from samovard.model.message import Message

from .retrieval.answer import DOES_NOT_KNOW, acknowledgement, answer, context
from .retrieval.bm25 import cost
from .retrieval.reading import Reading, read
from .retrieval.terms import terms

__all__ = ["DOES_NOT_KNOW", "ReaderBackend", "ReaderSettings"]

MODEL = ModelSpec(
    "bm25",
    description="a retrieval program, no language model: repeats what the conversation says; needs no key, no network",
)

SHORT_TEXT = 2_000
"""Characters: what is read at once on the loop, in a millisecond or so; more is read in a thread."""
SHORT_SEARCH = 2_000
"""Postings: likewise for a search."""
KEPT = 8 * 1024 * 1024
"""Characters whose readings are kept, the latest used; a reading takes some 10 times that in bytes."""
OVERHEAD = 500
"""Characters that a message counts for beside its own."""
BREATH = 50
"""Words between two turns of everybody else on the loop."""

_WORD = re.compile(r"\S+\s*")
_Key = tuple[str, str]


class ReaderSettings(Settings):
    """The reader's settings. A token is a word. `temperature` has no effect: nothing here is left to chance."""

    sentences: int = Field(default=3, ge=1, le=20, description="how many sentences a reply has at most")
    words_per_s: float = Field(
        default=0, ge=0, allow_inf_nan=False, description="how fast the reply is told; 0 is as fast as possible"
    )


class ReaderBackend:
    """The retrieval program behind `reader`."""

    name = "reader"
    capabilities = Capabilities(streams=True)
    settings_type = ReaderSettings

    def __init__(self) -> None:
        self._readings = Readings()

    def models(self) -> Sequence[ModelSpec]:
        """The one that there is."""
        return (MODEL,)

    def find(self, model: str) -> ModelSpec | None:
        """It, by its id."""
        return MODEL if model == MODEL.id else None

    async def stream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """The reply, word by word. Tokens are words: what white space parts."""
        settings = _settings(request.settings)
        readings = [await self._readings.of(message) for message in request.history]
        words = _WORD.findall(await _reply(readings, settings.sentences))
        told = words[: settings.max_tokens]
        for count, word in enumerate(told):
            if count and settings.words_per_s:
                await asyncio.sleep(1 / settings.words_per_s)
            elif count % BREATH == 0:
                await asyncio.sleep(0)
            yield TextDelta(word)
        usage = Usage(input=sum(reading.words for reading in readings), output=len(told))
        yield Finished(usage, "end" if len(told) == len(words) else "max_tokens")

    async def close(self) -> None:
        """Forgets what it read."""
        self._readings = Readings()


def _settings(given: Settings) -> ReaderSettings:
    return given if isinstance(given, ReaderSettings) else ReaderSettings.model_validate(given.model_dump())


async def _reply(readings: Sequence[Reading], sentences: int) -> str:
    present, indexes = readings[-1], context(readings)
    told = acknowledgement(present, sentences)
    if told is not None:
        return told
    if cost(indexes, terms(present.said)) <= SHORT_SEARCH:
        return answer(indexes, present, sentences)
    return await asyncio.to_thread(answer, indexes, present, sentences)


class Readings:
    """The readings of messages, the latest used ones kept. Called on one loop.

    Keyed by role and content and not by the message's id, which its history is a part of: one prompt that is
    broadcast to a hundred sessions has a hundred ids, and is read once.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, Reading] = OrderedDict()
        self._size = 0
        self._locks: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def of(self, message: Message) -> Reading:
        """The reading of `message`: the kept one, or a new one."""
        key: _Key = (message.role, message.content)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if len(message.content) <= SHORT_TEXT:
            await asyncio.sleep(0)  # There may be thousands of them after a restart.
            return self._keep(key, read(message.role, message.content))
        async with self._locks.setdefault(key, asyncio.Lock()):
            return self._kept.get(key) or self._keep(key, await _read_in_thread(message))

    def _keep(self, key: _Key, reading: Reading) -> Reading:
        if key not in self._kept:
            self._size += len(key[1]) + OVERHEAD
        self._kept[key] = reading
        while self._size > KEPT and len(self._kept) > 1:
            (_, content), _ = self._kept.popitem(last=False)
            self._size -= len(content) + OVERHEAD
        return reading


async def _read_in_thread(message: Message) -> Reading:
    stop = threading.Event()
    try:
        return await asyncio.to_thread(read, message.role, message.content, stop.is_set)
    except asyncio.CancelledError:
        stop.set()  # The thread can't be cancelled; nor is the process to wait for it at its end.
        raise
