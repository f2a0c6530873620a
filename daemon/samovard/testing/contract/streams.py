"""One stream at a time: its events, its usage, and what it takes for a history."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from samovard.model.backend import Backend, Finished, Request, TextDelta, Usage
from samovard.model.message import say

from .asking import Asking
from .behaviours import behaviour, hold


class Streams(Asking):
    """The tests of one stream."""

    @behaviour("stream/known-events-only")
    async def test_a_stream_yields_text_and_its_end_and_nothing_else(self, backend: Backend) -> None:
        for event in (await self.reply(backend)).events:
            hold(isinstance(event, TextDelta | Finished), f"it yielded {event!r}")

    @behaviour("stream/finished-once-and-last")
    async def test_a_stream_ends_with_its_only_finished(self, backend: Backend) -> None:
        events = (await self.reply(backend)).events
        ends = [place for place, event in enumerate(events, 1) if isinstance(event, Finished)]
        hold(ends == [len(events)], f"of {len(events)} events, those numbered {ends} were ends")

    @behaviour("stream/no-empty-delta")
    async def test_every_delta_has_text(self, backend: Backend) -> None:
        for place, event in enumerate((await self.reply(backend)).events, 1):
            if isinstance(event, TextDelta):
                hold(isinstance(event.text, str) and event.text != "", f"event {place} was {event!r}")

    @behaviour("stream/usage-counts")
    async def test_usage_counts_the_prompt_and_the_reply(self, backend: Backend) -> None:
        usage = (await self.reply(backend)).finished.usage
        hold(isinstance(usage, Usage), f"it was {usage!r}")
        numbers = [getattr(usage, field.name) for field in fields(Usage)]
        hold(all(type(number) is int and number >= 0 for number in numbers), f"it was {usage!r}")
        hold(_input(usage) > 0 and usage.output > 0, f"it was {usage!r}")

    @behaviour("stream/usage-grows-with-history")
    async def test_a_longer_history_counts_as_more_input(self, backend: Backend) -> None:
        short = (await self.reply(backend)).finished.usage
        history = say("assistant", "Tea is hot. " * 40, say("user", "Speak of tea.", None, 0.0), 0.0)
        long = (await self.reply(backend, self.request(backend, after=history))).finished.usage
        hold(_input(long) > _input(short), f"it was {_input(short)}, and {_input(long)} with a history of 120 words")

    @behaviour("stream/stop-reason-known")
    async def test_a_stop_reason_is_one_that_there_is(self, backend: Backend) -> None:
        reason = (await self.reply(backend)).finished.stop_reason
        hold(reason in STOP_REASONS, f"it stopped for {reason!r}, known are {sorted(STOP_REASONS)}")

    @behaviour("stream/max-tokens")
    async def test_a_reply_ends_after_max_tokens(self, backend: Backend) -> None:
        whole = (await self.reply(backend)).finished
        limit = max(1, whole.usage.output // 2)
        finished = (await self.reply(backend, self.request(backend, max_tokens=limit))).finished
        hold(finished.usage.output <= limit, f"with a limit of {limit} it used {finished.usage.output}")
        if finished.usage.output == limit < whole.usage.output:
            hold(finished.stop_reason == "max_tokens", f"cut at {limit}, it stopped for {finished.stop_reason!r}")

    @behaviour("stream/temperature-accepted")
    async def test_a_reply_comes_at_any_temperature(self, backend: Backend) -> None:
        for temperature in (0.0, 1.0):
            reply = await self.reply(backend, self.request(backend, temperature=temperature))
            self.complete(reply, f"the reply at temperature {temperature}")

    @behaviour("stream/system-prompt-accepted")
    async def test_a_history_may_begin_with_a_system_prompt(self, backend: Backend) -> None:
        self.complete(await self.reply(backend, self.request(backend, after=say("system", self.system, None, 0.0))))

    @behaviour("stream/conversation-accepted")
    async def test_a_history_may_hold_a_conversation(self, backend: Backend) -> None:
        history = say("system", self.system, None, 0.0)
        for turn in range(3):
            history = say("user", f"Remember the number {turn}.", history, 0.0)
            history = say("assistant", f"I remember the number {turn}.", history, 0.0)
        self.complete(await self.reply(backend, self.request(backend, after=history)))

    @behaviour("stream/unicode")
    async def test_any_text_may_be_said(self, backend: Backend) -> None:
        text = "Žluťoučký kůň, чай, 茶を飲む, 🫖👩‍🚀, e\u0301, \u202eright to left\u202c, \x01 and \u2028 end"
        reply = await self.reply(backend, self.request(backend, text, say("system", text, None, 0.0)))
        self.complete(reply)
        for event in reply.events:
            if isinstance(event, TextDelta):
                hold(_is_text(event.text), f"{event!r} has half a character")

    @behaviour("stream/history-not-mutated")
    async def test_the_request_is_as_it_was(self, backend: Backend) -> None:
        history = say("assistant", "Hello.", say("user", "Hello!", None, 0.0), 0.0)
        request = self.request(backend, after=history, max_tokens=20)
        before = _snapshot(request)
        await self.reply(backend, request)
        hold(_snapshot(request) == before, f"{before!r} became {_snapshot(request)!r}")


STOP_REASONS = frozenset(("end", "max_tokens"))


def _input(usage: Usage) -> int:
    """All tokens that went in, whatever was cached of them."""
    return usage.input + usage.cache_read + usage.cache_write


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _snapshot(request: Request) -> tuple[Any, ...]:
    messages = [(message.id, message.role, message.content, message.number) for message in request.history]
    return request.model, messages, request.settings.model_dump()
