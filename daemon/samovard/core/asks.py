"""Asking: in one session, in the background, from one session to another, in many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from samovard import log
from samovard.model.errors import NoReply, SamovarError, UnknownSession, UnknownTicket
from samovard.model.states import AskState
from samovard.model.views import AskView, BroadcastView, ErrorView, OutcomeView

from .ask import Ask, Listener
from .session import Surroundings
from .sessions import Sessions
from .text import checked_prompt, relayed


class Asks:
    """Every ask that is under way, and the journal for those that have ended."""

    def __init__(self, around: Surroundings, sessions: Sessions) -> None:
        self._around = around
        self._journal = around.journal
        self._sessions = sessions
        self._asks = around.asks

    async def submit(self, name: str, prompt: str, listener: Listener | None = None) -> Ask:
        """Takes an ask and returns it once it is on disk; it may be running by then."""
        checked = checked_prompt(prompt)
        session = await self._sessions.find(name)
        self._around.refuse_when_closing()
        if session.ending:
            raise UnknownSession(name)
        ask = session.submit(checked, listener)
        assert ask.recorded
        try:
            await asyncio.shield(ask.recorded)
        except asyncio.CancelledError:
            # Its ticket was never told, so nobody could ever cancel it.
            session.stop(ask, AskState.CANCELLED)
            raise
        ask.tell_state()
        return ask

    async def ask(self, name: str, prompt: str, listener: Listener | None = None) -> AskView:
        """The reply. Raises what the ask failed with. Cancelling the caller cancels the ask."""
        ask = await self.submit(name, prompt, listener)
        try:
            await ask.ended.wait()
        except asyncio.CancelledError:
            ask.session.stop(ask, AskState.CANCELLED)
            raise
        if ask.error:
            ask.error.data.setdefault("ask", ask.id)
            raise ask.error
        return ask.view()

    async def poll(self, ticket: str, wait_s: float = 0) -> AskView:
        """The ask as it is; waits up to `wait_s` for its end."""
        ask = self._asks.get(ticket)
        if ask and wait_s and not ask.ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ask.ended.wait(), wait_s)
        if ask:
            return ask.view()
        view = await self._journal.ask(ticket)
        if view is None:
            raise UnknownTicket(ticket)
        return view

    async def cancel(self, ticket: str) -> AskView:
        """Stops the ask if it has not ended; returns it as it is then."""
        ask = self._asks.get(ticket)
        if ask and not ask.state.ended:
            ask.session.stop(ask, AskState.CANCELLED)
            await ask.ended.wait()
        return await self.poll(ticket)

    async def relay(self, source: str, target: str, note: str | None, listener: Listener | None = None) -> AskView:
        """Asks `target` what `source` replied last."""
        session = await self._sessions.find(source)
        message = await session.history()
        while message and message.role != "assistant":
            message = message.parent
        if message is None:
            raise NoReply(source)
        log.info("relay/sent", source=source, target=target, chars=len(message.content))
        return await self.ask(target, relayed(source, message.content, note), listener)

    async def broadcast(
        self, prompt: str, names: Sequence[str] | None, listener: Listener | None = None
    ) -> BroadcastView:
        """Asks the named sessions, or all, at once. One session's failure is its own."""
        prompt = checked_prompt(prompt)
        chosen = list(dict.fromkeys(names)) if names is not None else await self._sessions.names()
        log.info("broadcast/sent", sessions=len(chosen), prompt_chars=len(prompt))
        outcomes = await asyncio.gather(*(self._outcome(name, prompt, listener) for name in chosen))
        replied = sum(outcome.error is None for outcome in outcomes)
        return BroadcastView(list(outcomes), replied, len(outcomes) - replied)

    async def _outcome(self, name: str, prompt: str, listener: Listener | None) -> OutcomeView:
        try:
            return OutcomeView(name, await self.ask(name, prompt, listener), None)
        except SamovarError as error:
            ticket = error.data.get("ask")
            view = await self.poll(ticket) if ticket else None
            return OutcomeView(name, view, ErrorView(error.code, error.message))

    async def latest(self, name: str, last: int) -> list[AskView]:
        """The session's latest asks, the newest first."""
        session = await self._sessions.find(name)
        views = await self._journal.asks(session.key, last)
        return [self._asks[view.ask].view() if view.ask in self._asks else view for view in views]

    def load(self) -> tuple[int, int]:
        """How many asks run, and how many wait."""
        running = sum(ask.state is AskState.RUNNING for ask in self._asks.values())
        queued = sum(ask.state is AskState.QUEUED for ask in self._asks.values())
        return running, queued

    def interrupt_waiting(self) -> None:
        """Ends the asks that have not begun."""
        for ask in list(self._asks.values()):
            if ask.state is AskState.QUEUED:
                ask.session.stop(ask, AskState.INTERRUPTED)

    def interrupt_all(self) -> None:
        """Ends every ask."""
        for ask in list(self._asks.values()):
            ask.session.stop(ask, AskState.INTERRUPTED)

    async def wait_for_all(self, timeout_s: float) -> None:
        """Returns when no ask is under way, or after `timeout_s`."""
        waits = [asyncio.create_task(ask.ended.wait()) for ask in self._asks.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=timeout_s)
            for wait in late:
                wait.cancel()
