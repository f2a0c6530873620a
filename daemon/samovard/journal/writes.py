"""Every statement that writes the journal. Each function is one step of a transaction of the writer's.

Rows point at each other by small integer keys; the hashes that the rest of samovar speaks of stand once, in
`messages.id`. The tables are those that `migrations` makes. `reads` has the other statements.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from samovard.model.errors import NameInUse
from samovard.model.journal import AskClosed, AskOpened, NewSession
from samovard.model.message import Head, Message

_ADD_MESSAGE = """
    INSERT INTO messages (id, parent, number, role, content, at)
    VALUES (:id, (SELECT key FROM messages WHERE id = :parent), :number, :role, :content, :at)
    ON CONFLICT DO NOTHING
"""

_ADD_SESSION = """
    INSERT INTO sessions (name, model, settings, head, parent, forked_at, created_at)
    VALUES (:name, :model, :settings, (SELECT key FROM messages WHERE id = :head), :parent,
            (SELECT key FROM messages WHERE id = :forked_at), :created_at)
    ON CONFLICT DO NOTHING
"""

_END_SESSION = "UPDATE sessions SET killed_at = :at WHERE key = :session"

_MOVE_HEAD = "UPDATE sessions SET head = (SELECT key FROM messages WHERE id = :head) WHERE key = :session"

_OPEN_ASK = """
    INSERT INTO asks (id, session, state, prompt, created_at)
    VALUES (:ask, :session, 'queued', :prompt, :created_at)
"""

# Once an ask is done its prompt stands in `messages`; twice would be once too many.
_CLOSE_ASK = """
    UPDATE asks SET
        state = :state, prompt = CASE WHEN :reply IS NULL THEN prompt END, partial = :partial,
        reply = (SELECT key FROM messages WHERE id = :reply), stop_reason = :stop_reason,
        error_code = :error_code, error_message = :error_message,
        queued_s = :queued_s, first_token_s = :first_token_s, total_s = :total_s,
        input = :input, output = :output, cache_read = :cache_read, cache_write = :cache_write, reasoning = :reasoning
    WHERE id = :ask
"""

_COUNT_REPLY = """
    UPDATE sessions SET
        head = (SELECT key FROM messages WHERE id = :reply), asks = asks + 1,
        input = input + :input, output = output + :output, cache_read = cache_read + :cache_read,
        cache_write = cache_write + :cache_write, reasoning = reasoning + :reasoning
    WHERE key = :session
"""

_INTERRUPT_ALL = "UPDATE asks SET state = 'interrupted' WHERE state IN ('queued', 'running') RETURNING id"


def _message_row(message: Message) -> dict[str, Any]:
    return {
        "id": _id(message),
        "parent": _id(message.parent),
        "number": message.number,
        "role": message.role,
        "content": message.content,
        "at": message.at,
    }


def _id(head: Head | Message | None) -> bytes | None:
    return bytes.fromhex(head.id) if head else None


def add_session(connection: sqlite3.Connection, new: NewSession) -> int:
    """Returns the session's key. Raises NameInUse, having written nothing but a message that may be there."""
    if new.root:
        connection.execute(_ADD_MESSAGE, _message_row(new.root))
    result = connection.execute(
        _ADD_SESSION,
        {
            "name": new.name,
            "model": new.model,
            "settings": json.dumps(new.settings, ensure_ascii=False),
            "head": _id(new.head or new.root),
            "parent": new.parent,
            "forked_at": _id(new.head) if new.parent else None,
            "created_at": new.created_at,
        },
    )
    if not result.rowcount:
        raise NameInUse(new.name)
    return int(result.lastrowid or 0)


def end_sessions(connection: sqlite3.Connection, keys: Sequence[int], at: float) -> None:
    """The sessions' names are free from now on."""
    connection.executemany(_END_SESSION, [{"session": key, "at": at} for key in keys])


def move_head(connection: sqlite3.Connection, key: int, head: Head | None) -> None:
    """The session's history ends with `head`."""
    connection.execute(_MOVE_HEAD, {"session": key, "head": _id(head)})


def open_ask(connection: sqlite3.Connection, opened: AskOpened) -> None:
    """An ask waits."""
    connection.execute(
        _OPEN_ASK,
        {
            "ask": opened.ask,
            "session": opened.session,
            "prompt": opened.prompt,
            "created_at": opened.created_at,
        },
    )


def close_ask(connection: sqlite3.Connection, closed: AskClosed) -> None:
    """The prompt's message, the reply's, the session's head and the ask: together or not at all."""
    usage = closed.usage
    common = {
        "session": closed.session,
        "reply": _id(closed.reply),
        "input": usage.input,
        "output": usage.output,
        "cache_read": usage.cache_read,
        "cache_write": usage.cache_write,
        "reasoning": usage.reasoning,
    }
    if closed.reply:
        assert closed.reply.parent
        connection.executemany(_ADD_MESSAGE, [_message_row(closed.reply.parent), _message_row(closed.reply)])
        connection.execute(_COUNT_REPLY, common)
    connection.execute(
        _CLOSE_ASK,
        {
            **common,
            "ask": closed.ask,
            "state": closed.state.value,
            "partial": closed.partial or None,
            "stop_reason": closed.stop_reason,
            "error_code": closed.error.code if closed.error else None,
            "error_message": closed.error.message if closed.error else None,
            "queued_s": closed.timing.queued_s,
            "first_token_s": closed.timing.first_token_s,
            "total_s": closed.timing.total_s,
        },
    )


def interrupt_all(connection: sqlite3.Connection) -> list[str]:
    """Marks whatever was under way and returns its tickets."""
    return [row[0] for row in connection.execute(_INTERRUPT_ALL).fetchall()]
