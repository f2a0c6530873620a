"""The journal over SQLite: WAL, synchronous=FULL, one writing thread, one reading thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from samovard import log
from samovard.model.errors import JournalUnreadable, JournalUnwritable
from samovard.model.journal import AskClosed, AskOpened, NewSession, SessionRecord
from samovard.model.message import Head, Message
from samovard.model.views import AskView

from . import reads, version, writes
from .writer import Writer

Result = TypeVar("Result")

FILE = "journal.db"

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "busy_timeout = 5000",
    # A WAL that once grew large is cut back, so that the folder holds little more than its text.
    "journal_size_limit = 1048576",
)


async def open_journal(folder: Path) -> tuple[SqliteJournal, list[AskView]]:
    """The journal in `folder`, brought up to date, and the asks that were under way when it was last left.

    Raises JournalNewer and JournalUnreadable, the file untouched; JournalUnwritable where it can't be made.
    """
    file = folder / FILE
    await asyncio.to_thread(version.bring_up_to_date, file)
    try:
        journal = SqliteJournal(file)
    except sqlite3.Error as error:
        raise JournalUnwritable(
            f"the journal {file} can't be opened for writing ({error}); its folder may be read-only, or the disk full"
        ) from error
    try:
        return journal, await journal.recover()
    except BaseException:
        await journal.close()
        raise


class SqliteJournal:
    """`samovard.model.journal.Journal` over one file. Made on the loop that will use it."""

    def __init__(self, file: Path) -> None:
        self._writer = Writer(connect(file))
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")
        self._reading = connect(file)

    async def _read(self, query: Callable[..., Result], *args: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._run_query, query, args)

    def _run_query(self, query: Callable[..., Result], args: tuple[Any, ...]) -> Result:
        try:
            return query(self._reading, *args)
        except sqlite3.Error as error:
            raise JournalUnreadable(f"the journal could not be read ({error})") from error

    async def recover(self) -> list[AskView]:
        """Marks what was under way as interrupted and returns it, the newest first, 100 at most."""
        tickets: list[str] = await self._writer.do(writes.interrupt_all)
        views = [await self.ask(ticket) for ticket in sorted(tickets, reverse=True)[:100]]
        return [view for view in views if view]

    async def add_session(self, new: NewSession) -> int:
        key: int = await self._writer.do(lambda connection: writes.add_session(connection, new))
        return key

    async def end_sessions(self, keys: Sequence[int], at: float) -> None:
        await self._writer.do(lambda connection: writes.end_sessions(connection, keys, at))

    async def move_head(self, key: int, head: Head | None) -> None:
        await self._writer.do(lambda connection: writes.move_head(connection, key, head))

    def open_ask(self, opened: AskOpened) -> asyncio.Future[None]:
        return self._writer.submit(lambda connection: writes.open_ask(connection, opened))

    async def close_ask(self, closed: AskClosed) -> None:
        await self._writer.do(lambda connection: writes.close_ask(connection, closed))

    async def session(self, name: str) -> SessionRecord | None:
        return await self._read(reads.session, name)

    async def sessions(self) -> list[SessionRecord]:
        return await self._read(reads.sessions)

    async def names(self) -> list[str]:
        return await self._read(reads.names)

    async def count(self) -> int:
        return await self._read(reads.count)

    async def history(self, head: Head, last: int | None = None) -> list[Message]:
        return await self._read(reads.history, head, last)

    async def find_message(self, head: Head, ref: str) -> list[Head]:
        return await self._read(reads.find_message, head, ref)

    async def ask(self, ticket: str) -> AskView | None:
        return await self._read(reads.ask, ticket)

    async def asks(self, key: int, last: int) -> list[AskView]:
        return await self._read(reads.asks, key, last)

    async def close(self) -> None:
        await self._writer.close()
        self._reader.shutdown()
        await asyncio.to_thread(self._checkpoint)

    def _checkpoint(self) -> None:
        """Moves the WAL into the file, so that a stopped daemon leaves one file; a full disk may forbid it."""
        try:
            self._reading.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.warning("journal/checkpoint-failed", reason=str(error))
        self._reading.close()


def connect(file: Path) -> sqlite3.Connection:
    """A connection set up as every one of the journal's is; each is used by one thread at a time."""
    connection = sqlite3.connect(file, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection
