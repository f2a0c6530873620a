"""The first journal: messages, sessions, asks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "messages",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.BLOB, nullable=False, unique=True),
        sa.Column("parent", sa.Integer, sa.ForeignKey("messages.key")),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("at", sa.REAL, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("head", sa.Integer, sa.ForeignKey("messages.key")),
        sa.Column("parent", sa.Integer, sa.ForeignKey("sessions.key")),
        sa.Column("forked_at", sa.Integer, sa.ForeignKey("messages.key")),
        sa.Column("created_at", sa.REAL, nullable=False),
        sa.Column("killed_at", sa.REAL),
        sa.Column("asks", sa.Integer, nullable=False, server_default=sa.text("0")),
        *_usage(),
    )
    op.create_index("live_names", "sessions", ["name"], unique=True, sqlite_where=sa.text("killed_at IS NULL"))
    op.create_table(
        "asks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("session", sa.Integer, sa.ForeignKey("sessions.key"), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text),
        sa.Column("partial", sa.Text),
        sa.Column("reply", sa.Integer, sa.ForeignKey("messages.key")),
        sa.Column("stop_reason", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("created_at", sa.REAL, nullable=False),
        sa.Column("queued_s", sa.REAL),
        sa.Column("first_token_s", sa.REAL),
        sa.Column("total_s", sa.REAL),
        *_usage(),
        sqlite_with_rowid=False,
    )
    op.create_index("asks_of_session", "asks", ["session", "id"])
    op.create_index("asks_under_way", "asks", ["id"], sqlite_where=sa.text("state IN ('queued', 'running')"))


def _usage() -> list[sa.Column[int]]:
    names = ("input", "output", "cache_read", "cache_write", "reasoning")
    return [sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0")) for name in names]
