"""Every statement that reads the journal, and the records that its rows become."""

from __future__ import annotations

import json
import sqlite3

from samovard.model.backend import Usage
from samovard.model.errors import Interrupted
from samovard.model.journal import SessionRecord
from samovard.model.message import Head, Message
from samovard.model.states import AskState
from samovard.model.views import AskView, ErrorView, Timing

_SHORTEST_PREFIX = 4
_LONGEST_NUMBER = 18

_SESSIONS = """
    SELECT s.*, head.id AS head_id, head.number AS head_number,
           parent.name AS parent_name, forked_at.id AS forked_at_id
    FROM sessions s
    LEFT JOIN messages head ON head.key = s.head
    LEFT JOIN sessions parent ON parent.key = s.parent
    LEFT JOIN messages forked_at ON forked_at.key = s.forked_at
    WHERE s.killed_at IS NULL
"""
_SESSION_BY_NAME = f"{_SESSIONS} AND s.name = ?"
_SESSIONS_IN_ORDER = f"{_SESSIONS} ORDER BY s.key"

_NAMES = "SELECT name FROM sessions WHERE killed_at IS NULL ORDER BY key"
_COUNT = "SELECT count(*) FROM sessions WHERE killed_at IS NULL"

_UP = """
    WITH RECURSIVE up (key, parent, number) AS (
        SELECT key, parent, number FROM messages WHERE id = :head
        UNION ALL
        SELECT m.key, m.parent, m.number FROM messages m JOIN up ON m.key = up.parent WHERE m.number > :above
    )
"""
"""From the message `head` up to, and without, the number `above`."""

_HISTORY = f"{_UP} SELECT m.* FROM up JOIN messages m ON m.key = up.key ORDER BY up.number"
_PATH = f"{_UP} SELECT m.id, up.number FROM up JOIN messages m ON m.key = up.key ORDER BY up.number"

_ASKS = """
    SELECT a.*, s.name AS session_name, s.model, reply.id AS reply_id, reply.content AS reply_text
    FROM asks a
    JOIN sessions s ON s.key = a.session
    LEFT JOIN messages reply ON reply.key = a.reply
"""
_ASK_BY_TICKET = f"{_ASKS} WHERE a.id = ?"
_LATEST_ASKS = f"{_ASKS} WHERE a.session = ? ORDER BY a.id DESC LIMIT ?"


def session(connection: sqlite3.Connection, name: str) -> SessionRecord | None:
    """The live session of that name."""
    row = connection.execute(_SESSION_BY_NAME, (name,)).fetchone()
    return _session(row) if row else None


def sessions(connection: sqlite3.Connection) -> list[SessionRecord]:
    """All live sessions, the oldest first."""
    return [_session(row) for row in connection.execute(_SESSIONS_IN_ORDER)]


def names(connection: sqlite3.Connection) -> list[str]:
    """The names of all live sessions, the oldest first."""
    return [row["name"] for row in connection.execute(_NAMES)]


def count(connection: sqlite3.Connection) -> int:
    """How many sessions are live."""
    return int(connection.execute(_COUNT).fetchone()[0])


def history(connection: sqlite3.Connection, head: Head, last: int | None = None) -> list[Message]:
    """Linked from the first that is returned on; where `last` cuts the history, that one's parent is None."""
    above = max(0, head.number - last) if last is not None else 0
    found: list[Message] = []
    parent: Message | None = None
    for row in connection.execute(_HISTORY, {"head": bytes.fromhex(head.id), "above": above}):
        parent = Message(row["id"].hex(), row["role"], row["content"], parent, row["number"], row["at"])
        found.append(parent)
    return found


def find_message(connection: sqlite3.Connection, head: Head, ref: str) -> list[Head]:
    """By number where `ref` is one of the history's, else by the beginning of the id."""
    by_number = ref.isdecimal() and len(ref) <= _LONGEST_NUMBER and 1 <= int(ref) <= head.number
    if not by_number and len(ref) < _SHORTEST_PREFIX:
        return []
    above = int(ref) - 1 if by_number else 0
    rows = connection.execute(_PATH, {"head": bytes.fromhex(head.id), "above": above})
    heads = (Head(row["id"].hex(), row["number"]) for row in rows)
    return [next(heads)] if by_number else [found for found in heads if found.id.startswith(ref)]


def ask(connection: sqlite3.Connection, ticket: str) -> AskView | None:
    """The ask of that ticket."""
    row = connection.execute(_ASK_BY_TICKET, (ticket,)).fetchone()
    return _ask(row) if row else None


def asks(connection: sqlite3.Connection, key: int, last: int) -> list[AskView]:
    """The session's latest asks, the newest first."""
    return [_ask(row) for row in connection.execute(_LATEST_ASKS, (key, last))]


def _session(row: sqlite3.Row) -> SessionRecord:
    return SessionRecord(
        key=row["key"],
        name=row["name"],
        model=row["model"],
        settings=json.loads(row["settings"]),
        head=Head(row["head_id"].hex(), row["head_number"]) if row["head_id"] else None,
        forked_from=row["parent_name"],
        forked_at=row["forked_at_id"].hex() if row["forked_at_id"] else None,
        created_at=row["created_at"],
        asks=row["asks"],
        usage=_usage(row),
    )


def _usage(row: sqlite3.Row) -> Usage:
    return Usage(row["input"], row["output"], row["cache_read"], row["cache_write"], row["reasoning"])


def _error(row: sqlite3.Row) -> ErrorView | None:
    if row["error_code"]:
        return ErrorView(row["error_code"], row["error_message"])
    if row["state"] == AskState.INTERRUPTED:
        # A daemon that was killed wrote no reason.
        return ErrorView(Interrupted.code, Interrupted(row["id"]).message)
    return None


def _ask(row: sqlite3.Row) -> AskView:
    return AskView(
        ask=row["id"],
        session=row["session_name"],
        model=row["model"],
        state=AskState(row["state"]),
        text=row["reply_text"] if row["reply_id"] else row["partial"] or "",
        message=row["reply_id"].hex() if row["reply_id"] else None,
        stop_reason=row["stop_reason"],
        usage=_usage(row),
        timing=Timing(row["queued_s"], row["first_token_s"], row["total_s"]),
        error=_error(row),
        created_at=row["created_at"],
    )
