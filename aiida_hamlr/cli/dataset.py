"""`aiida-hamlr dataset`: what the Hamiltonians of a dataset hold."""

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_dataset',)


@cmd_root.group('dataset')
def cmd_dataset():
    """Describe datasets."""


@cmd_dataset.command('show')
@click.argument('dataset', type=types.NodeType('hamlr.dataset'))
@with_dbenv()
def cmd_dataset_show(dataset):
    """Show elements, distances, gaps and the size of H - H0 in each part of DATASET.

    Hamiltonians whose files stayed on a computer are left out and counted.
    """
    from tempfile import TemporaryDirectory

    from aiida_hamlr.data.dataset import SPLITS
    from aiida_hamlr.jobs.statistics import describe_data

    try:
        for part in SPLITS:
            nodes = dataset.get_hamiltonians(part)
            local = [node for node in nodes if not node.is_remote]
            if len(local) < len(nodes):
                echo.echo_warning(f'{part}: {len(nodes) - len(local)} Hamiltonians are on other computers, left out')
            if not local:
                continue
            with TemporaryDirectory() as folder:
                lines = describe_data(_export_each(local, folder))
            echo.echo(f'{part}:')
            echo.echo('\n'.join(f'  {line}' for line in lines))
    except (ValueError, OSError) as error:
        echo.echo_critical(str(error))


def _export_each(nodes, folder):
    """Yield the file of every Hamiltonian; one at a time is on the disk."""
    from pathlib import Path

    path = Path(folder) / 'hamiltonian.h5'
    for node in nodes:
        path.unlink(missing_ok=True)
        node.export(path)
        yield path


@cmd_dataset.command('copy')
@click.argument('dataset', type=types.NodeType('hamlr.dataset'))
@click.option(
    '--without',
    multiple=True,
    required=True,
    type=types.NodeType('hamlr.hamiltonian'),
    metavar='PK',
    help='Hamiltonian to leave out; repeatable.',
)
@with_dbenv()
def cmd_dataset_copy(dataset, without):
    """Make a dataset of the Hamiltonians of DATASET without some of them; each stays in its part of the split.

    Nothing is deleted or computed again, and DATASET stays. Example: aiida-hamlr dataset copy 1234 --without 1201
    """
    from aiida_hamlr.calculations.functions.dataset import copy_without

    try:
        node = copy_without(dataset, without)
    except ValueError as error:
        echo.echo_critical(str(error))
    counts = ', '.join(f'{node.base.attributes.get(f"n_{part}")} {part}' for part in ('train', 'validation', 'test'))
    echo.echo_success(f'dataset {node.pk}: {counts}')
