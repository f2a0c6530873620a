"""A warm ask of a model that answers at once: what samovar itself adds to a reply.

From the call in a script to the typed reply, with the prompt, the reply and the session's new head on disk by then.
Beside it is one commit of one row with SQLite's own module, WAL and synchronous=FULL as the journal has them, in a file
on the same disk: the price of one promise. An ask makes two of them: that it was taken, and how it ended.
Where the temporary folder is in memory (tmpfs), both commits are cheaper than on a disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.homes import client_of_new_daemon, folder
from benchmarks.stopwatch import collected, percentile, repeated


def figures(quick: bool) -> list[Figure]:
    """The median, and one in a hundred."""
    each = 20 if quick else 200
    numbers = count()
    with client_of_new_daemon() as client, folder() as path, committer(path / "beside.db") as commit:
        client.spawn("warm")
        asks, commits = collected(
            2 if quick else 10,
            lambda: repeated(lambda: client.ask("warm", f"hello {next(numbers)}"), each),
            lambda: repeated(commit, each),
        )
    return [
        Figure(
            "warm ask, on disk, p50",
            percentile(asks, 50),
            "ms",
            percentile(commits, 50),
            "one SQLite commit",
            1,
            "ours",
        ),
        Figure("warm ask, on disk, p99", percentile(asks, 99), "ms", percentile(commits, 99), "one SQLite commit"),
    ]


@contextmanager
def committer(file: Path) -> Iterator[Callable[[], None]]:
    """Commits a row at each call."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (key INTEGER PRIMARY KEY, content TEXT NOT NULL)")

        def commit() -> None:
            connection.execute("INSERT INTO rows (content) VALUES ('hello')")
            connection.commit()

        yield commit
