"""Streams in company: beside one another, cancelled, closed early, failing; and the backend's end."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from unittest import SkipTest

from samovard.model.backend import Backend, Request
from samovard.model.errors import BackendError
from samovard.model.message import say

from .asking import Asking, closable
from .behaviours import ContractBroken, behaviour, hold


class Company(Asking):
    """The tests of many streams, and of streams that end before their end."""

    @behaviour("stream/holds-no-conversation")
    async def test_what_one_stream_was_told_the_next_does_not_know(self, backend: Backend) -> None:
        word = "heliotrope4711"
        told = say("user", f"The word of the day is {word}.", None, 0.0)
        await self.reply(
            backend, self.request(backend, "What is the word of the day?", say("assistant", "Noted.", told, 0.0))
        )
        reply = await self.reply(backend, self.request(backend, "What is the word of the day? Say it."))
        hold(word not in reply.text, f"a new conversation was answered {reply.text[:200]!r}")

    @behaviour("stream/repeatable")
    async def test_one_request_can_be_sent_twice(self, backend: Backend) -> None:
        request = self.request(backend)
        for turn in ("first", "second"):
            self.complete(await self.reply(backend, request), f"the {turn} reply")

    @behaviour("stream/concurrent")
    async def test_many_streams_run_at_once(self, backend: Backend) -> None:
        requests = [self.request(backend, f"{self.prompt} {number}") for number in range(8)]
        replies = await asyncio.gather(*(self.reply(backend, request) for request in requests))
        for number, reply in enumerate(replies):
            self.complete(reply, f"reply {number} of {len(replies)}")

    @behaviour("stream/waits-for-no-other")
    async def test_a_stream_that_nobody_reads_holds_up_no_other(self, backend: Backend) -> None:
        async with aclosing(closable(backend.stream(self.request(backend)))) as unread:
            await anext(unread)
            self.complete(await self.in_time(self.reply(backend), "a stream beside one that nobody read"))

    @behaviour("stream/loop-stays-free")
    async def test_the_loop_has_its_turns_while_a_reply_is_made(self, backend: Backend) -> None:
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            last = time.perf_counter()
            while True:
                await asyncio.sleep(0)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0)
        await self.reply(backend)
        await asyncio.sleep(0)
        watcher.cancel()
        hold(longest < self.pause_s, f"nothing else ran for {longest:.2f} s")

    @behaviour("stream/cancel-at-once")
    async def test_a_cancelled_stream_ends_at_once(self, backend: Backend) -> None:
        for steps in (*range(12), None):
            await self._cancel(backend, steps)

    async def _cancel(self, backend: Backend, steps: int | None) -> None:
        """Cancels a stream after so many turns of the loop, or once it has yielded; checks how it ends."""
        yielded = asyncio.Event()

        async def read() -> None:
            async for _ in backend.stream(self.request(backend)):
                yielded.set()

        task = asyncio.create_task(read())
        when = "after its first event" if steps is None else f"after {steps} turns of the loop"
        if steps is None:
            first = asyncio.create_task(yielded.wait())
            await asyncio.wait([task, first], return_when="FIRST_COMPLETED")
            first.cancel()
        for _ in range(steps or 0):
            await asyncio.sleep(0)
        if not task.cancel():
            return
        done, _ = await asyncio.wait([task], timeout=self.patience_s)
        hold(bool(done), f"cancelled {when}, it had not ended {self.patience_s} s later")
        failure = None if task.cancelled() else task.exception()
        hold(task.cancelled(), f"cancelled {when}, it {f'raised {failure!r}' if failure else 'went on to its end'}")

    @behaviour("stream/usable-after-cancel")
    async def test_a_cancelled_stream_leaves_the_backend_as_it_was(self, backend: Backend) -> None:
        tasks = [asyncio.create_task(self.reply(backend)) for _ in range(4)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=self.patience_s)
        self.complete(await self.in_time(self.reply(backend), "a stream after four that were cancelled"))

    @behaviour("stream/closed-early")
    async def test_a_stream_that_is_closed_early_lets_go(self, backend: Backend) -> None:
        stream = closable(backend.stream(self.request(backend)))
        await anext(stream)
        try:
            await stream.aclose()
        except Exception as failure:
            raise ContractBroken(f"closing raised {failure!r}") from failure
        self.complete(await self.in_time(self.reply(backend), "a stream after one that was closed early"))

    @behaviour("errors/backend-error-only")
    async def test_what_fails_raises_backend_error(self, backend: Backend) -> None:
        cases = self.failing()
        if not cases:
            raise SkipTest("`failing` names nothing that fails")
        for broken, model in cases:
            request = Request(model, say("user", self.prompt, None, 0.0), broken.settings_type())
            try:
                reply = await self.reply(broken, request)
            except BackendError:
                continue
            except Exception as failure:
                raise ContractBroken(f"{model!r} raised {failure!r}") from failure
            finally:
                await broken.close()
            raise ContractBroken(f"{model!r} was to fail and replied {reply.text[:80]!r}")

    @behaviour("close/idempotent-enough")
    async def test_closing_does_no_harm(self, backend: Backend) -> None:
        fresh = self.backend()
        await self.reply(backend)
        for closed, what in ((fresh, "one that made no stream"), (backend, "one that made one")):
            for turn in ("once", "twice"):
                try:
                    await closed.close()
                except Exception as failure:
                    raise ContractBroken(f"closing {what} {turn} raised {failure!r}") from failure
