"""Tests of what commands do about SQLite's locks."""

import sqlite3
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
