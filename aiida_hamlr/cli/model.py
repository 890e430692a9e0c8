"""`aiida-hamlr model`: list, show, compare, draw, export and import trained models."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.nodes import LIMIT, NEW_FOLDER, check_new_folder, compare_columns, list_nodes, one_line, show_node
from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_model',)

_NODE = types.NodeType('hamlr.model')

_COMPARED = ('variant', 'species', 'functional', 'n_parameters', 'code_version', 'basis_hash')


@cmd_root.group('model')
def cmd_model():
    """List, show, compare, draw, export and import models."""


@cmd_model.command('list')
@LIMIT
@with_dbenv()
def cmd_list(limit):
    """List the newest models with their errors. Example: aiida-hamlr model list."""
    list_nodes('model', limit)


@cmd_model.command('show')
@click.argument('node', metavar='MODEL', type=types.ANY)
@with_dbenv()
@one_line
def cmd_show(node):
    """Show the attributes of MODEL and the process that created it. Example: aiida-hamlr model show 1234."""
    show_node(node)


@cmd_model.command('compare')
@click.argument('models', nargs=-1, required=True, type=_NODE, metavar='MODEL...')
@with_dbenv()
def cmd_compare(models):
    """Show networks, data and errors of models side by side, those errors first that are to be quoted.

    Errors of models that were trained on different datasets are errors on different structures: compare such models on
    common ones, with `hamlr evaluate` or `hamiltonian compare`.

    Example: aiida-hamlr model compare 1234 1250
    """
    from aiida_hamlr.cli.hamiltonian import error_remarks

    columns = {}
    for model in models:
        values = model.base.attributes.all
        creator = model.creator
        dataset = creator.inputs.dataset.pk if creator is not None and 'dataset' in creator.inputs else None
        reported = {}
        if creator is not None and 'output_parameters' in creator.outputs:
            reported = creator.outputs.output_parameters.get_dict()
        columns[f'model<{model.pk}>'] = {**reported, **values, **values.get('metrics', {}), 'dataset': dataset}
    compare_columns(columns, (*_COMPARED, 'dataset'))
    marks = {f'{part}_{name}': remark for part in ('test', 'validation') for name, remark in error_remarks().items()}
    known = [name for name in marks if any(name in column for column in columns.values())]
    known += ['train_mae_meV', 'epochs', 'best_epoch', 'wall_s']
    echo.echo('')
    compare_columns(columns, known, marks | dict.fromkeys(known[-4:], ' '))
    if len({column['dataset'] for column in columns.values()}) > 1:
        echo.echo_warning('the models were trained on different datasets: their errors are of different structures')


@cmd_model.command('plot')
@click.argument('models', nargs=-1, required=True, type=_NODE, metavar='MODEL...')
@click.option(
    '-o',
    '--output',
    type=types.FIGURE_FILE,
    default='learning.png',
    show_default=True,
    help='PNG, SVG or PDF file.',
)
@click.option('--title', help='Above the figure.')
@with_dbenv()
@one_line
def cmd_plot(models, output, title):
    """Draw the learning curves of models over each other. Example: aiida-hamlr model plot 1234 1250 -o curves.pdf."""
    from aiida_hamlr.monitors.learning_curve import read_learning_curve
    from aiida_hamlr.plotting.training import plot_training

    curves = {}
    for model in models:
        if model.creator is None:
            raise ValueError(f'ModelData<{model.pk}> was not trained in this profile and has no learning curve')
        curves[model.label or f'model {model.pk}'] = read_learning_curve(model.creator)
    echo.echo_success(f'wrote {plot_training(curves, output, title)}')


@cmd_model.command('export')
@click.argument('model', type=_NODE, metavar='MODEL')
@NEW_FOLDER
@with_dbenv()
@one_line
def cmd_export(model, output):
    """Write MODEL as the folder that `hamlr predict`, `hamlr evaluate` and `aiida-hamlr model import` read.

    Example: aiida-hamlr model export 1234 -o alas-model
    """
    check_new_folder(output)
    model.base.repository.copy_tree(output.absolute())
    echo.echo_success(f'wrote {output}: weights, basis and pseudopotentials of {", ".join(model.species)}')


@cmd_model.command('import')
@click.argument('folder', type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option('-l', '--label', default='', help='Label of the node.')
@with_dbenv()
@one_line
def cmd_import(folder, label):
    """Store FOLDER, a model of `hamlr train` or of `model export`; nothing in it is executed.

    Example: aiida-hamlr model import run/model --label alas
    """
    from aiida_hamlr.data.model import ModelData

    node = ModelData.from_folder(folder, label=label).store()
    echo.echo_success(f'stored ModelData<{node.pk}>; predict with: aiida-hamlr launch predict {node.pk} STRUCTURE')
