"""The SQLite database of a profile, which by default lets nobody read while somebody writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

from aiida_hamlr.cli.lazy import echo

__all__ = ('allow_concurrent_reading', 'allows_concurrent_reading', 'database_path', 'locked_as_one_line')

#: Journal mode in which a reader and a writer do not wait for each other, see sqlite.org/wal.html.
_WRITE_AHEAD = 'wal'

#: What to do about a locked database.
REMEDY = (
    'run `verdi daemon stop`, then once `aiida-hamlr setup database`, and start the daemon again; for more than one '
    'worker use PostgreSQL'
)


def database_path(profile) -> Path | None:
    """Return the SQLite file of a profile; None for PostgreSQL and for archives."""
    if profile is None or profile.storage_backend != 'core.sqlite_dos':
        return None
    return Path(profile.storage_config['filepath']) / 'database.sqlite'


def allows_concurrent_reading(path: Path) -> bool:
    """Whether a database keeps changes in a log of its own, so that readers and a writer do not wait for each other."""
    # Through SQLite, not by opening the file: closing it would drop the locks that this process holds on it. Others
    # would then take their connection for the last one and delete the log while this process still writes to it.
    with closing(sqlite3.connect(f'{path.as_uri()}?mode=rw', uri=True)) as connection:
        (mode,) = connection.execute('PRAGMA journal_mode').fetchone()
    return mode == _WRITE_AHEAD


def allow_concurrent_reading(path: Path, timeout: float = 5.0):
    """Switch a database to write-ahead logging, which it keeps.

    Without it a reader at the wrong moment makes the commit of a daemon worker fail; the worker then holds the lock
    until it is stopped.

    :param timeout: seconds to wait for others that use the database.
    :raises ValueError: if another process uses the database, or its file system does not allow it.
    """
    with closing(sqlite3.connect(path, timeout=timeout)) as connection:
        try:
            (mode,) = connection.execute('PRAGMA journal_mode=WAL').fetchone()
        except sqlite3.OperationalError as error:
            raise ValueError(
                f'{path}: {error}; stop the daemon and all other commands of this profile first'
            ) from error
    if mode != _WRITE_AHEAD:
        raise ValueError(f'{path}: SQLite keeps the journal mode {mode!r}; use PostgreSQL')


@contextmanager
def locked_as_one_line():
    """End the command with one line if the SQLite database is locked."""
    try:
        yield
    except Exception as error:
        # SQLAlchemy, which is not imported for a help text, wraps the error of sqlite3.
        if 'database is locked' not in str(error) or not isinstance(
            getattr(error, 'orig', error), sqlite3.OperationalError
        ):
            raise
        echo.echo_critical(f'the SQLite database of this profile is locked by another process: {REMEDY}')
