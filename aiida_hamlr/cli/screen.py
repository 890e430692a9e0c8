"""`aiida-hamlr screen`: results of screenings as a table, a file and a figure."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.nodes import LIMIT
from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_screen', 'write_csv')

#: Columns that `show` prints, as far as they have values.
SHOWN = (
    'label',
    'formula',
    'n_atoms',
    'status',
    'gap_eV',
    'gap_spread_eV',
    'direct_gap_eV',
    'spin_gaps_eV',
    'vbm_eV',
    'cbm_eV',
    'uncertainty_meV',
    'committee_spread_meV',
    'n_unusual_distances',
    'reason',
)

_SCREENING = click.argument('screening', type=types.ProcessType('aiida.workflows:hamlr.screen'))
_OUTPUT = click.option('-o', '--output', type=click.Path(dir_okay=False, path_type=Path), required=True)


@cmd_root.group('screen')
def cmd_screen():
    """List, show, compare, draw and export screenings, finished or running."""


def _get_table(screening) -> list[dict]:
    """Return the table of a screening; another work chain is an error of one line."""
    from aiida_hamlr.workflows.results import get_table
    from aiida_hamlr.workflows.screen import ScreenWorkChain

    if screening.process_type != ScreenWorkChain.build_process_type():
        echo.echo_critical(f'{screening.process_label}<{screening.pk}> is not a screening (hamlr.screen)')
    return get_table(screening)


def write_csv(screening, output: Path):
    """Write the table of a screening to a file."""
    from aiida_hamlr.jobs.tables import write_table

    table = _get_table(screening)
    try:
        write_table(output, table)
    except (OSError, ValueError) as error:
        echo.echo_critical(f'{output}: {error}')
    echo.echo_success(f'wrote {len(table)} structures to {output}')


@cmd_screen.command('list')
@LIMIT
@with_dbenv()
def cmd_list(limit):
    """List the newest screenings. Example: aiida-hamlr screen list."""
    from aiida import orm
    from aiida.common.links import LinkType
    from tabulate import tabulate

    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={'process_type': 'aiida.workflows:hamlr.screen'}, tag='node'
    )
    nodes = query.order_by({'node': {'id': 'desc'}}).limit(limit).all(flat=True)
    if not nodes:
        echo.echo_report('there are no screenings in this profile')
        return
    rows = []
    for node in nodes:
        state = node.process_state.value if node.process_state else 'unknown'
        inputs = node.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()
        models = ', '.join(str(model.pk) for model in inputs.get('models', {}).values())
        rows.append([node.pk, node.label, str(node.ctime)[:16], state, models])
    echo.echo(tabulate(rows, headers=['PK', 'Label', 'Created', 'State', 'Models']))


@cmd_screen.command('compare')
@_SCREENING
@click.argument('other', type=types.ProcessType('aiida.workflows:hamlr.screen'))
@click.option('-l', '--limit', type=click.IntRange(min=1), default=10, show_default=True, help='Rows to show.')
@with_dbenv()
def cmd_compare(screening, other, limit):
    """Compare the gaps of two screenings on the structures that both have, the most different first.

    Example: aiida-hamlr screen compare 1234 1300
    """
    from statistics import mean

    from tabulate import tabulate

    first, second = ({row['structure']: row for row in _get_table(node)} for node in (screening, other))
    both = [(first[key], second[key]) for key in first if key in second]
    pairs = [(a, b) for a, b in both if a.get('gap_eV') is not None and b.get('gap_eV') is not None]
    if not pairs:
        echo.echo_critical('the screenings have no structure in common that has a gap in both')
    pairs.sort(key=lambda pair: -abs(pair[1]['gap_eV'] - pair[0]['gap_eV']))
    rows = [
        [a['label'], a['formula'], f'{a["gap_eV"]:.4f}', f'{b["gap_eV"]:.4f}', f'{b["gap_eV"] - a["gap_eV"]:+.4f}']
        for a, b in pairs[:limit]
    ]
    headers = ['label', 'formula', f'gap of {screening.pk} (eV)', f'gap of {other.pk} (eV)', 'difference (eV)']
    echo.echo(tabulate(rows, headers=headers, disable_numparse=True))
    differences = [abs(b['gap_eV'] - a['gap_eV']) for a, b in pairs]
    echo.echo(
        f'{len(pairs)} structures with a gap in both, of {len(first)} and {len(second)}: mean difference '
        f'{mean(differences):.4f} eV, largest {max(differences):.4f} eV'
    )


@cmd_screen.command('show')
@_SCREENING
@click.option(
    '-l', '--limit', type=click.IntRange(min=1), default=20, show_default=True, help='Maximum number of rows to show.'
)
@click.option('-s', '--sort', default=None, metavar='COLUMN', help='Column to sort by, for example `gap_eV`.')
@with_dbenv()
def cmd_show(screening, limit, sort):
    """Show how far SCREENING is, and the first rows of its table. Example: aiida-hamlr screen show 1234 -s gap_eV."""
    from collections import Counter

    from tabulate import tabulate

    table = _get_table(screening)
    if sort is not None:
        known = sorted({key for row in table for key in row})
        if sort not in known:
            echo.echo_critical(f'there is no column {sort!r}; known are {", ".join(known)}')
        table.sort(key=lambda row: (sort not in row, row.get(sort)))
    columns = [name for name in SHOWN if any(name in row for row in table)]
    rows = [[_format(row.get(name)) for name in columns] for row in table[:limit]]
    echo.echo(tabulate(rows, headers=columns, disable_numparse=True))
    counts = Counter(row['status'] for row in table)
    state = screening.process_state.value if screening.process_state else 'unknown'
    parts = ', '.join(f'{number} {status}' for status, number in sorted(counts.items()))
    echo.echo(f'{len(table)} structures: {parts}; {screening.process_label}<{screening.pk}> is {state}')


@cmd_screen.group('export')
def cmd_export():
    """Write the results of a screening to a file."""


@cmd_export.command('csv')
@_SCREENING
@_OUTPUT
@with_dbenv()
def cmd_csv(screening, output):
    """Write one row for each structure of SCREENING as CSV; column names end with their units.

    With several models the file has mean and spread of energies, and the values of each model. Example: aiida-hamlr
    screen export csv 1234 -o gaps.csv
    """
    write_csv(screening, output)


@cmd_screen.command('plot')
@_SCREENING
@click.option('-o', '--output', type=types.FIGURE_FILE, required=True, help='PNG, SVG or PDF file.')
@with_dbenv()
def cmd_plot(screening, output):
    """Draw the distribution of gaps of SCREENING; with several models also their spread.

    Example: aiida-hamlr screen plot 1234 -o gaps.pdf
    """
    from aiida_hamlr.plotting.screening import plot_gaps

    rows = [row for row in _get_table(screening) if row.get('gap_eV') is not None]
    spreads = [row.get('gap_spread_eV') for row in rows]
    try:
        written = plot_gaps(
            [row['gap_eV'] for row in rows],
            output,
            direct_gaps=[row.get('direct_gap_eV') for row in rows],
            spreads=None if None in spreads else spreads,
        )
    except (ValueError, OSError) as error:
        echo.echo_critical(str(error))
    echo.echo_success(f'wrote {written}')


def _format(value) -> str:
    if value is None:
        return ''
    text = f'{value:.4f}' if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f'{text[:39]}…'
