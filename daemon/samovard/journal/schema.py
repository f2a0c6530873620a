"""The journal's tables. A change here needs a migration in `migrations/versions` and a new REVISION.

Rows point at each other by their small integer keys; the hashes that the rest of samovar speaks of stand once,
in `messages.id`.
"""

from __future__ import annotations

from sqlalchemy import (
    BLOB,
    JSON,
    REAL,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

REVISION = "0001"
"""The newest migration; `alembic_version` in the file holds the one that the file is at."""

metadata = MetaData()

messages = Table(
    "messages",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", BLOB, nullable=False, unique=True),
    Column("parent", Integer, ForeignKey("messages.key")),
    Column("number", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("at", REAL, nullable=False),
)

USAGE = ("input", "output", "cache_read", "cache_write", "reasoning")


def _usage_columns() -> list[Column[int]]:
    return [Column(name, Integer, nullable=False, server_default=text("0")) for name in USAGE]


sessions = Table(
    "sessions",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("head", Integer, ForeignKey("messages.key")),
    Column("parent", Integer, ForeignKey("sessions.key")),
    Column("forked_at", Integer, ForeignKey("messages.key")),
    Column("created_at", REAL, nullable=False),
    Column("killed_at", REAL),
    Column("asks", Integer, nullable=False, server_default=text("0")),
    *_usage_columns(),
)

asks = Table(
    "asks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("session", Integer, ForeignKey("sessions.key"), nullable=False),
    Column("state", Text, nullable=False),
    Column("prompt", Text),
    Column("partial", Text),
    Column("reply", Integer, ForeignKey("messages.key")),
    Column("stop_reason", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("created_at", REAL, nullable=False),
    Column("queued_s", REAL),
    Column("first_token_s", REAL),
    Column("total_s", REAL),
    *_usage_columns(),
    sqlite_with_rowid=False,
)

Index("live_names", sessions.c.name, unique=True, sqlite_where=sessions.c.killed_at.is_(None))
Index("asks_of_session", asks.c.session, asks.c.id)
Index("asks_under_way", asks.c.id, sqlite_where=asks.c.state.in_(["queued", "running"]))
