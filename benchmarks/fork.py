"""Forks of a short, a long and a very long history: a fork moves a pointer, so all are to take the same time.

Each fork is `Client.fork` as a script calls it, on disk when it returns; the three lengths are forked in turn. Beside
them is a fork by copy, as a table of messages a conversation needs it: `INSERT ... SELECT` of the history in SQLite
alone, WAL and synchronous=FULL, without daemon or client. That flatters the copy. What a fork leaves on disk is counted
over the whole home of a stopped daemon, its log included; beside it are the bytes that a copy adds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks import journals
from benchmarks.figure import Figure
from benchmarks.homes import daemon, folder, home, size_of
from benchmarks.stopwatch import collected, percentile, repeated, turn_by_turn
from samovar import Client, Home


def figures(quick: bool) -> list[Figure]:
    """Time by length, how it grows, and bytes."""
    lengths = (10, 100, 500) if quick else (10, 1_000, 100_000)
    with home() as new:
        journals.write(new, {f"base-{length}": length for length in lengths})
        before = size_of(new.root)
        forks = 20 if quick else 1000
        times = _fork_times(new, lengths, forks)
        a_fork = (size_of(new.root) - before) / (forks * len(lengths))
    copies, a_copy = _copies(lengths)
    return [
        *(
            Figure(f"fork of {length:,} messages, p50", ours, "ms", copied, "fork by copy", 1, "ours")
            for length, ours, copied in zip(lengths, times, copies, strict=True)
        ),
        Figure(
            f"fork of {lengths[-1]:,} messages against {lengths[0]}", times[-1], "ms", times[0], "the short one", 1.2
        ),
        Figure("a fork's bytes on disk, log included", a_fork, "B", a_copy, "fork by copy, the longest", 1024, "ours"),
    ]


def _fork_times(new: Home, lengths: tuple[int, ...], forks: int) -> list[float]:
    """The median fork of each base, in ms, the bases in turn."""
    numbers = count()
    with daemon(new), Client(new, start=False) as client:
        client.ping()
        for length in lengths:
            client.status(session=f"base-{length}")

        def fork(length: int) -> list[float]:
            return repeated(lambda: client.fork(f"base-{length}", f"fork-{next(numbers)}"), 1)

        found = collected(forks, *(partial(fork, length) for length in lengths))
    return [percentile(values, 50) for values in found]


def _copies(lengths: tuple[int, ...]) -> tuple[list[float], float]:
    """The median time of a copy of each length, in ms, and the bytes that one of the longest adds."""
    numbers = count()
    with folder() as path, _table(path / "beside.db", lengths) as connection:

        def copy(length: int) -> float:
            return repeated(lambda: _copy(connection, f"base-{length}", f"fork-{next(numbers)}"), 1)[0]

        times = turn_by_turn(5, *(partial(copy, length) for length in lengths))
        before = _bytes_of(connection)
        copy(lengths[-1])
        return times, float(_bytes_of(connection) - before)


@contextmanager
def _table(file: Path, lengths: tuple[int, ...]) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE messages (session TEXT, number INTEGER, role TEXT, content TEXT, at REAL)")
        connection.execute("CREATE INDEX of_session ON messages (session, number)")
        for length in lengths:
            rows = ((f"base-{length}", number, "user", f"{number}: {journals.WORDS}") for number in range(length))
            connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, 0)", rows)
        connection.commit()
        yield connection


def _copy(connection: sqlite3.Connection, session: str, new: str) -> None:
    connection.execute(
        "INSERT INTO messages SELECT ?, number, role, content, at FROM messages WHERE session = ?", (new, session)
    )
    connection.commit()


def _bytes_of(connection: sqlite3.Connection) -> int:
    return int(
        connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
    )
