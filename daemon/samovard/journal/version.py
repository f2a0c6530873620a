"""Brings a journal to the schema of this release, or refuses it untouched."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from samovard import log
from samovard.model.errors import JournalNewer, JournalUnreadable, JournalUnwritable

REVISION = "0001"
"""The newest migration. `alembic_version` in a journal holds the one that it is at."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def bring_up_to_date(file: Path) -> None:
    """Makes or migrates `file`. Alembic's import takes longer than the rest of a start: only where it has work.

    Raises JournalNewer, JournalUnreadable and JournalUnwritable.
    """
    found = _revision(file) if file.exists() and file.stat().st_size else None
    if found == REVISION:
        return
    if found is not None and found not in known_revisions():
        raise JournalNewer(
            f"the journal {file} is at revision {found!r} and this samovar knows up to {REVISION!r}: "
            "it was written by a newer release. Install that one, or choose another home"
        )
    migrate(file)
    log.info("journal/migrated", revision=REVISION, was=found)


def known_revisions() -> set[str]:
    """The revisions that have a file in `migrations/versions`."""
    return {path.name.split("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")}


def _revision(file: Path) -> str:
    try:
        # Read-only: the last one to close a journal of a crashed daemon would otherwise write its log into it. Where
        # there is no log, `immutable` keeps SQLite from making files beside it.
        log_left = file.with_name(f"{file.name}-wal").exists()
        how = "mode=ro" if log_left else "mode=ro&immutable=1"
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?{how}", timeout=5, uri=True)
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise JournalUnreadable(
            f"{file} is not a journal that samovar can read ({error}); move it away, or choose another home"
        ) from error
    return str(row[0]) if row else ""


def migrate(file: Path, revision: str = "head") -> None:
    """Runs the migrations that `file` lacks, up to `revision`."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import URL, create_engine, event
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    engine = create_engine(URL.create("sqlite", database=str(file)), poolclass=NullPool)
    # A migration is one transaction, also its DDL, which Python's driver would commit statement by statement.
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        # SQLite gives its other files the mode of this one; conversations are for their owner's eyes.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except (DBAPIError, sqlite3.DatabaseError, OSError) as error:
        raise JournalUnwritable(
            f"the journal {file} could not be made or migrated ({getattr(error, 'orig', error)}); "
            "free some space or make its folder writable"
        ) from error
    finally:
        engine.dispose()
