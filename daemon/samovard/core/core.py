"""The core: every live session by name, and what can be done with them. Runs on one asyncio loop.

Keeps the invariant that what a caller was told is in the journal: a write is awaited before its result is returned,
and memory changes after the journal did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from samovard import log
from samovard.model.errors import (
    EmptyPrompt,
    InvalidArgument,
    InvalidName,
    NameInUse,
    NoReply,
    PromptTooLarge,
    SamovarError,
    ShuttingDown,
    UnknownMessage,
    UnknownSession,
    UnknownTicket,
)
from samovard.model.ids import MAX_PROMPT_BYTES, NAME
from samovard.model.journal import Journal, NewSession
from samovard.model.message import Head, say
from samovard.model.states import AskState, SessionState
from samovard.model.views import (
    AskView,
    BroadcastView,
    ErrorView,
    HistoryView,
    KillView,
    MessageView,
    OutcomeView,
    SessionView,
)

from .ask import Ask, Listener
from .history import Histories
from .models import Models, settings_across, settings_of
from .session import Session, Surroundings

_LAST_WAIT_S = 5.0
"""How long a backend that was told to stop may take to do so before the daemon ends without it."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the core knows of the process around it."""

    home: str
    pid: int
    started_at: float
    grace_s: float
    shut_down: Callable[[float], None]
    """Begins the shutdown, with this grace in s, and returns at once."""


class Core:
    """Sessions and asks. Every method is called on the loop that the core was made on."""

    def __init__(
        self,
        journal: Journal,
        models: Models,
        *,
        log_content: bool = False,
        daemon: Daemon,
        interrupted: Sequence[AskView] = (),
    ) -> None:
        self.models = models
        self.daemon = daemon
        self.interrupted = list(interrupted)
        self._journal = journal
        self._asks: dict[str, Ask] = {}
        self._around = Surroundings(journal, Histories(journal), self._asks, log_content)
        self._live: dict[str, Session] = {}
        self._coming: set[str] = set()
        self._closing = False

    # Sessions

    async def spawn(self, name: str, model: str | None, system: str | None, settings: Mapping[str, Any]) -> SessionView:
        """A new session. Raises InvalidName, NameInUse, UnknownModel, ModelUnavailable, InvalidArgument."""
        chosen = self.models.find(model)
        settings_of(chosen, settings)
        now = time.time()
        root = say("system", _checked_text(system), None, now) if system else None
        new = NewSession(name, chosen.name, dict(settings), now, root=root)
        view = await self._add(new)
        log.info("session/spawned", session=name, model=chosen.name)
        return view

    async def fork(self, name: str, new: str, at: str | None, model: str | None) -> SessionView:
        """A session `new` whose head is that of `name`, or its message `at`. Nothing is copied."""
        session = await self.session(name)
        head = await self._message(session, at) if at else session.head
        chosen = self.models.find(model) if model else session.model
        settings = settings_across(chosen, session.settings_given)
        view = await self._add(NewSession(new, chosen.name, settings, time.time(), head=head, parent=session.key))
        log.info("session/forked", session=new, parent=name, model=chosen.name, messages=view.messages)
        return view

    async def _add(self, new: NewSession) -> SessionView:
        if not NAME.fullmatch(new.name):
            raise InvalidName(new.name)
        self._refuse_when_closing()
        if new.name in self._live or new.name in self._coming:
            raise NameInUse(new.name)
        self._coming.add(new.name)
        try:
            await self._journal.add_session(new)
        finally:
            self._coming.discard(new.name)
        return (await self.session(new.name)).view()

    async def session(self, name: str) -> Session:
        """The live session of that name; read from the journal on first use. Raises UnknownSession."""
        session = self._live.get(name)
        if session is None:
            record = await self._journal.session(name)
            if record is None:
                raise UnknownSession(name, await self._journal.names())
            # Another caller may have read it meanwhile; there must be one session of a name.
            session = self._live.get(name)
            if session is None:
                session = Session(record, self.models.find_again(record.model), self._around)
                self._live[name] = session
        return session

    async def rewind(self, name: str, to: str) -> SessionView:
        """Moves the head back to the message `to`; the messages after it stay in the journal."""
        session = await self.session(name)
        session.must_be_idle("rewind it")
        head = await self._message(session, to)
        session.must_be_idle("rewind it")
        session.pause()
        try:
            await self._journal.move_head(session.key, head)
            session.moved(head)
        finally:
            session.resume()
        log.info("session/rewound", session=name, to=head.id, messages=head.number)
        return session.view()

    async def _message(self, session: Session, ref: str) -> Head:
        """The message of the session's history whose number is `ref`, or whose id begins with it."""
        total = session.head.number if session.head else 0
        found = await self._journal.find_message(session.head, ref.lower()) if session.head else []
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} messages" if found else "no message"
        raise UnknownMessage(
            f"session {session.name!r} has {what} {ref!r} among its {total}: give a number or the beginning of an id, "
            f"as `samovar history {session.name}` shows them"
        )

    async def kill(self, names: Sequence[str]) -> KillView:
        """Ends the sessions: their asks are cancelled, their names free, their journal kept."""
        sessions = [await self.session(name) for name in dict.fromkeys(names)]
        for session in sessions:
            session.ending = True
        try:
            await self._journal.end_sessions([session.key for session in sessions], time.time())
        except BaseException:
            for session in sessions:
                session.ending = False
            raise
        cancelled = [ask for session in sessions for ask in self._end(session)]
        for ask in cancelled:
            await ask.ended.wait()
        log.info("session/killed", sessions=[s.name for s in sessions], cancelled_asks=len(cancelled))
        return KillView(len(sessions), [session.name for session in sessions], len(cancelled))

    def _end(self, session: Session) -> list[Ask]:
        self._live.pop(session.name, None)
        self._around.histories.forget(session)
        asks = session.under_way()
        for ask in asks:
            session.stop(ask, AskState.CANCELLED)
        session.state = SessionState.KILLED
        return asks

    async def kill_all(self) -> KillView:
        """Ends every live session."""
        return await self.kill(await self._journal.names())

    async def sessions(self) -> list[SessionView]:
        """All live sessions, the oldest first."""
        views = []
        for record in await self._journal.sessions():
            session = self._live.get(record.name)
            views.append(session.view() if session else _view_of(record))
        return views

    async def history(self, name: str, last: int | None) -> HistoryView:
        """The session's messages, or the `last` of them."""
        session = await self.session(name)
        messages = await self._journal.history(session.head, last) if session.head else []
        view = session.view()
        return HistoryView(
            session=name,
            model=view.model,
            forked_from=view.forked_from,
            total=view.messages,
            messages=[MessageView(m.number, m.id, m.role, m.content, m.at) for m in messages],
        )

    # Asks

    async def submit(self, name: str, prompt: str, listener: Listener | None = None) -> Ask:
        """Takes an ask and returns it once it is on disk; it may be running by then."""
        checked = _checked_prompt(prompt)
        session = await self.session(name)
        self._refuse_when_closing()
        if session.ending:
            raise UnknownSession(name)
        ask = session.submit(checked, listener)
        assert ask.recorded
        await asyncio.shield(ask.recorded)
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
        session = await self.session(source)
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
        prompt = _checked_prompt(prompt)
        chosen = list(dict.fromkeys(names)) if names is not None else await self._journal.names()
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

    async def latest_asks(self, name: str, last: int) -> list[AskView]:
        """The session's latest asks, the newest first."""
        session = await self.session(name)
        views = await self._journal.asks(session.key, last)
        return [self._asks[view.ask].view() if view.ask in self._asks else view for view in views]

    # The daemon

    async def count(self) -> int:
        """How many sessions are live."""
        return await self._journal.count()

    def load(self) -> tuple[int, int]:
        """How many asks run, and how many wait."""
        running = sum(ask.state is AskState.RUNNING for ask in self._asks.values())
        queued = sum(ask.state is AskState.QUEUED for ask in self._asks.values())
        return running, queued

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise ShuttingDown

    def stop_taking(self) -> None:
        """From now on no ask is taken and none that waits is begun."""
        self._closing = True
        for session in self._live.values():
            session.pause()

    async def drain(self, grace_s: float) -> None:
        """Gives what runs `grace_s` to end, and interrupts the rest."""
        self.stop_taking()
        for session in self._live.values():
            for ask in list(session.waiting):
                session.stop(ask, AskState.INTERRUPTED)
        await self._wait_for_all(grace_s)
        for ask in list(self._asks.values()):
            ask.session.stop(ask, AskState.INTERRUPTED)
        await self._wait_for_all(_LAST_WAIT_S)

    async def close(self) -> None:
        """Lets go of the backends and of the journal; nothing may be called after it."""
        await self.models.close()
        await self._journal.close()

    async def _wait_for_all(self, timeout_s: float) -> None:
        waits = [asyncio.create_task(ask.ended.wait()) for ask in self._asks.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=timeout_s)
            for wait in late:
                wait.cancel()


def relayed(source: str, reply: str, note: str | None) -> str:
    """The prompt by which one session's reply reaches another."""
    quoted = f'<reply session="{source}">\n{reply}\n</reply>'
    return f"{note}\n\n{quoted}" if note else quoted


def _checked_text(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"the text has a character that is no Unicode text ({text[error.start]!r} at {error.start}); remove it"
        ) from None
    if size > MAX_PROMPT_BYTES:
        raise PromptTooLarge(size, MAX_PROMPT_BYTES)
    return text


def _checked_prompt(prompt: str) -> str:
    if not prompt.strip():
        raise EmptyPrompt
    return _checked_text(prompt)


def _view_of(record: Any) -> SessionView:
    return SessionView(
        name=record.name,
        model=record.model,
        state=SessionState.IDLE,
        messages=record.head.number if record.head else 0,
        asks=record.asks,
        queued=0,
        usage=record.usage,
        forked_from=record.forked_from,
        forked_at=record.forked_at,
        head=record.head.id if record.head else None,
        settings=record.settings,
        created_at=record.created_at,
    )
