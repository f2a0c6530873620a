"""Every statement that reads the journal, and the records that its rows become."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select

from samovard.model.backend import Usage
from samovard.model.journal import SessionRecord
from samovard.model.message import Head, Message
from samovard.model.states import AskState
from samovard.model.views import AskView, ErrorView, Timing

from .schema import USAGE
from .schema import asks as a
from .schema import messages as m
from .schema import sessions as s

_SHORTEST_PREFIX = 4


def _select_sessions() -> Select[Any]:
    parent, head, forked_at = s.alias(), m.alias(), m.alias()
    return (
        select(
            s,
            head.c.id.label("head_id"),
            head.c.number.label("head_number"),
            parent.c.name.label("parent_name"),
            forked_at.c.id.label("forked_at_id"),
        )
        .outerjoin(head, s.c.head == head.c.key)
        .outerjoin(parent, s.c.parent == parent.c.key)
        .outerjoin(forked_at, s.c.forked_at == forked_at.c.key)
        .where(s.c.killed_at.is_(None))
    )


_SESSIONS = _select_sessions().order_by(s.c.key)
_SESSION = _select_sessions().where(s.c.name == bindparam("name_"))


def _session(row: Row[Any]) -> SessionRecord:
    return SessionRecord(
        key=row.key,
        name=row.name,
        model=row.model,
        settings=row.settings,
        head=Head(row.head_id.hex(), row.head_number) if row.head_id else None,
        forked_from=row.parent_name,
        forked_at=row.forked_at_id.hex() if row.forked_at_id else None,
        created_at=row.created_at,
        asks=row.asks,
        usage=_usage(row),
    )


def _usage(row: Row[Any]) -> Usage:
    return Usage(**{name: getattr(row, name) for name in USAGE})


def session(connection: Connection, name: str) -> SessionRecord | None:
    row = connection.execute(_SESSION, {"name_": name}).first()
    return _session(row) if row else None


def sessions(connection: Connection) -> list[SessionRecord]:
    return [_session(row) for row in connection.execute(_SESSIONS)]


def names(connection: Connection) -> list[str]:
    return list(connection.execute(select(s.c.name).where(s.c.killed_at.is_(None))).scalars())


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).where(s.c.killed_at.is_(None))).scalar_one()


def _up(columns: tuple[str, ...]) -> Select[Any]:
    """From the message bound to `head_` up to, and without, the number bound to `above_`; newest first."""
    top = select(m.c.key, m.c.parent, m.c.number).where(m.c.id == bindparam("head_")).cte("up", recursive=True)
    up = top.union_all(
        select(m.c.key, m.c.parent, m.c.number)
        .join(top, m.c.key == top.c.parent)
        .where(m.c.number > bindparam("above_"))
    )
    return select(*(m.c[column] for column in columns)).join(up, m.c.key == up.c.key).order_by(m.c.number)


_HISTORY = _up(("id", "role", "content", "number", "at"))
_PATH = _up(("id", "number"))


def history(connection: Connection, head: Head, last: int | None = None) -> list[Message]:
    """Linked from the first that is returned on; where `last` cuts the history, that one's parent is None."""
    above = max(0, head.number - last) if last is not None else 0
    found: list[Message] = []
    parent: Message | None = None
    for row in connection.execute(_HISTORY, {"head_": bytes.fromhex(head.id), "above_": above}):
        parent = Message(row.id.hex(), row.role, row.content, parent, row.number, row.at)
        found.append(parent)
    return found


def find_message(connection: Connection, head: Head, ref: str) -> list[Head]:
    """By number where `ref` is one of the history's, else by the beginning of the id."""
    if ref.isdecimal() and 1 <= int(ref) <= head.number:
        row = connection.execute(_PATH, {"head_": bytes.fromhex(head.id), "above_": int(ref) - 1}).first()
        return [Head(row.id.hex(), row.number)] if row else []
    if len(ref) < _SHORTEST_PREFIX:
        return []
    rows = connection.execute(_PATH, {"head_": bytes.fromhex(head.id), "above_": 0})
    return [Head(row.id.hex(), row.number) for row in rows if row.id.hex().startswith(ref)]


def _select_asks() -> Select[Any]:
    reply = m.alias()
    return (
        select(
            a,
            s.c.name.label("session_name"),
            s.c.model,
            reply.c.id.label("reply_id"),
            reply.c.content.label("reply_text"),
        )
        .join(s, a.c.session == s.c.key)
        .outerjoin(reply, a.c.reply == reply.c.key)
    )


_ASK = _select_asks().where(a.c.id == bindparam("id_"))
_ASKS = _select_asks().where(a.c.session == bindparam("session_")).order_by(a.c.id.desc()).limit(bindparam("last_"))


def _ask(row: Row[Any]) -> AskView:
    return AskView(
        ask=row.id,
        session=row.session_name,
        model=row.model,
        state=AskState(row.state),
        text=row.reply_text if row.reply_id else row.partial or "",
        message=row.reply_id.hex() if row.reply_id else None,
        stop_reason=row.stop_reason,
        usage=_usage(row),
        timing=Timing(row.queued_s, row.first_token_s, row.total_s),
        error=ErrorView(row.error_code, row.error_message) if row.error_code else None,
        created_at=row.created_at,
    )


def ask(connection: Connection, ticket: str) -> AskView | None:
    row = connection.execute(_ASK, {"id_": ticket}).first()
    return _ask(row) if row else None


def asks(connection: Connection, key: int, last: int) -> list[AskView]:
    return [_ask(row) for row in connection.execute(_ASKS, {"session_": key, "last_": last})]
