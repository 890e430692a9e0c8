"""What commands about nodes share: lists, attributes, comparisons side by side, and the options of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import wraps
from pathlib import Path
from textwrap import wrap

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import echo
from aiida_hamlr.jobs.cli_options import NUMBER

__all__ = (
    'COLUMNS',
    'FIGURE',
    'LIMIT',
    'NEW_FOLDER',
    'check_new_folder',
    'compare_columns',
    'list_nodes',
    'one_line',
    'short',
    'show_node',
)

#: Attributes that a list shows for each kind of node, after identifier and age.
COLUMNS = {
    'hamiltonian': ('formula', 'origin', 'n_orbitals', 'n_pairs', 'gap', 'functional'),
    'basis': ('elements', 'sizes', 'cutoffs', 'recipe', 'band_error_occupied_meV', 'functional'),
    'dataset': ('elements', 'n_train', 'n_validation', 'n_test', 'functional'),
    'model': ('species', 'variant', 'functional', 'n_parameters', 'metrics.validation_mae_onsite_meV'),
}

#: What to use for nodes and processes that `show` is not about.
_INSTEAD = {
    'BandsData': 'verdi data hamlr bands {pk}',
    'XyData': 'verdi data hamlr dos {pk}',
    'StructureData': 'verdi data core.structure show {pk}',
    'Dict': 'verdi data core.dict show {pk}',
    'ArrayData': 'verdi data core.array show {pk}',
    'RemoteData': 'verdi data core.remote ls {pk}',
    'FolderData': 'verdi node repo ls {pk}',
}

LIMIT = click.option(
    '-l', '--limit', type=click.IntRange(min=1), default=50, show_default=True, help='Maximum number, the newest first.'
)

#: Of an export, which looks with `check_new_folder` before it writes.
NEW_FOLDER = click.option(
    '-o', '--output', type=click.Path(file_okay=False, path_type=Path), required=True, help='A new folder.'
)


def FIGURE(command):  # noqa: N802 a decorator beside those that are constants
    """Add the options of figures of energies: file, window, zero, title."""
    options = (
        click.option('-o', '--output', type=types.FIGURE_FILE, help='PNG, SVG or PDF file.'),
        click.option(
            '--window',
            type=(NUMBER, NUMBER),
            metavar='LOW HIGH',
            help='Energies to show, eV from the zero.  [default: -7 7 (dos -8 8) about the band edge, or wider]',
        ),
        click.option(
            '--zero',
            type=click.Choice(['edge', 'vbm', 'fermi', 'vacuum', 'none']),
            default='edge',
            show_default=True,
            help='Zero of energy: band edge (of a metal the Fermi level), Fermi level, vacuum level, or as stored.',
        ),
        click.option('--title', help='Above the figure.'),
    )
    for option in reversed(options):
        command = option(command)
    return command


def one_line(command):
    """Return the command with errors in its input as one line."""

    @wraps(command)
    def run(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            echo.echo_critical(str(error))

    return run


def check_new_folder(folder: Path):
    """Raise ``ValueError`` if there are files in a folder that is to be written."""
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f'{folder}: there are files in it; give a folder that is empty or not there yet')


def list_nodes(kind: str, limit: int):
    """Print the newest nodes of a kind as a table."""
    from aiida.common import timezone
    from aiida.common.utils import str_timedelta
    from aiida.orm import QueryBuilder
    from aiida.plugins import DataFactory
    from tabulate import tabulate

    columns = COLUMNS[kind]
    query = QueryBuilder().append(
        DataFactory(f'hamlr.{kind}'),
        project=['id', 'label', 'ctime', *(f'attributes.{name}' for name in columns)],
        tag='node',
    )
    query.order_by({'node': {'ctime': 'desc'}}).limit(limit)
    rows = [
        [pk, label, str_timedelta(timezone.delta(ctime), max_num_fields=1), *map(short, values)]
        for pk, label, ctime, *values in query.all()
    ]
    if not rows:
        echo.echo_report(f'there are no {kind} nodes in this profile')
        return
    headers = ['PK', 'Label', 'Created', *(name.removeprefix('metrics.').replace('_', ' ') for name in columns)]
    if not any(row[1] for row in rows):
        rows, headers = [[row[0], *row[2:]] for row in rows], [headers[0], *headers[2:]]
    echo.echo(tabulate(rows, headers=headers))


#: Longest text of an attribute in one line.
LINE = 100

#: Units of attributes whose names do not end with them.
_UNITS = dict.fromkeys(
    ('fermi_level', 'gap', 'direct_gap', 'spin_gaps', 'vbm', 'cbm', 'vacuum_level', 'vacuum_levels', 'gauge_shift'),
    'eV',
) | {'magnetization': 'Bohr magnetons', 'magnetic_moments': 'Bohr magnetons', 'size': 'bytes'}


def show_node(node):
    """Print the attributes of a node of this package; of another, say what to use.

    :raises ValueError: if the node is not of this package; the message names the command for it.
    """
    from aiida import orm
    from tabulate import tabulate

    name = node.process_label if isinstance(node, orm.ProcessNode) else type(node).__name__
    if isinstance(node, orm.ProcessNode):
        raise ValueError(f'{name}<{node.pk}> is a run: aiida-hamlr status {node.pk}, or verdi process show {node.pk}')
    if not node.node_type.startswith('data.hamlr.'):
        instead = _INSTEAD.get(type(node).__name__, 'verdi node show {pk}').format(pk=node.pk)
        raise ValueError(f'{name}<{node.pk}> is not a node of aiida-hamlr: use {instead}')
    rows = [['node', f'{name}<{node.pk}>'], ['uuid', node.uuid]]
    rows += [[key, value] for key, value in (('label', node.label), ('description', node.description)) if value]
    if node.creator is not None:
        rows.append(['made by', f'{node.creator.process_label}<{node.creator.pk}>'])
    if node.computer is not None:
        rows.append(['computer', node.computer.label])
    attributes = node.base.attributes.all
    if 'hyperparameters' in attributes:
        attributes['hyperparameters'] = node.settings
    for key, value in sorted(attributes.items()):
        if value not in (None, [], {}):
            rows += _rows_of(key, value)
    echo.echo(tabulate(rows, tablefmt='plain', disable_numparse=True))


def _rows_of(key: str, value) -> list[list[str]]:
    """Rows of an attribute: one, or one for each entry of a mapping or of sentences that do not fit into a line."""
    if isinstance(value, list) and any(isinstance(entry, str) and len(entry) > len(short(entry)) for entry in value):
        lines = [line for entry in value for line in wrap(str(entry), LINE, subsequent_indent='  ')]
        return [[key if index == 0 else '', line] for index, line in enumerate(lines)]
    text = short(value, 1000)
    if not isinstance(value, dict) or len(text) <= LINE:
        return [[key, f'{short(value, LINE)} {_UNITS.get(key, "")}'.rstrip()]]
    entries = [f'{name} {short(entry, LINE)}' for name, entry in value.items() if entry not in (None, [], {})]
    return [[key if index == 0 else '', entry] for index, entry in enumerate(entries)]


def compare_columns(columns: Mapping[str, Mapping], names: Sequence[str], marks: Mapping[str, str] | None = None):
    """Print values side by side: a row for each name that has a value, a column for each node.

    :param marks: remarks by name, in a last column.
    """
    from tabulate import tabulate

    rows = []
    for name in names:
        values = [column.get(name) for column in columns.values()]
        if all(value in (None, '', [], {}) for value in values):
            continue
        remark = (marks or {}).get(name, '')
        differs = len({short(value, 1000) for value in values}) > 1
        rows.append(
            [name, *(short(value, 40) for value in values), remark or ('' if differs or len(values) == 1 else 'equal')]
        )
    echo.echo(tabulate(rows, headers=['', *columns, ''], disable_numparse=True))


def short(value, length: int = 32) -> str:
    """Return a value as a short text."""
    if isinstance(value, dict):
        text = ', '.join(f'{key} {short(entry)}' for key, entry in value.items())
    elif isinstance(value, list):
        text = ', '.join(map(short, value))
    elif isinstance(value, float):
        text = f'{value:.4g}'
    else:
        text = '' if value is None else str(value)
    return text if len(text) <= length else f'{text[: length - 1]}…'
