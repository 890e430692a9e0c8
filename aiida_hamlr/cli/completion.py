"""What the shell offers as codes, families and nodes: read from the database by plain SQL, without loading AiiDA.

Loading the storage of a profile takes seconds of CPU time, a query of a few columns milliseconds. The database is only
read; a profile that cannot be read has nothing to offer.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ('find_codes', 'find_families', 'find_nodes', 'find_profiles')

#: Nodes that are offered at most, the newest first.
MOST_NODES = 50

_FAMILIES = "SELECT label, description FROM db_dbgroup WHERE type_string LIKE 'pseudo.family%' ORDER BY label"

_CODES = """
SELECT node.label, computer.label FROM db_dbnode AS node LEFT JOIN db_dbcomputer AS computer
ON node.dbcomputer_id = computer.id WHERE node.node_type LIKE 'data.core.code.%' ORDER BY node.label, computer.label
"""

_NODES = """
SELECT id, label, ctime FROM db_dbnode WHERE node_type LIKE {0} ORDER BY id DESC LIMIT {1}
"""

_PROCESSES = """
SELECT id, label, ctime FROM db_dbnode WHERE process_type LIKE {0} ORDER BY id DESC LIMIT {1}
"""


def find_profiles() -> list[str]:
    """Return the names of all profiles, the default one first."""
    config = _read_config()
    default = config.get('default_profile')
    return sorted(config.get('profiles', {}), key=lambda name: (name != default, name))


def find_families(profile: str | None = None) -> list[tuple[str, str]]:
    """Return label and description of every family of pseudopotentials."""
    return [(label, description or '') for label, description in _query(profile, _FAMILIES)]


def find_codes(profile: str | None = None) -> list[tuple[str, str]]:
    """Return every code as ``label@computer``; the second entry is empty."""
    return [(f'{label}@{computer}' if computer else label, '') for label, computer in _query(profile, _CODES)]


def find_nodes(kinds: Sequence[str], profile: str | None = None) -> list[tuple[str, str]]:
    """Return primary key, and label with the date, of the newest nodes.

    :param kinds: beginnings of node types (``data.hamlr.model``) or process types (``aiida.workflows:hamlr.screen``).
    """
    rows = []
    for kind in kinds:
        sql = _NODES if kind.startswith('data.') else _PROCESSES
        rows += _query(profile, sql, (f'{kind}%', MOST_NODES))
    rows.sort(reverse=True, key=lambda row: row[0])
    return [(str(pk), f'{label} {str(ctime)[:16]}'.strip()) for pk, label, ctime in rows[:MOST_NODES]]


def _read_config() -> dict:
    """Return AiiDA's configuration; the first folder of AIIDA_PATH that has one counts, as AiiDA has it."""
    folders = [Path(entry).expanduser() for entry in os.environ.get('AIIDA_PATH', '').split(':') if entry]
    folders = [folder if folder.name == '.aiida' else folder / '.aiida' for folder in folders]
    for folder in (*folders, Path('~/.aiida').expanduser()):
        try:
            return json.loads((folder / 'config.json').read_text(encoding='utf-8'))
        except (OSError, ValueError):
            continue
    return {}


def _query(profile: str | None, sql: str, values: tuple = ()) -> Iterator[tuple]:
    """Return the rows of a query; ``{0}`` and so on stand for the values."""
    config = _read_config()
    name = profile or os.environ.get('AIIDA_PROFILE') or config.get('default_profile')
    storage = config.get('profiles', {}).get(name, {}).get('storage', {})
    settings = storage.get('config', {})
    try:
        if storage.get('backend') == 'core.sqlite_dos':
            return _query_sqlite(Path(settings['filepath']) / 'database.sqlite', sql, values)
        if storage.get('backend') == 'core.psql_dos':
            return _query_postgresql(settings, sql, values)
    except (KeyError, OSError, sqlite3.Error):
        pass
    return []


def _query_sqlite(path: Path, sql: str, values: tuple) -> list[tuple]:
    connection = sqlite3.connect(f'{path.as_uri()}?mode=ro', uri=True, timeout=1.0)
    try:
        return connection.execute(sql.format(*'?' * len(values)), values).fetchall()
    finally:
        connection.close()


def _query_postgresql(settings: dict, sql: str, values: tuple) -> list[tuple]:
    import psycopg

    names = {'host': 'database_hostname', 'port': 'database_port', 'user': 'database_username'}
    names |= {'password': 'database_password', 'dbname': 'database_name'}
    arguments = {key: settings[name] for key, name in names.items() if settings.get(name)}
    try:
        with psycopg.connect(connect_timeout=2, **arguments) as connection:
            # A percent sign of the SQL itself has to be doubled beside values.
            text = sql.replace('%', '%%').format(*['%s'] * len(values)) if values else sql
            return connection.execute(text, values or None).fetchall()
    except psycopg.Error:
        return []
