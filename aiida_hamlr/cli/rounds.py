"""`aiida-hamlr rounds`: what the rounds of active learning gave."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_rounds',)

#: Columns with the keys of the records, as far as they have values.
COLUMNS = {
    'round': 'round',
    'n train': 'n_train',
    'n references': 'n_references',
    'failed': 'n_failed',
    'error (meV)': 'error_meV',
    'of': 'error_of',
    'on-site test (meV)': 'test_mae_onsite_meV',
    'occupied bands (meV)': 'test_band_mae_occupied_meV',
    'expected error, mean (meV)': 'candidates_uncertainty_mean_meV',
    'largest (meV)': 'candidates_uncertainty_max_meV',
    'candidates': 'n_candidates',
}


@cmd_root.command('rounds')
@click.argument('learning', type=types.ProcessType('aiida.workflows:hamlr.active_learning'))
@click.option(
    '-o',
    '--output',
    type=types.FIGURE_FILE,
    help='Also draw the error over the number of references into this PNG, SVG or PDF file.',
)
@with_dbenv()
def cmd_rounds(learning, output):
    """Show references and errors of each round of LEARNING, an active learning that runs or has ended.

    Example: aiida-hamlr rounds 1234 -o rounds.png
    """
    from tabulate import tabulate

    from aiida_hamlr.workflows.active_learning import ActiveLearningWorkChain
    from aiida_hamlr.workflows.rounds import get_rounds

    if learning.process_type != ActiveLearningWorkChain.build_process_type():
        echo.echo_critical(f'{learning.process_label}<{learning.pk}> is not a hamlr.active_learning')
    rounds = get_rounds(learning)
    columns = {head: key for head, key in COLUMNS.items() if any(each.get(key) is not None for each in rounds)}
    rows = [[_format(each.get(key)) for key in columns.values()] for each in rounds]
    if rows:
        echo.echo(tabulate(rows, headers=list(columns), disable_numparse=True))
    state = learning.process_state.value if learning.process_state else 'unknown'
    end = rounds[-1]['end'] if rounds else ''
    echo.echo(f'{learning.process_label}<{learning.pk}> is {state}{f": {end}" if end else ""}')
    if output is not None:
        echo.echo_success(f'wrote {_draw(learning, rounds, output)}')


def _draw(learning, rounds: list[dict], output: Path) -> Path:
    """Draw the errors of the rounds, and the target if there is one."""
    from aiida_hamlr.plotting.learning import plot_errors

    target = learning.inputs.target.value if 'target' in learning.inputs else None
    name = f'{rounds[-1]["error_of"]} error' if rounds else 'error'
    errors = [[each['error_meV'] for each in rounds]]
    try:
        return plot_errors([each['n_train'] for each in rounds], {name: errors}, output, target)
    except (ValueError, OSError) as error:
        echo.echo_critical(str(error))


def _format(value) -> str:
    return '' if value is None else f'{value:.3f}' if isinstance(value, float) else str(value)
