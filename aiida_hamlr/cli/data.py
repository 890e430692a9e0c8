"""`verdi data hamlr`: list, show, plot and exchange nodes."""

import click
from aiida.cmdline.commands.cmd_data import verdi_data
from aiida.cmdline.params import types
from aiida.cmdline.utils import decorators, echo

from aiida_hamlr.cli.exchange import cmd_export, cmd_import

__all__ = ('cmd_hamlr',)

#: Attributes that a list shows for each kind of node, after identifier and age.
COLUMNS = {
    'hamiltonian': ('formula', 'origin', 'n_orbitals', 'n_pairs', 'gap', 'functional'),
    'basis': ('elements', 'sizes', 'cutoffs', 'recipe', 'band_error_occupied_meV', 'functional'),
    'dataset': ('elements', 'n_train', 'n_validation', 'n_test', 'functional'),
    'model': ('species', 'variant', 'functional', 'metrics'),
}


@verdi_data.group('hamlr')
def cmd_hamlr():
    """Bases, Hamiltonians, datasets and models of aiida-hamlr."""


cmd_hamlr.add_command(cmd_export)
cmd_hamlr.add_command(cmd_import)


@cmd_hamlr.command('list')
@click.argument('kind', type=click.Choice(list(COLUMNS)), default='hamiltonian')
@click.option(
    '-l', '--limit', type=int, default=50, show_default=True, help='Maximum number of nodes, the newest first.'
)
@decorators.with_dbenv()
def cmd_list(kind, limit):
    """List the nodes of a KIND: hamiltonian, basis, dataset or model."""
    from aiida.common import timezone
    from aiida.common.utils import str_timedelta
    from aiida.orm import QueryBuilder
    from aiida.plugins import DataFactory
    from tabulate import tabulate

    columns = COLUMNS[kind]
    query = QueryBuilder().append(
        DataFactory(f'hamlr.{kind}'), project=['id', 'ctime', *(f'attributes.{name}' for name in columns)], tag='node'
    )
    query.order_by({'node': {'ctime': 'desc'}}).limit(limit)
    rows = [
        [pk, str_timedelta(timezone.delta(ctime), max_num_fields=1), *map(_short, values)]
        for pk, ctime, *values in query.all()
    ]
    if not rows:
        echo.echo_report(f'there are no {kind} nodes in this profile')
        return
    echo.echo(tabulate(rows, headers=['PK', 'Created', *(name.replace('_', ' ') for name in columns)]))


@cmd_hamlr.command('show')
@click.argument('node', type=types.DataParamType(sub_classes=tuple(f'aiida.data:hamlr.{kind}' for kind in COLUMNS)))
@decorators.with_dbenv()
def cmd_show(node):
    """Show the attributes of NODE and the process that created it."""
    from tabulate import tabulate

    rows = [['node', f'{type(node).__name__}<{node.pk}>'], ['uuid', node.uuid]]
    if node.creator is not None:
        rows.append(['made by', f'{node.creator.process_label}<{node.creator.pk}>'])
    if node.computer is not None:
        rows.append(['computer', node.computer.label])
    rows += [[key, _short(value, 100)] for key, value in sorted(node.base.attributes.all.items())]
    echo.echo(tabulate(rows, tablefmt='plain'))


@cmd_hamlr.command('plot-basis')
@click.argument('node', type=types.DataParamType(sub_classes=('aiida.data:hamlr.basis',)))
@click.option('-o', '--output', type=click.Path(), required=True, help='PNG file.')
@click.option(
    '-F', '--pseudo-family', help='Pseudopotentials to use for imported orbitals; generated orbitals have their own.'
)
@decorators.with_dbenv()
def cmd_plot_basis(node, output, pseudo_family):
    """Draw the bands of a simple crystal in plane waves and in the orbitals of NODE."""
    from aiida.orm import load_group

    try:
        pseudos = load_group(pseudo_family).get_pseudos(elements=node.elements) if pseudo_family else None
        echo.echo_success(f'wrote {node.plot(output, pseudos)}')
    except ValueError as error:
        echo.echo_critical(str(error))


@cmd_hamlr.command('curve')
@click.argument('process', type=types.ProcessParamType())
@click.option(
    '-l', '--limit', type=click.IntRange(min=1), default=10, show_default=True, help='Number of last epochs to show.'
)
@click.option('-o', '--output', type=click.Path(), help='Also draw the whole curve into this PNG file.')
@decorators.with_dbenv()
def cmd_curve(process, limit, output):
    """Show the learning curve of a training, finished or running.

    PROCESS is the job, or the work chain that started it.
    """
    from tabulate import tabulate

    from aiida_hamlr.monitors.learning_curve import read_learning_curve
    from aiida_hamlr.plotting.training import plot_training

    try:
        columns = read_learning_curve(process)
        rows = [[_short(float(value)) for value in row] for row in zip(*columns.values(), strict=True)]
        echo.echo(tabulate(rows[-limit:], headers=[name.replace('_', ' ') for name in columns], disable_numparse=True))
        if output:
            echo.echo_success(f'wrote {plot_training({process.process_label: columns}, output)}')
    except (ValueError, OSError) as error:
        echo.echo_critical(str(error))


def _short(value, length: int = 32) -> str:
    """Return a value as a short text."""
    if isinstance(value, dict):
        text = ', '.join(f'{key} {_short(entry)}' for key, entry in value.items())
    elif isinstance(value, list):
        text = ', '.join(map(_short, value))
    elif isinstance(value, float):
        text = f'{value:.4g}'
    else:
        text = '' if value is None else str(value)
    return text if len(text) <= length else f'{text[: length - 1]}…'
