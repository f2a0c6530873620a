"""What survives: a SQLite file with messages, sessions and asks. `open_journal` is the way in."""

from .sqlite import SqliteJournal, open_journal

__all__ = ["SqliteJournal", "open_journal"]
