"""What the journal promises: versions refused untouched, groups that stand or fall job by job, order, a full disk."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from samovard.journal import SqliteJournal, open_journal, version, writes
from samovard.model.backend import Usage
from samovard.model.errors import JournalNewer, JournalUnreadable, JournalUnwritable, NameInUse
from samovard.model.journal import AskClosed, AskOpened, NewSession
from samovard.model.message import Message, head_of, say
from samovard.model.states import AskState
from samovard.model.views import Timing

Work = Callable[[SqliteJournal], Awaitable[Any]]


def with_journal(folder: Path, work: Work) -> Any:
    """What `work` makes of an open journal."""

    async def run() -> Any:
        journal, _ = await open_journal(folder)
        try:
            return await work(journal)
        finally:
            await journal.close()

    return asyncio.run(run())


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """What another reader of the file sees."""
    connection = sqlite3.connect(folder / "journal.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def new(name: str, **more: Any) -> NewSession:
    return NewSession(name, "fake", {}, time.time(), **more)


def closed(ask: str, session: int, prompt: str, reply: str, parent: Message | None = None) -> AskClosed:
    said = say("assistant", reply, say("user", prompt, parent, 1.0), 2.0)
    return AskClosed(ask, session, AskState.DONE, Timing(0.0, 0.1, 0.2), Usage(1, 2), said, stop_reason="end")


async def talk(journal: SqliteJournal, session: int, ask: str, prompt: str, reply: str) -> None:
    await journal.open_ask(AskOpened(ask, session, prompt, 1.0))
    await journal.close_ask(closed(ask, session, prompt, reply))


def test_a_journal_of_a_newer_release_is_refused_and_not_a_byte_of_it_changes(tmp_path: Path) -> None:
    with_journal(tmp_path, lambda journal: journal.add_session(new("w1")))
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(JournalNewer, match="9999"):
        with_journal(tmp_path, lambda journal: journal.count())
    assert (tmp_path / "journal.db").read_bytes() == before


def test_a_file_that_is_no_journal_is_refused_and_not_a_byte_of_it_changes(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database at all" * 500)
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(JournalUnreadable, match="move it away"):
        with_journal(tmp_path, lambda journal: journal.count())
    assert (tmp_path / "journal.db").read_bytes() == before


def test_the_revision_that_the_code_knows_is_the_newest_migration(tmp_path: Path) -> None:
    with_journal(tmp_path, lambda journal: journal.count())
    assert rows(tmp_path, "SELECT version_num FROM alembic_version") == [(version.REVISION,)]
    assert max(version.known_revisions()) == version.REVISION


def test_an_ask_that_was_under_way_is_interrupted_at_the_next_opening_and_keeps_its_prompt(tmp_path: Path) -> None:
    async def leave(journal: SqliteJournal) -> None:
        key = await journal.add_session(new("w1"))
        await talk(journal, key, "1-done", "hello", "hi")
        await journal.open_ask(AskOpened("2-open", key, "and now?", 1.0))

    async def found() -> list[str]:
        journal, interrupted = await open_journal(tmp_path)
        await journal.close()
        return [view.ask for view in interrupted]

    with_journal(tmp_path, leave)
    assert asyncio.run(found()) == ["2-open"]
    assert asyncio.run(found()) == []
    states = "SELECT id, state, prompt FROM asks ORDER BY id"
    assert rows(tmp_path, states) == [("1-done", "done", None), ("2-open", "interrupted", "and now?")]


def test_a_refused_job_leaves_its_neighbours_in_the_same_commit_alone(tmp_path: Path) -> None:
    async def at_once(journal: SqliteJournal) -> list[Any]:
        jobs = (journal.add_session(new(name)) for name in ("a", "b", "a", "c"))
        return await asyncio.gather(*jobs, return_exceptions=True)

    outcomes = with_journal(tmp_path, at_once)
    assert [isinstance(outcome, NameInUse) for outcome in outcomes] == [False, False, True, False]
    assert rows(tmp_path, "SELECT name FROM sessions ORDER BY key") == [("a",), ("b",), ("c",)]


def test_a_job_that_the_database_refuses_fails_alone_and_wholly(tmp_path: Path) -> None:
    async def at_once(journal: SqliteJournal) -> list[Any]:
        def broken(connection: sqlite3.Connection) -> None:
            writes.add_session(connection, new("half"))
            connection.execute("INSERT INTO no_such_table VALUES (1)")

        jobs = (journal.add_session(new("a")), journal._writer.do(broken), journal.add_session(new("b")))
        return await asyncio.gather(*jobs, return_exceptions=True)

    outcomes = with_journal(tmp_path, at_once)
    assert [isinstance(outcome, JournalUnwritable) for outcome in outcomes] == [False, True, False]
    assert rows(tmp_path, "SELECT name FROM sessions ORDER BY key") == [("a",), ("b",)]


def test_writes_are_kept_in_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    async def burst(journal: SqliteJournal) -> None:
        key = await journal.add_session(new("w1"))
        await asyncio.gather(*(journal.open_ask(AskOpened(f"{n:04}", key, str(n), 1.0)) for n in range(2000)))

    with_journal(tmp_path, burst)
    assert [int(prompt) for (prompt,) in rows(tmp_path, "SELECT prompt FROM asks ORDER BY id")] == list(range(2000))


def test_a_full_journal_refuses_writes_goes_on_reading_and_writes_again_once_there_is_room(tmp_path: Path) -> None:
    async def fill(journal: SqliteJournal) -> tuple[int, int]:
        key = await journal.add_session(new("w1"))
        await talk(journal, key, "1", "hello", "hi")
        limit = "PRAGMA max_page_count = {}"
        await journal._writer.do(lambda c: c.execute(limit.format(c.execute("PRAGMA page_count").fetchone()[0])))
        with pytest.raises(JournalUnwritable, match="full"):
            await journal.open_ask(AskOpened("2", key, "x" * 100_000, 1.0))
        record = await journal.session("w1")
        assert record and record.head
        read = len(await journal.history(record.head))
        await journal._writer.do(lambda c: c.execute(limit.format(2**30)))
        await journal.open_ask(AskOpened("3", key, "x" * 100_000, 1.0))
        return read, record.asks

    assert with_journal(tmp_path, fill) == (2, 1)
    assert rows(tmp_path, "SELECT id FROM asks ORDER BY id") == [("1",), ("3",)]


def test_equal_prefixes_are_one_row_and_a_fork_adds_no_message(tmp_path: Path) -> None:
    async def fork(journal: SqliteJournal) -> None:
        root = say("system", "be kind", None, 1.0)
        key = await journal.add_session(new("base", root=root))
        for number in range(40):
            await journal.add_session(new(f"w{number}", head=head_of(root), parent=key))
        await journal.add_session(new("alike", root=root))

    with_journal(tmp_path, fork)
    assert rows(tmp_path, "SELECT count(*) FROM messages") == [(1,)]
    assert rows(tmp_path, "SELECT count(DISTINCT head), count(*) FROM sessions") == [(1, 42)]


def test_a_long_history_is_read_in_order_and_cut_from_its_end(tmp_path: Path) -> None:
    async def read(journal: SqliteJournal) -> tuple[list[int], list[int]]:
        key = await journal.add_session(new("w1"))
        parent: Message | None = None
        for number in range(300):
            await journal.open_ask(AskOpened(f"{number:04}", key, "q", 1.0))
            ended = closed(f"{number:04}", key, f"q{number}", f"a{number}", parent)
            await journal.close_ask(ended)
            parent = ended.reply
        head = head_of(parent)
        assert head
        return (
            [message.number for message in await journal.history(head)],
            [message.number for message in await journal.history(head, 3)],
        )

    assert with_journal(tmp_path, read) == (list(range(1, 601)), [598, 599, 600])


def test_the_journals_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    async def look(journal: SqliteJournal) -> set[int]:
        await journal.add_session(new("w1"))
        return {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    assert with_journal(tmp_path, look) == {0o600}
