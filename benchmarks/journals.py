"""Journals with much in them, written in bulk into the journal's own tables before a daemon opens them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from samovar import Home
from samovard.journal.sqlite import FILE, connect
from samovard.journal.version import bring_up_to_date
from samovard.model.message import Message, say

WORDS = "It went on, word by word, as long conversations do, and nobody minded that it said little. " * 2

_ADD_MESSAGE = """
    INSERT INTO messages (key, id, parent, number, role, content, at)
    VALUES (:key, :id, :parent, :number, :role, :content, :at)
"""
_ADD_SESSION = "INSERT INTO sessions (name, model, settings, head, created_at) VALUES (?, ?, '{}', ?, ?)"

Row = dict[str, Any]


def write(home: Home, sessions: Mapping[str, int], model: str = "bench/instant") -> None:
    """Gives a home that has none a journal with these sessions: name -> how many messages, each its own."""
    file = Path(home.sessions) / FILE
    file.parent.mkdir(mode=0o700, exist_ok=True)
    bring_up_to_date(file)
    heads: dict[str, int] = {}
    with closing(connect(file)) as connection, connection:
        connection.executemany(_ADD_MESSAGE, _messages(sessions, heads))
        rows = ((name, model, head, time.time()) for name, head in heads.items())
        connection.executemany(_ADD_SESSION, rows)


def _messages(sessions: Mapping[str, int], heads: dict[str, int]) -> Iterator[Row]:
    key = 0
    for name, count in sessions.items():
        message: Message | None = None
        for number in range(count):
            message = say("assistant" if number % 2 else "user", f"{name} {number}: {WORDS}", message, time.time())
            key += 1
            yield _row(message, key)
        heads[name] = key


def _row(message: Message, key: int) -> Row:
    return {
        "key": key,
        "id": bytes.fromhex(message.id),
        "parent": key - 1 if message.parent else None,
        "number": message.number,
        "role": message.role,
        "content": message.content,
        "at": message.at,
    }
