"""Live sessions by name: made, forked, rewound, listed, ended.

Keeps the invariant that what a caller was told is in the journal: a write is awaited before its result is returned,
and memory changes after the journal did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from samovard import log
from samovard.model.errors import InvalidName, NameInUse, UnknownMessage, UnknownSession, shown
from samovard.model.ids import NAME
from samovard.model.journal import NewSession, SessionRecord
from samovard.model.message import Head, head_of, say
from samovard.model.states import AskState, SessionState
from samovard.model.views import HistoryView, KillView, MessageView, SessionView

from .ask import Ask
from .models import Models, settings_across, settings_of
from .session import Session, Surroundings
from .text import checked_text

Result = TypeVar("Result")


class Sessions:
    """Every live session of a daemon; each is read from the journal when it is first used."""

    def __init__(self, around: Surroundings, models: Models) -> None:
        self._around = around
        self._models = models
        self._journal = around.journal
        self._live: dict[str, Session] = {}
        self._coming: set[str] = set()
        self._kills = 0
        self._works: set[asyncio.Future[Any]] = set()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._live.values()))

    async def spawn(self, name: str, model: str | None, system: str | None, settings: Mapping[str, Any]) -> SessionView:
        """A new session. Raises InvalidName, NameInUse, UnknownModel, ModelUnavailable, InvalidArgument."""
        chosen = self._models.find(model)
        settings_of(chosen, settings)
        now = time.time()
        root = say("system", checked_text(system), None, now) if system else None
        new = NewSession(name, chosen.name, dict(settings), now, root=root)
        view = await self._add(new)
        log.info("session/spawned", session=name, model=chosen.name)
        return view

    async def fork(self, name: str, new: str, at: str | None, model: str | None) -> SessionView:
        """A session `new` whose head is that of `name`, or its message `at`. Nothing is copied."""
        session = await self.find(name)
        head = await self._message(session, at) if at is not None else session.head
        chosen = self._models.find(model) if model else session.model
        settings = settings_across(chosen, session.settings_given)
        planned = NewSession(new, chosen.name, settings, time.time(), head=head, parent=session.key)
        view = await self._add(planned, forked_from=name)
        log.info("session/forked", session=new, parent=name, model=chosen.name, messages=view.messages)
        return view

    async def _add(self, new: NewSession, forked_from: str | None = None) -> SessionView:
        if not NAME.fullmatch(new.name):
            raise InvalidName(new.name)
        self._around.refuse_when_closing()
        if new.name in self._live or new.name in self._coming:
            raise NameInUse(new.name)
        self._coming.add(new.name)
        try:
            kills = self._kills
            key = await self._journal.add_session(new)
        finally:
            self._coming.discard(new.name)
        if new.name in self._live or kills != self._kills:
            # Somebody has used it already, or ended it: there must be one session of a name, or none.
            return (await self.find(new.name)).view()
        record = SessionRecord(
            key=key,
            name=new.name,
            model=new.model,
            settings=new.settings,
            head=new.head or head_of(new.root),
            forked_from=forked_from,
            forked_at=new.head.id if new.head and forked_from else None,
            created_at=new.created_at,
        )
        session = self._live[new.name] = Session(record, self._models.find_again(new.model), self._around)
        return session.view()

    async def find(self, name: str) -> Session:
        """The live session of that name; read from the journal on first use. Raises UnknownSession."""
        session = self._live.get(name)
        if session is None:
            record = await self._record(name)
            # Another caller may have read it meanwhile; there must be one session of a name.
            session = self._live.get(name)
            if session is None:
                session = Session(record, self._models.find_again(record.model), self._around)
                self._live[name] = session
        return session

    async def _record(self, name: str) -> SessionRecord:
        """What the journal has. A kill during the read may have been of this session, so it is read again."""
        while True:
            kills = self._kills
            record = await self._journal.session(name)
            if kills == self._kills:
                break
        if record is None:
            raise UnknownSession(name, await self._journal.names())
        return record

    async def _whole(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs `work` to its end though its caller leaves: journal and memory must not part."""
        task = asyncio.ensure_future(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return await asyncio.shield(task)

    async def rewind(self, name: str, to: str) -> SessionView:
        """Moves the head back to the message `to`; the messages after it stay in the journal."""
        return await self._whole(self._rewind(name, to))

    async def _rewind(self, name: str, to: str) -> SessionView:
        session = await self.find(name)
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
            f"session {session.name!r} has {what} {shown(ref)} among its {total}: give a number, or how an id begins, "
            f"as `samovar history {session.name}` shows them"
        )

    async def kill(self, names: Sequence[str]) -> KillView:
        """Ends the sessions: their asks are cancelled, their names free, their journal kept."""
        return await self._whole(self._kill(names))

    async def _kill(self, names: Sequence[str]) -> KillView:
        sessions = [await self.find(name) for name in dict.fromkeys(names)]
        for session in sessions:
            session.ending = True
        try:
            await self._journal.end_sessions([session.key for session in sessions], time.time())
        except BaseException:
            for session in sessions:
                session.ending = False
            raise
        self._kills += 1
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

    async def views(self) -> list[SessionView]:
        """All live sessions, the oldest first."""
        views = []
        for record in await self._journal.sessions():
            session = self._live.get(record.name)
            views.append(session.view() if session else _view_of(record))
        return views

    async def history(self, name: str, last: int | None) -> HistoryView:
        """The session's messages, or the `last` of them."""
        session = await self.find(name)
        # Before the messages are read: an ask may end meanwhile, and is not among them.
        view = session.view()
        messages = await self._journal.history(session.head, last) if session.head else []
        return HistoryView(
            session=name,
            model=view.model,
            forked_from=view.forked_from,
            total=view.messages,
            messages=[MessageView(m.number, m.id, m.role, m.content, m.at) for m in messages],
        )

    async def names(self) -> list[str]:
        """The names of all live sessions."""
        return await self._journal.names()

    async def count(self) -> int:
        """How many sessions are live."""
        return await self._journal.count()


def _view_of(record: SessionRecord) -> SessionView:
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
