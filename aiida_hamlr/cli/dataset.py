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
