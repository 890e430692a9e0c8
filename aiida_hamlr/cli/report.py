"""`aiida-hamlr report`: an HTML page about a run or a node."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_report',)


@cmd_root.command('report')
@click.argument('node', type=types.ANY)
@click.option(
    '-o',
    '--output',
    type=click.Path(dir_okay=False, path_type=Path),
    help='HTML file; by default report-PK.html in the current folder.',
)
@with_dbenv()
def cmd_report(node, output):
    """Write an HTML page about NODE: a reference, dataset, training, prediction, screening or pipeline.

    Hamiltonian, dataset and model nodes have pages, too. A page holds the numbers with their meaning, figures to zoom
    and turn, the provenance, versions and commands to repeat the run, in one file that needs no network. Runs may be
    unfinished or failed.

    Example: aiida-hamlr report 1234 -o reference.html
    """
    try:
        from aiida_hamlr.report.compose import make_report
        from aiida_hamlr.report.page import write

        path = write(make_report(node), output or Path(f'report-{node.pk}.html'))
    except (ValueError, OSError) as error:
        echo.echo_critical(str(error))
    echo.echo_success(f'wrote {path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser')
