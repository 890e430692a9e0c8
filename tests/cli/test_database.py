"""Tests of what commands do about SQLite's locks."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest
from aiida.cmdline.utils.echo import ExitCode
from aiida.manage import get_manager

from aiida_hamlr.cli import cmd_root, database
from aiida_hamlr.cli.database import allow_concurrent_reading, allows_concurrent_reading, database_path


@pytest.fixture
def path(tmp_path):
    """Return a database with a table."""
    path = tmp_path / 'database.sqlite'
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript('create table node (id integer); insert into node values (1), (2);')
    return path


def test_a_reader_no_longer_breaks_a_commit(path):
    """SQLite itself: a writer cannot commit while a reader is not through, but with the log it can."""
    with closing(sqlite3.connect(path)) as reader, closing(sqlite3.connect(path, timeout=0.1)) as writer:
        rows = reader.execute('select * from node')
        assert next(rows) == (1,)
        writer.execute('insert into node values (3)')
        with pytest.raises(sqlite3.OperationalError, match='database is locked'):
            writer.commit()
        with pytest.raises(ValueError, match='stop the daemon and all other commands') as error:
            allow_concurrent_reading(path, timeout=0.1)
        assert str(path) in str(error.value)
        writer.rollback()
        rows.close()
    assert not allows_concurrent_reading(path)
    allow_concurrent_reading(path)
    assert allows_concurrent_reading(path)
    with closing(sqlite3.connect(path)) as reader, closing(sqlite3.connect(path, timeout=0.1)) as writer:
        rows = reader.execute('select * from node')
        next(rows)
        writer.execute('insert into node values (3)')
        writer.commit()
    assert allows_concurrent_reading(path), 'it is a property of the file'


def test_command(invoke, path, monkeypatch):
    """The command switches the profile's database; with PostgreSQL there is nothing to do."""
    monkeypatch.setattr(database, 'database_path', lambda profile: path)
    result = invoke(cmd_root, 'setup', 'database')
    assert result.exit_code == 0 and 'can read the database' in result.output
    assert allows_concurrent_reading(path)
    monkeypatch.undo()
    postgres = SimpleNamespace(name='big', storage_backend='core.psql_dos', storage_config={})
    assert database_path(postgres) is None
    monkeypatch.setattr(get_manager(), 'get_profile', lambda: postgres)
    assert 'nothing to do: the profile big' in invoke(cmd_root, 'setup', 'database').output


def test_a_locked_database_is_one_line(invoke, aiida_profile_clean):
    """What to do stands in the message, without a traceback."""
    with closing(sqlite3.connect(database_path(get_manager().get_profile()), isolation_level=None)) as other:
        other.execute('begin exclusive')
        result = invoke(cmd_root, 'hamiltonian', 'list')
        other.execute('rollback')
    assert result.exit_code == ExitCode.CRITICAL
    assert 'aiida-hamlr setup database' in result.output and 'Traceback' not in result.output
    assert result.output.count('\n') == 1
    assert invoke(cmd_root, 'hamiltonian', 'list').exit_code == 0


def count_elsewhere(path):
    """Rows that another process sees, which then closes the database."""
    code = 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("select count(*) from node").fetchone()[0])'
    done = subprocess.run([sys.executable, '-c', code, str(path)], capture_output=True, check=True, text=True)
    return int(done.stdout)


def test_asking_loses_nothing(path):
    """A process that asks while it uses the database keeps its locks: what it writes after another has closed stays.

    Without them the other takes itself for the last, and deletes the log to which this one still writes.
    """
    allow_concurrent_reading(path)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute('insert into node values (3)')
        writer.commit()
        assert allows_concurrent_reading(path)
        assert count_elsewhere(path) == 3
        writer.execute('insert into node values (4)')
        writer.commit()
        assert count_elsewhere(path) == 4
    assert count_elsewhere(path) == 4
