"""Every statement that writes the journal. Each function is one step of a transaction of the writer's.

Statements are compiled to SQL once, when this module is imported, and run on the driver's own connection:
SQLAlchemy's execution would take longer than the commit. `reads` has the others; nothing else in samovar says SQL.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, insert, literal_column, null, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql.elements import ClauseElement

from samovard.model.errors import NameInUse
from samovard.model.journal import AskClosed, AskOpened, NewSession
from samovard.model.message import Head, Message
from samovard.model.states import AskState

from .schema import USAGE
from .schema import asks as a
from .schema import messages as m
from .schema import sessions as s

_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")


def _compiled(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=_DIALECT))


def _key_of(name: str) -> Any:
    """The key of the message whose id is bound to `name`; null for a null id."""
    return select(m.c.key).where(m.c.id == bindparam(name)).scalar_subquery()


_ADD_MESSAGE = _compiled(
    upsert(m)
    .values(
        id=bindparam("id_"),
        parent=_key_of("parent_"),
        number=bindparam("number_"),
        role=bindparam("role_"),
        content=bindparam("content_"),
        at=bindparam("at_"),
    )
    .on_conflict_do_nothing()
)

_ADD_SESSION = _compiled(
    upsert(s)
    .values(
        name=bindparam("name_"),
        model=bindparam("model_"),
        settings=bindparam("settings_"),
        head=_key_of("head_"),
        parent=bindparam("parent_"),
        forked_at=_key_of("forked_at_"),
        created_at=bindparam("created_at_"),
    )
    .on_conflict_do_nothing()
)

_END_SESSION = _compiled(update(s).where(s.c.key == bindparam("session_")).values(killed_at=bindparam("at_")))

_MOVE_HEAD = _compiled(update(s).where(s.c.key == bindparam("session_")).values(head=_key_of("head_")))

_OPEN_ASK = _compiled(
    insert(a).values(
        id=bindparam("id_"),
        session=bindparam("session_"),
        state=literal_column(f"'{AskState.QUEUED.value}'"),
        prompt=bindparam("prompt_"),
        created_at=bindparam("created_at_"),
    )
)

_CLOSING = (
    update(a)
    .where(a.c.id == bindparam("id_"))
    .values(
        state=bindparam("state_"),
        partial=bindparam("partial_"),
        reply=_key_of("reply_"),
        stop_reason=bindparam("stop_reason_"),
        error_code=bindparam("error_code_"),
        error_message=bindparam("error_message_"),
        queued_s=bindparam("queued_s_"),
        first_token_s=bindparam("first_token_s_"),
        total_s=bindparam("total_s_"),
        **{name: bindparam(f"{name}_") for name in USAGE},
    )
)

# Once an ask is done its prompt stands in `messages`; twice would be once too many.
_CLOSE_DONE_ASK = _compiled(_CLOSING.values(prompt=null()))
_CLOSE_ASK = _compiled(_CLOSING)

_COUNT_REPLY = _compiled(
    update(s)
    .where(s.c.key == bindparam("session_"))
    .values(
        head=_key_of("reply_"),
        asks=s.c.asks + literal_column("1"),
        **{name: s.c[name] + bindparam(f"{name}_") for name in USAGE},
    )
)

_INTERRUPT_ALL = _compiled(
    update(a)
    .where(a.c.state.in_([literal_column(f"'{AskState.QUEUED.value}'"), literal_column(f"'{AskState.RUNNING.value}'")]))
    .values(state=literal_column(f"'{AskState.INTERRUPTED.value}'"))
    .returning(a.c.id)
)


def _message_row(message: Message) -> dict[str, Any]:
    return {
        "id_": bytes.fromhex(message.id),
        "parent_": bytes.fromhex(message.parent.id) if message.parent else None,
        "number_": message.number,
        "role_": message.role,
        "content_": message.content,
        "at_": message.at,
    }


def _id(head: Head | Message | None) -> bytes | None:
    return bytes.fromhex(head.id) if head else None


def add_session(connection: sqlite3.Connection, new: NewSession) -> int:
    """Raises NameInUse, having written nothing."""
    if new.root:
        connection.execute(_ADD_MESSAGE, _message_row(new.root))
    result = connection.execute(
        _ADD_SESSION,
        {
            "name_": new.name,
            "model_": new.model,
            "settings_": json.dumps(new.settings, ensure_ascii=False),
            "head_": _id(new.head or new.root),
            "parent_": new.parent,
            "forked_at_": _id(new.head) if new.parent else None,
            "created_at_": new.created_at,
        },
    )
    if not result.rowcount:
        raise NameInUse(new.name)
    return int(result.lastrowid or 0)


def end_sessions(connection: sqlite3.Connection, keys: Sequence[int], at: float) -> None:
    connection.executemany(_END_SESSION, [{"session_": key, "at_": at} for key in keys])


def move_head(connection: sqlite3.Connection, key: int, head: Head | None) -> None:
    connection.execute(_MOVE_HEAD, {"session_": key, "head_": _id(head)})


def open_ask(connection: sqlite3.Connection, opened: AskOpened) -> None:
    connection.execute(
        _OPEN_ASK,
        {
            "id_": opened.ask,
            "session_": opened.session,
            "prompt_": opened.prompt,
            "created_at_": opened.created_at,
        },
    )


def close_ask(connection: sqlite3.Connection, closed: AskClosed) -> None:
    """The prompt's message, the reply's, the session's head and the ask: together or not at all."""
    usage = {f"{name}_": getattr(closed.usage, name) for name in USAGE}
    reply = _id(closed.reply)
    if closed.reply:
        assert closed.reply.parent
        connection.executemany(_ADD_MESSAGE, [_message_row(closed.reply.parent), _message_row(closed.reply)])
        connection.execute(_COUNT_REPLY, {"session_": closed.session, "reply_": reply, **usage})
    connection.execute(
        _CLOSE_DONE_ASK if closed.reply else _CLOSE_ASK,
        {
            "id_": closed.ask,
            "state_": closed.state.value,
            "partial_": closed.partial or None,
            "reply_": reply,
            "stop_reason_": closed.stop_reason,
            "error_code_": closed.error.code if closed.error else None,
            "error_message_": closed.error.message if closed.error else None,
            "queued_s_": closed.timing.queued_s,
            "first_token_s_": closed.timing.first_token_s,
            "total_s_": closed.timing.total_s,
            **usage,
        },
    )


def interrupt_all(connection: sqlite3.Connection) -> list[str]:
    """Marks whatever was under way and returns its tickets."""
    return [row[0] for row in connection.execute(_INTERRUPT_ALL).fetchall()]
