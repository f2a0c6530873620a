"""The one thread that writes. It commits in groups: whatever has come in while the last commit was under way.

Owns the writing connection. Keeps the promise that a write's future ends after its commit, never before.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from samovard import log
from samovard.model.errors import Internal, JournalUnwritable, SamovarError

Job = Callable[[sqlite3.Connection], Any]
Entry = tuple[Job, "asyncio.Future[Any]"]

_GROUP = 256
"""Jobs a commit at most, so that the first of a burst does not wait for the last."""


class Writer:
    """Runs jobs in the order they come, each whole or not at all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Takes `job` for the next transaction; the future has its result once that is on disk."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((job, future))
        return future

    async def do(self, job: Job) -> Any:
        """Runs `job`; a caller that is cancelled meanwhile does not keep it from being written."""
        return await asyncio.shield(self.submit(job))

    async def close(self) -> None:
        """Ends the thread after all that was asked of it."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            outcomes = self._commit(self._connection, group)
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        self._connection.close()

    def _next_group(self) -> list[Entry] | None:
        first = self._jobs.get()
        if first is None:
            return None
        group = [first]
        while len(group) < _GROUP:
            try:
                entry = self._jobs.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                self._jobs.put(None)
                break
            group.append(entry)
        return group

    def _commit(self, connection: sqlite3.Connection, group: list[Entry]) -> list[tuple[asyncio.Future[Any], Any]]:
        try:
            results = [_attempt(job, connection) for job, _ in group]
            connection.commit()
        except Exception as error:  # noqa: BLE001 - each waiting caller gets it, translated
            connection.rollback()
            if len(group) > 1:
                # One bad job must not fail its neighbours: each gets a transaction of its own.
                return [outcome for entry in group for outcome in self._commit(connection, [entry])]
            results = [_translate(error)]
        return [(future, result) for (_, future), result in zip(group, results, strict=True)]


def _attempt(job: Job, connection: sqlite3.Connection) -> Any:
    """The job's result, or its refusal: a `SamovarError` says that the job wrote nothing."""
    try:
        return job(connection)
    except SamovarError as refusal:
        return refusal


def _resolve(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in outcomes:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _translate(error: Exception) -> SamovarError:
    log.error("journal/write-failed", reason=str(error), kind=type(error).__name__)
    if isinstance(error, sqlite3.Error):
        return JournalUnwritable(
            f"the journal could not be written ({error}), so nothing was changed; "
            "free some space or make its folder writable, then try again"
        )
    return Internal(f"the journal could not be written: {type(error).__name__}: {error}; the log has the details")
