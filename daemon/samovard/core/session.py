"""A live session: its place in the tree of messages and the queue of its asks, which run in the order they came."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from samovard import log
from samovard.model.backend import Finished, Request, StreamEvent, TextDelta, Usage
from samovard.model.errors import (
    Cancelled,
    Internal,
    Interrupted,
    MalformedResponse,
    SamovarError,
    SessionBusy,
    ShuttingDown,
)
from samovard.model.journal import AskClosed, AskOpened, Journal, SessionRecord
from samovard.model.message import Head, Message, head_of, say
from samovard.model.states import SESSION_MOVES, AskState, SessionState, move
from samovard.model.views import SessionView

from .ask import Ask, Listener
from .history import Histories
from .models import Model, settings_of

MAX_WAITING = 1000
_EVENTS_A_TURN = 50


@dataclass(slots=True)
class Surroundings:
    """What every session of a daemon shares."""

    journal: Journal
    histories: Histories
    log_content: bool
    asks: dict[str, Ask] = field(default_factory=dict)
    """The asks that are under way, by ticket."""
    closing: bool = False
    """True once the daemon is about to end."""

    def refuse_when_closing(self) -> None:
        """Raises ShuttingDown where the daemon takes nothing more."""
        if self.closing:
            raise ShuttingDown


class Session:
    """A session in memory. `head` is what the journal has; `tip` is the same message with its history, once loaded."""

    def __init__(self, record: SessionRecord, model: Model, around: Surroundings) -> None:
        self.key = record.key
        self.name = record.name
        self.model = model
        self.settings = settings_of(model, record.settings)
        self.head = record.head
        self.tip: Message | None = None
        self.state = SessionState.IDLE
        self.running: Ask | None = None
        self.waiting: deque[Ask] = deque()
        self._record = record
        self._asks = record.asks
        self._usage: Usage = record.usage
        self._around = around
        self.ending = False
        """True from the moment that a kill was asked for: no more asks are taken."""
        self._paused = False

    def view(self) -> SessionView:
        """The session as it is now."""
        record = self._record
        return SessionView(
            name=self.name,
            model=self.model.name,
            state=self.state,
            messages=self.head.number if self.head else 0,
            asks=self._asks,
            queued=len(self.waiting),
            usage=self._usage,
            forked_from=record.forked_from,
            forked_at=record.forked_at,
            head=self.head.id if self.head else None,
            settings=record.settings,
            created_at=record.created_at,
        )

    @property
    def settings_given(self) -> dict[str, Any]:
        """The settings as they were given."""
        return self._record.settings

    async def history(self) -> Message | None:
        """The last message with all before it; read from the journal on first use."""
        if self.head and (self.tip is None or self.tip.id != self.head.id):
            self.tip = await self._around.histories.load(self.head)
        return self.tip if self.head else None

    def submit(self, prompt: str, listener: Listener | None = None) -> Ask:
        """Takes an ask, which runs when those before it have ended; await its `recorded`. Raises SessionBusy."""
        if len(self.waiting) >= MAX_WAITING:
            raise SessionBusy(
                f"{MAX_WAITING:,} asks wait in session {self.name!r} already; wait for some, cancel some, "
                "or fork the session and ask the fork"
            )
        ask = Ask(self, prompt, listener)
        ask.recorded = self._around.journal.open_ask(AskOpened(ask.id, self.key, prompt, ask.created_at))
        self._around.asks[ask.id] = ask
        self.waiting.append(ask)
        content = {"prompt": prompt} if self._around.log_content else {}
        log.info("ask/queued", ask=ask.id, session=self.name, prompt_chars=len(prompt), **content)
        self._start_next()
        return ask

    def must_be_idle(self, what: str) -> None:
        """Raises SessionBusy where an ask is running or waiting."""
        if self.running or self.waiting or self._paused:
            count = len(self.waiting) + (self.running is not None)
            raise SessionBusy(f"session {self.name!r} has {count} ask(s) under way; {what} once they have ended")

    def moved(self, head: Head | None) -> None:
        """The head is elsewhere now, on disk already."""
        self.head, self.tip = head, None

    def pause(self) -> None:
        """No further ask starts until `resume`; the one that runs goes on, and new ones wait."""
        self._paused = True

    def resume(self) -> None:
        """Takes `pause` back."""
        self._paused = False
        self._start_next()

    def under_way(self) -> list[Ask]:
        """The ask that runs and those that wait."""
        return [*([self.running] if self.running else []), *self.waiting]

    def stop(self, ask: Ask, state: AskState) -> None:
        """Ends an ask early: it comes to `state`, and the session's history never holds it."""
        if ask is self.running:
            if ask.stopping is None and not ask.state.ended and ask.task:
                ask.stopping = state
                # A task that is cancelled before its first step never takes one, and could not end its ask.
                if ask.begun:
                    ask.task.cancel()
        elif ask in self.waiting and ask.stopping is None:
            self.waiting.remove(ask)
            ask.stopping = state
            ask.task = asyncio.create_task(self._end_waiting(ask))

    async def _end_waiting(self, ask: Ask) -> None:
        await self._end(ask, *_stopped(ask))

    def _start_next(self) -> None:
        if self.running or not self.waiting or self._paused:
            return
        self.running = self.waiting.popleft()
        if self.state is SessionState.IDLE:
            self.state = move(SESSION_MOVES, self.state, SessionState.BUSY)
        self.running.task = asyncio.create_task(self._answer(self.running))

    async def _answer(self, ask: Ask) -> None:
        """One ask from the head of the queue to its end, whatever happens. A task's root: catches all."""
        state, error = AskState.DONE, None
        ask.begun = True
        try:
            if ask.stopping:
                raise asyncio.CancelledError
            assert ask.recorded is not None
            await asyncio.shield(ask.recorded)
            await self._converse(ask)
        except asyncio.CancelledError:
            state, error = _stopped(ask)
        except SamovarError as failure:
            state, error = AskState.FAILED, failure
        except Exception as failure:  # noqa: BLE001 - a task's root
            log.error("ask/crashed", ask=ask.id, session=self.name, exception=failure)
            state, error = (
                AskState.FAILED,
                Internal(f"{type(failure).__name__}: {failure}; the log has the details"),
            )
        await self._end(ask, state, error)
        self.running = None
        self._start_next()
        if not self.running and self.state is SessionState.BUSY:
            self.state = move(SESSION_MOVES, self.state, SessionState.IDLE)

    async def _converse(self, ask: Ask) -> None:
        """Streams the reply. Leaves `ask.reply` set where the stream ended as the contract has it."""
        prompt = say("user", ask.prompt, await self.history(), time.time())
        ask.start()
        finished: Finished | None = None
        count = 0
        request = Request(self.model.spec.id, prompt, self.settings)
        stream: AsyncIterator[StreamEvent] = self.model.backend.stream(request)
        async with aclosing(stream) as events:  # type: ignore[type-var]
            async for event in events:
                count += 1
                if not count % _EVENTS_A_TURN:
                    await asyncio.sleep(0)  # A backend that has all its text at once must not hold the loop.
                if finished:
                    raise MalformedResponse(f"{self.model.name} went on after the end of its reply; ask again")
                if isinstance(event, TextDelta):
                    ask.add(_text_of(event, self.model.name))
                else:
                    finished = event
        if not finished:
            raise MalformedResponse(f"{self.model.name} broke off before the end of its reply; ask again")
        ask.usage, ask.stop_reason = finished.usage, finished.stop_reason
        ask.reply = say("assistant", ask.text, prompt, time.time())

    async def _end(self, ask: Ask, state: AskState, error: SamovarError | None) -> None:
        ask.finish(state, error)
        recorded = await self._record_end(ask)
        if recorded:
            self._around.asks.pop(ask.id, None)
        if ask.state is AskState.DONE:
            self._asks += 1
            self._usage += ask.usage
            self.tip, self.head = ask.reply, head_of(ask.reply)
            self._around.histories.keep(self)
        ask.tell_state()
        ask.ended.set()
        # Whoever waits for the ask has its turn before the log does.
        asyncio.get_running_loop().call_soon(self._log_end, ask)

    async def _record_end(self, ask: Ask) -> bool:
        """False where the journal refused it: then the ask has failed, and stays in memory for whoever polls it."""
        assert ask.recorded is not None
        if ask.recorded.done() and ask.recorded.exception():
            return True  # It was never begun, so there is nothing to end.
        try:
            await self._around.journal.close_ask(
                AskClosed(
                    ask=ask.id,
                    session=self.key,
                    state=ask.state,
                    timing=ask.timing,
                    usage=ask.usage,
                    reply=ask.reply if ask.state is AskState.DONE else None,
                    partial="" if ask.state is AskState.DONE else ask.text,
                    stop_reason=ask.stop_reason,
                    error=ask.error_view,
                )
            )
        except SamovarError as failure:
            ask.state, ask.error = AskState.FAILED, failure
            return False
        return True

    def _log_end(self, ask: Ask) -> None:
        timing, usage = ask.timing, ask.usage
        content = {"reply": ask.text} if self._around.log_content else {}
        if ask.error:
            content |= {"code": ask.error.code, "reason": ask.error.message}
        log.info(
            f"ask/{ask.state.value}",
            ask=ask.id,
            session=self.name,
            model=self.model.name,
            reply_chars=len(ask.text),
            input=usage.input,
            output=usage.output,
            total_s=timing.total_s,
            **content,
        )


def _text_of(delta: TextDelta, model: str) -> str:
    """The part's text. Raises MalformedResponse where it is no Unicode text: nothing could keep or send it."""
    try:
        delta.text.encode()
    except UnicodeEncodeError as error:
        raise MalformedResponse(f"{model} sent what is no Unicode text ({error.reason}); ask again") from None
    return delta.text


def _stopped(ask: Ask) -> tuple[AskState, SamovarError]:
    """Why an ask's task was cancelled: because of `Session.stop`, or because the daemon's loop is being torn down."""
    if ask.stopping is AskState.CANCELLED:
        return AskState.CANCELLED, Cancelled(f"ask {ask.id} was cancelled; its session goes on", ask=ask.id)
    return AskState.INTERRUPTED, Interrupted(ask.id)
