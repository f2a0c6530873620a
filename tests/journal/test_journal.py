"""The journal on a real file: what it refuses, what it keeps whatever happens, and what it does on a full disk."""

import asyncio
import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory

from house import WAIT_S, House, InMemory, ended, eventually, hanging, said
from samovard.journal import SqliteJournal, open_journal, reads, version, writes
from samovard.model.backend import Usage
from samovard.model.errors import JournalNewer, JournalUnreadable, JournalUnwritable, NameInUse, SamovarError
from samovard.model.journal import AskClosed, AskOpened, NewSession
from samovard.model.message import Message, head_of, say
from samovard.model.states import AskState
from samovard.model.views import Timing

Work = Callable[[SqliteJournal], Awaitable[Any]]


def journalled(folder: Path, work: Work) -> Any:
    """What `work` makes of the journal in `folder`, which is opened before and closed after."""

    async def bounded() -> Any:
        journal, _ = await open_journal(folder)
        try:
            return await asyncio.wait_for(work(journal), WAIT_S)
        finally:
            await journal.close()

    return asyncio.run(bounded())


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What the file holds, asked past samovar."""
    connection = sqlite3.connect(folder / "journal.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def change(file: Path, *statements: str) -> None:
    """Writes to a database past samovar."""
    connection = sqlite3.connect(file)
    try:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


def new(name: str, **more: Any) -> NewSession:
    return NewSession(name, "fake", {}, time.time(), **more)


_numbers = itertools.count()


def opened(session: int, prompt: str = "one") -> AskOpened:
    return AskOpened(f"ask-{next(_numbers):06}", session, prompt, time.time())


def closed(ask: AskOpened, state: AskState, reply: Message | None = None) -> AskClosed:
    return AskClosed(ask.ask, ask.session, state, Timing(0.1, 0.2, 0.3), Usage(1, 2), reply=reply)


async def talk(journal: SqliteJournal, key: int, above: Message | None, prompt: str) -> Message:
    """A done ask whose reply is its prompt; returns the reply."""
    ask = opened(key, prompt)
    await journal.open_ask(ask)
    reply = say("assistant", prompt, say("user", prompt, above, time.time()), time.time())
    await journal.close_ask(closed(ask, AskState.DONE, reply))
    return reply


async def nothing(_: SqliteJournal) -> None:
    pass


# ---------------------------------------------------------------- opening


def test_the_newest_migration_is_the_revision_that_a_journal_is_at(tmp_path: Path) -> None:
    journalled(tmp_path, nothing)
    config = Config()
    config.set_main_option("script_location", str(version._MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [version.REVISION]
    assert {script.revision for script in scripts.walk_revisions()} == version.known_revisions()
    assert rows(tmp_path, "SELECT version_num FROM alembic_version") == [(version.REVISION,)]


def test_every_statement_speaks_of_the_schema_that_the_migrations_make(tmp_path: Path) -> None:
    journalled(tmp_path, nothing)
    statements = [
        value
        for module in (reads, writes)
        for value in vars(module).values()
        if isinstance(value, str) and re.match(r"\s*(SELECT|INSERT|UPDATE|WITH)\b.*\b(FROM|INTO|SET)\b", value, re.S)
    ]
    assert len(statements) >= 10
    connection = sqlite3.connect(tmp_path / "journal.db")
    for statement in statements:
        if not statement.rstrip().endswith(")"):
            named = {name: None for name in re.findall(r":(\w+)", statement)}
            connection.execute(f"EXPLAIN {statement}", named or [None] * statement.count("?"))
    connection.close()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    journalled(tmp_path, lambda journal: journal.add_session(new("w1")))
    before = (tmp_path / "journal.db").read_bytes()
    journalled(tmp_path, nothing)
    assert (tmp_path / "journal.db").read_bytes() == before


def test_a_closed_journal_is_one_file_for_its_owners_eyes(tmp_path: Path) -> None:
    async def look(journal: SqliteJournal) -> None:
        await journal.add_session(new("w1"))
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}

    journalled(tmp_path, look)
    assert [path.name for path in tmp_path.iterdir()] == ["journal.db"]


@pytest.mark.parametrize("revision", ["9999", "0002_from_the_future"])
def test_a_journal_of_a_newer_release_is_refused_untouched(tmp_path: Path, revision: str) -> None:
    journalled(tmp_path, lambda journal: journal.add_session(new("w1")))
    change(tmp_path / "journal.db", f"UPDATE alembic_version SET version_num = '{revision}'")
    before = contents(tmp_path)
    with pytest.raises(JournalNewer) as caught:
        journalled(tmp_path, nothing)
    assert repr(revision) in caught.value.message and version.REVISION in caught.value.message
    assert contents(tmp_path) == before


def test_a_newer_journal_that_was_left_by_a_crash_is_refused_untouched(tmp_path: Path) -> None:
    """What the newer daemon wrote last is still in its write-ahead log, and stays there for it to recover."""
    (tmp_path / "first").mkdir()
    journalled(tmp_path / "first", nothing)
    connection = sqlite3.connect(tmp_path / "first" / "journal.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    shutil.copytree(tmp_path / "first", tmp_path / "crashed")
    connection.close()
    before = contents(tmp_path / "crashed")
    assert len(before["journal.db-wal"]) > 0
    with pytest.raises(JournalNewer):
        journalled(tmp_path / "crashed", nothing)
    after = contents(tmp_path / "crashed")
    assert {name: after.get(name) for name in ("journal.db", "journal.db-wal")} == {
        name: before[name] for name in ("journal.db", "journal.db-wal")
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("content", [b"hello", b"\0" * 5000, os.urandom(5000), b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.db").write_bytes(content)
    with pytest.raises(JournalUnreadable) as caught:
        journalled(tmp_path, nothing)
    assert str(tmp_path / "journal.db") in caught.value.message
    assert contents(tmp_path) == {"journal.db": content}


def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    change(tmp_path / "journal.db", "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)")
    before = contents(tmp_path)
    with pytest.raises(JournalUnreadable):
        journalled(tmp_path, nothing)
    assert contents(tmp_path) == before


def test_a_folder_in_the_journals_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(SamovarError) as caught:
        journalled(tmp_path, nothing)
    assert caught.value.code in ("journal_unreadable", "journal_unwritable")


def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.db").touch()
    journalled(tmp_path, lambda journal: journal.add_session(new("w1")))


def test_a_migration_that_was_killed_at_any_point_is_made_good_by_the_next_start(tmp_path: Path) -> None:
    """Before each of its statements the folder is copied as a kill -9 would leave it."""
    first = tmp_path / "first"
    first.mkdir()
    copies: list[Path] = []

    def copy(*_: Any) -> None:
        copies.append(tmp_path / f"copy-{len(copies)}")
        shutil.copytree(first, copies[-1])

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", copy)
    try:
        version.migrate(first / "journal.db")
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", copy)
    copy()
    assert len(copies) > 5
    for number, folder in enumerate(copies):
        try:
            journalled(folder, lambda journal: journal.add_session(new("w1")))
        except SamovarError as error:
            raise AssertionError(f"killed before statement {number} of {len(copies)}: {error}") from error


# ---------------------------------------------------------------- what it keeps


def test_what_was_under_way_is_interrupted_when_a_journal_is_recovered(tmp_path: Path) -> None:
    async def leave(journal: SqliteJournal) -> list[str]:
        key = await journal.add_session(new("w1"))
        asks = [opened(key, f"number {n}") for n in range(6)]
        for ask in asks:
            await journal.open_ask(ask)
        for ask, state in zip(asks, (AskState.FAILED, AskState.CANCELLED, AskState.INTERRUPTED), strict=False):
            await journal.close_ask(closed(ask, state))
        return [ask.ask for ask in asks]

    tickets = journalled(tmp_path, leave)
    change(tmp_path / "journal.db", f"UPDATE asks SET state = 'running' WHERE id = '{tickets[4]}'")

    async def recover() -> tuple[list[Any], list[Any]]:
        journal, interrupted = await open_journal(tmp_path)
        views = [await journal.ask(ticket) for ticket in tickets]
        await journal.close()
        return interrupted, views

    interrupted, views = asyncio.run(recover())
    assert [view.ask for view in interrupted] == tickets[:2:-1], "the newest first"
    assert [view.state for view in views] == ["failed", "cancelled", "interrupted", *["interrupted"] * 3]
    assert {view.error.code for view in interrupted} == {"interrupted"}
    assert rows(tmp_path, "SELECT count(*) FROM asks WHERE prompt LIKE 'number %'") == [(6,)]
    assert asyncio.run(recover())[0] == [], "once is enough"


def test_of_many_interrupted_asks_the_newest_hundred_are_told(tmp_path: Path) -> None:
    async def leave(journal: SqliteJournal) -> list[str]:
        key = await journal.add_session(new("w1"))
        asks = [opened(key) for _ in range(150)]
        await asyncio.gather(*map(journal.open_ask, asks))
        return [ask.ask for ask in asks]

    tickets = journalled(tmp_path, leave)

    async def recover() -> list[Any]:
        journal, interrupted = await open_journal(tmp_path)
        await journal.close()
        return interrupted

    assert [view.ask for view in asyncio.run(recover())] == tickets[:49:-1]
    assert rows(tmp_path, "SELECT DISTINCT state FROM asks") == [("interrupted",)]


def test_a_prompt_stands_once_in_the_file_after_its_ask_is_done(tmp_path: Path) -> None:
    async def work(journal: SqliteJournal) -> None:
        key = await journal.add_session(new("w1"))
        await talk(journal, key, None, "the prompt that is done")
        for state in (AskState.FAILED, AskState.CANCELLED, AskState.INTERRUPTED):
            ask = opened(key, f"the prompt that {state}")
            await journal.open_ask(ask)
            await journal.close_ask(closed(ask, state))

    journalled(tmp_path, work)
    assert rows(tmp_path, "SELECT state, prompt FROM asks ORDER BY id") == [
        ("done", None),
        ("failed", "the prompt that failed"),
        ("cancelled", "the prompt that cancelled"),
        ("interrupted", "the prompt that interrupted"),
    ]
    assert rows(tmp_path, "SELECT role, content FROM messages ORDER BY key") == [
        ("user", "the prompt that is done"),
        ("assistant", "the prompt that is done"),
    ]


def test_equal_prefixes_are_the_same_rows(tmp_path: Path) -> None:
    async def work(journal: SqliteJournal) -> None:
        root = say("system", "s", None, time.time())
        for n in range(10):
            key = await journal.add_session(new(f"w{n}", root=root))
            await talk(journal, key, root, "one")

    journalled(tmp_path, work)
    assert rows(tmp_path, "SELECT count(*), count(DISTINCT head) FROM messages, sessions") == [(30, 1)]


def test_a_history_is_read_whole_or_from_its_end(tmp_path: Path) -> None:
    async def work(journal: SqliteJournal) -> None:
        key = await journal.add_session(new("w1"))
        above: Message | None = None
        for n in range(10):
            above = await talk(journal, key, above, f"{n}\0é")
        head = head_of(above)
        assert head and above and (await journal.session("w1")).head == head  # type: ignore[union-attr]
        whole = await journal.history(head)
        assert [message.id for message in whole] == [message.id for message in above]
        assert whole[0].parent is None and list(whole[-1]) == whole
        last = await journal.history(head, 3)
        assert [message.content for message in last] == ["8\0é", "9\0é", "9\0é"] and last[0].parent is None

    journalled(tmp_path, work)


def test_a_name_is_taken_while_its_session_lives(tmp_path: Path) -> None:
    async def work(journal: SqliteJournal) -> None:
        key = await journal.add_session(new("w1"))
        with pytest.raises(NameInUse):
            await journal.add_session(new("w1"))
        await journal.end_sessions([key], time.time())
        assert await journal.add_session(new("w1")) != key
        assert (await journal.names(), await journal.count()) == (["w1"], 1)

    journalled(tmp_path, work)


# ---------------------------------------------------------------- the writer


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[House, Any]]:
    house = House(tmp_path)
    try:
        yield house, house.journal._writer
    finally:
        house.end()


def note(text: str) -> Callable[[sqlite3.Connection], str]:
    """A job that writes a session of this name."""

    def job(connection: sqlite3.Connection) -> str:
        writes.add_session(connection, new(text))
        return text

    return job


def test_a_failing_write_does_not_fail_those_that_share_its_commit(held: tuple[House, Any]) -> None:
    house, writer = held

    def bad_sql(connection: sqlite3.Connection) -> None:
        writes.add_session(connection, new("half-of-a-job"))
        connection.execute("INSERT INTO nowhere VALUES (1)")

    def bad_code(connection: sqlite3.Connection) -> None:
        writes.add_session(connection, new("half-of-another"))
        raise ZeroDivisionError

    jobs = [note("a"), bad_sql, note("b"), note("a"), bad_code, note("c")]
    with house.writer_held():
        futures = [house.do(writer.submit, job) for job in jobs]

    async def outcomes() -> list[Any]:
        return await asyncio.gather(*futures, return_exceptions=True)

    told = [getattr(outcome, "code", outcome) for outcome in house.run(outcomes())]
    assert told == ["a", "journal_unwritable", "b", "name_in_use", "internal", "c"]
    assert house.run(house.journal.names()) == ["a", "b", "c"]


def test_writes_are_kept_in_the_order_they_came_and_share_commits(held: tuple[House, Any]) -> None:
    house, writer = held
    statements: list[str] = []
    house.do(writer._connection.set_trace_callback, statements.append)
    with house.writer_held():
        futures = [house.do(writer.submit, note(f"w{n}")) for n in range(600)]

    async def outcomes() -> list[Any]:
        return await asyncio.gather(*futures)

    assert house.run(outcomes()) == [f"w{n}" for n in range(600)]
    assert house.run(house.journal.names()) == [f"w{n}" for n in range(600)]
    assert sum(statement.startswith("COMMIT") for statement in statements) <= 4


def test_what_a_writes_future_says_is_on_disk_when_it_says_so(held: tuple[House, Any]) -> None:
    house, _ = held
    for n in range(50):
        house.run(house.journal.add_session(new(f"w{n}")))
        assert rows(house.folder, "SELECT count(*) FROM sessions") == [(n + 1,)]


def test_a_write_is_kept_though_its_caller_was_cancelled(held: tuple[House, Any]) -> None:
    house, _ = held
    with house.writer_held() as queued:
        call = house.begin(house.journal.add_session(new("w1")))
        eventually(lambda: queued() == 1, "the write waits")
        call.cancel()
    assert house.run(house.journal.add_session(new("w2"))) == 2
    assert house.run(house.journal.names()) == ["w1", "w2"]


def test_closing_writes_all_that_was_asked_of_it(tmp_path: Path) -> None:
    async def leave() -> list[Any]:
        journal, _ = await open_journal(tmp_path)
        key = await journal.add_session(new("w1"))
        futures = [journal.open_ask(opened(key)) for _ in range(500)]
        await journal.close()
        return await asyncio.gather(*futures)

    assert asyncio.run(leave()) == [None] * 500
    assert rows(tmp_path, "SELECT count(*) FROM asks") == [(500,)]


# ---------------------------------------------------------------- a full disk


def fill(house: House) -> None:
    """From now on the database may have no page more than it has."""

    def limit(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")

    house.run(house.journal._writer.do(limit))


def free(house: House) -> None:
    def limit(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1073741823")

    house.run(house.journal._writer.do(limit))


BIG = "words that need pages of their own " * 3000


def test_a_full_disk_fails_writes_and_nothing_else_and_ends_with_the_disks_fullness(held: tuple[House, Any]) -> None:
    house, _ = held
    ops = InMemory(house)
    ops.call("spawn", name="w1", system="s")
    ops.call("spawn", name="hangs", model="fake/hang")
    ops.call("ask", session="w1", prompt="one")
    before = said(ops, "w1")
    fill(house)
    for op, args in (
        ("ask", {"session": "w1", "prompt": BIG}),
        ("ask-async", {"session": "w1", "prompt": BIG}),
        ("spawn", {"name": "w2", "system": BIG}),
    ):
        with pytest.raises(JournalUnwritable) as caught:
            ops.call(op, **args)
        assert caught.value.retryable
        assert said(ops, "w1") == before
    assert [view["name"] for view in ops.call("list")] == ["w1", "hangs"]
    assert ops.call("status", session="w1")["session"]["state"] == "idle"
    free(house)
    assert ops.call("ask", session="w1", prompt=BIG)["text"] == BIG
    ops.call("spawn", name="w2", system=BIG)
    house.restart()
    assert said(ops, "w1") == [*before, ("user", BIG), ("assistant", BIG)]


def test_a_reply_that_the_disk_has_no_room_for_fails_its_ask_and_leaves_the_session_as_it_was(
    held: tuple[House, Any],
) -> None:
    house, _ = held
    ops = InMemory(house)
    ops.call("spawn", name="w1", model="fake/big:200000")
    ops.call("spawn", name="w2", model="fake/sleep:0.05")
    fill(house)
    ticket = ops.call("ask-async", session="w1", prompt="one")["ask"]
    view = ended(ops, ticket)
    assert (view["state"], view["error"]["code"], view["message"]) == ("failed", "journal_unwritable", None)
    assert said(ops, "w1") == []
    assert ops.call("status", session="w1")["asks"][0]["state"] == "failed"
    free(house)
    assert len(ops.call("ask", session="w1", prompt="again")["text"]) == 200_000
    house.restart()
    assert [role for role, _ in said(ops, "w1")] == ["user", "assistant"]


def test_a_kill_that_cannot_be_written_ends_nothing(held: tuple[House, Any]) -> None:
    house, writer = held
    ops = InMemory(house)
    ops.call("spawn", name="w1", model="fake/hang")
    ticket = hanging(ops, "w1")
    # Every page of this session is there already, so the writer is told to refuse outright.
    house.run(writer.do(lambda connection: connection.execute("PRAGMA query_only = ON") and None))
    for op, args in (("kill", {"sessions": ["w1"]}), ("kill-all", {}), ("fork", {"session": "w1", "new": "w2"})):
        with pytest.raises(JournalUnwritable):
            ops.call(op, **args)
    assert ops.call("poll", ticket=ticket)["state"] == "running"
    house.run(writer.do(lambda connection: connection.execute("PRAGMA query_only = OFF") and None))
    assert ops.call("kill", sessions=["w1"])["cancelled_asks"] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_truly_full_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    house = House(small_disk)
    try:
        ops = InMemory(house)
        ops.call("spawn", name="w1", model="fake/instant")
        kept = []
        with pytest.raises(JournalUnwritable):
            for n in range(1000):
                prompt = f"number {n} " * 500
                ops.call("ask", session="w1", prompt=prompt)
                kept.append(prompt)
        assert [text for role, text in said(ops, "w1") if role == "user"] == kept != []
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        ops.call("ask", session="w1", prompt="there is room again")
        kept.append("there is room again")
        house.restart()
        assert [text for role, text in said(ops, "w1") if role == "user"] == kept
    finally:
        house.end()


def test_the_journals_threads_end_with_it(tmp_path: Path) -> None:
    journalled(tmp_path, nothing)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("journal-")]
