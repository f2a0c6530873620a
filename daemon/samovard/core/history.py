"""Histories in memory: loaded on first use, shared by forks, let go of when many other sessions were used since."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from samovard.model.journal import Journal
from samovard.model.message import Head, Message

if TYPE_CHECKING:
    from .session import Session

KEPT_SESSIONS = 512
"""How many idle sessions keep their messages in memory; the others' are read again when they are next asked."""


class Histories:
    """One node a message, however many sessions it is in."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._nodes: WeakValueDictionary[str, Message] = WeakValueDictionary()
        self._recent: OrderedDict[str, Session] = OrderedDict()

    async def load(self, head: Head) -> Message:
        """The message at `head`, with all before it."""
        known = self._nodes.get(head.id)
        if known:
            return known
        above: Message | None = None
        for row in await self._journal.history(head):
            node = self._nodes.get(row.id)
            if node is None:
                node = Message(row.id, row.role, row.content, above, row.number, row.at)
                self._nodes[row.id] = node
            above = node
        assert above is not None, "a head points at a message"
        return above

    def keep(self, session: Session) -> None:
        """Notes that the session was just used, and lets go of the one that was not for longest."""
        if session.tip:
            self._nodes[session.tip.id] = session.tip
        self._recent[session.name] = session
        self._recent.move_to_end(session.name)
        while len(self._recent) > KEPT_SESSIONS:
            _, oldest = self._recent.popitem(last=False)
            oldest.tip = None

    def forget(self, session: Session) -> None:
        """The session has ended."""
        self._recent.pop(session.name, None)
