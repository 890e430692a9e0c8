"""`aiida-hamlr launch`: start work chains."""

from pathlib import Path

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import decorators, echo

from aiida_hamlr.cli import options
from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_launch',)


@cmd_root.group('launch')
def cmd_launch():
    """Start work chains."""


@cmd_launch.command('reference')
@click.argument('structures', nargs=-1, required=True, metavar='STRUCTURE...')
@options.combine(
    options.PW,
    options.PP,
    options.HAMLR,
    options.FAMILY,
    options.BASIS,
    options.PROTOCOL,
    options.OVERRIDES,
    options.STASH,
    options.CLEAN,
)
@decorators.with_dbenv()
def launch_reference(
    structures, pw, pp, hamlr, pseudo_family, basis, protocol, overrides, stash_folder, clean_workdir, **job
):
    """Make the reference Hamiltonians of STRUCTURES: files that ASE reads, nodes or groups."""
    from aiida_hamlr.workflows.reference import ReferenceWorkChain

    daemon = job.pop('daemon')
    for structure in options.load_structures(structures).values():
        builder = _build(
            ReferenceWorkChain,
            pw,
            hamlr,
            structure,
            protocol=protocol,
            overrides=_with_stash(_with_family(options.load_overrides(overrides), pseudo_family), stash_folder),
            options=options.job_options(pw, **job),
            basis=basis,
            pp_code=pp,
        )
        _set_given(builder, clean_workdir=clean_workdir)
        _launch(builder, daemon)


@cmd_launch.command('dataset')
@click.argument('structures', nargs=-1, required=True, metavar='STRUCTURE...')
@click.option(
    '-R',
    '--recipes',
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='YAML file with structures to make of the given ones.',
)
@click.option('-G', '--group', help='Label of a group for the results, made if there is none.')
@click.option('-n', '--max-concurrent', type=click.IntRange(min=1), help='So many references run at a time.')
@click.option('--max-failures', type=click.IntRange(min=0), help='So many references may fail.')
@options.combine(
    options.PW,
    options.PP,
    options.HAMLR,
    options.FAMILY,
    options.BASIS,
    options.PROTOCOL,
    options.OVERRIDES,
    options.STASH,
    options.SEED,
)
@decorators.with_dbenv()
def launch_dataset(
    structures,
    recipes,
    group,
    max_concurrent,
    max_failures,
    pw,
    pp,
    hamlr,
    pseudo_family,
    basis,
    protocol,
    overrides,
    stash_folder,
    seed,
    **job,
):
    """Make the references of STRUCTURES (files that ASE reads, nodes or groups) and a dataset of them."""
    from aiida_hamlr.workflows.dataset import DatasetWorkChain

    daemon = job.pop('daemon')
    content = options.load_overrides(overrides)
    content['reference'] = _with_stash(_with_family(content.get('reference', {}), pseudo_family), stash_folder)
    builder = _build(
        DatasetWorkChain,
        pw,
        hamlr,
        options.load_structures(structures),
        recipes=options.load_overrides(recipes),
        group=group,
        protocol=protocol,
        overrides=content,
        options=options.job_options(pw, **job),
        basis=basis,
        pp_code=pp,
    )
    _set_given(builder, seed=seed, max_concurrent=max_concurrent, max_failures=max_failures)
    _launch(builder, daemon)


@cmd_launch.command('train')
@click.argument('dataset', type=types.DataParamType(sub_classes=('aiida.data:hamlr.dataset',)))
@click.option(
    '-g',
    '--gpus',
    type=click.IntRange(min=1),
    help='GPUs on each node, with a process for each. SLURM is asked for them.',
)
@options.combine(options.HAMLR, options.PROTOCOL, options.OVERRIDES, options.SEED, options.CLEAN)
@decorators.with_dbenv()
def launch_train(dataset, gpus, hamlr, protocol, overrides, seed, clean_workdir, **job):
    """Train a network on DATASET."""
    from aiida_hamlr.workflows.train.base import TrainBaseWorkChain

    daemon = job.pop('daemon')
    builder = _build(
        TrainBaseWorkChain,
        hamlr,
        dataset,
        protocol=protocol,
        overrides=options.load_overrides(overrides),
        options=options.job_options(hamlr, **job),
        seed=seed,
        gpus=gpus,
    )
    _set_given(builder, clean_workdir=clean_workdir)
    _launch(builder, daemon)


@cmd_launch.command('predict')
@click.argument('model', type=types.DataParamType(sub_classes=('aiida.data:hamlr.model',)))
@click.argument('structures', nargs=-1, required=True, metavar='STRUCTURE...')
@options.combine(options.HAMLR, options.PROTOCOL, options.OVERRIDES, options.STASH, options.CLEAN)
@decorators.with_dbenv()
def launch_predict(model, structures, hamlr, protocol, overrides, stash_folder, clean_workdir, **job):
    """Predict the Hamiltonians of STRUCTURES (files that ASE reads, nodes or groups) with MODEL."""
    from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain

    daemon = job.pop('daemon')
    builder = _build(
        PredictBaseWorkChain,
        hamlr,
        model,
        options.load_structures(structures),
        protocol=protocol,
        overrides=_with_stash(options.load_overrides(overrides), stash_folder),
        options=options.job_options(hamlr, **job),
    )
    _set_given(builder, clean_workdir=clean_workdir)
    _launch(builder, daemon)


@cmd_launch.command('pipeline')
@click.option('--train', 'train', multiple=True, required=True, metavar='STRUCTURE', help='Structures to learn from.')
@click.option('--validation', multiple=True, metavar='STRUCTURE', help='Structures that choose the best epoch.')
@click.option('--test', 'test', multiple=True, metavar='STRUCTURE', help='Structures to test.')
@click.option('--predict', 'predict', multiple=True, metavar='STRUCTURE', help='Structures to predict.')
@click.option(
    '--compare/--no-compare',
    default=None,
    help='Whether to make references of the predicted ones too; by default that of the overrides, or yes.',
)
@options.combine(
    options.PW,
    options.PP,
    options.HAMLR,
    options.FAMILY,
    options.BASIS,
    options.PROTOCOL,
    options.OVERRIDES,
    options.STASH,
    options.SEED,
    options.CLEAN,
)
@decorators.with_dbenv()
def launch_pipeline(
    train,
    validation,
    test,
    predict,
    compare,
    pw,
    pp,
    hamlr,
    pseudo_family,
    basis,
    protocol,
    overrides,
    stash_folder,
    seed,
    clean_workdir,
    **job,
):
    """Make references, train on them, and predict other structures.

    A STRUCTURE is a file that ASE reads (all its frames), a node or a group; the options can be repeated.
    """
    from aiida_hamlr.workflows.pipeline import PipelineWorkChain

    daemon = job.pop('daemon')
    parts = {'train': train, 'validation': validation, 'test': test, 'predict': predict}
    content = options.load_overrides(overrides)
    content['reference'] = _with_stash(_with_family(content.get('reference', {}), pseudo_family), stash_folder)
    content['predict'] = _with_stash(content.get('predict', {}), stash_folder)
    builder = _build(
        PipelineWorkChain,
        pw,
        hamlr,
        {name: options.load_structures(part) for name, part in parts.items() if part},
        protocol=protocol,
        overrides=content,
        options=options.job_options(pw, **job),
        basis=basis,
        pp_code=pp,
    )
    _set_given(builder, compare=compare, seed=seed, clean_workdir=clean_workdir)
    _launch(builder, daemon)


def _set_given(builder, **values):
    """Set the inputs that the command line gives; the others stay those of the overrides and the protocol."""
    from aiida.orm import to_aiida_type

    for name, value in values.items():
        if value is not None:
            builder[name] = to_aiida_type(value)


def _with_family(overrides: dict, family: str | None) -> dict:
    if family is not None:
        overrides.setdefault('scf', {})['pseudo_family'] = family
    return overrides


def _with_stash(overrides: dict, folder: str | None) -> dict:
    if folder is not None:
        overrides |= {'storage': 'remote', 'stash_folder': folder}
    return overrides


def _build(process_class, *args, **kwargs):
    """Return the builder; what is wrong with the arguments becomes one line."""
    try:
        return process_class.get_builder_from_protocol(*args, **kwargs)
    except ValueError as error:
        echo.echo_critical(' '.join(str(error).split()))


def _launch(builder, daemon: bool):
    """Submit, or run and show the outputs; end with a status other than 0 if the process failed."""
    from aiida.cmdline.utils.common import get_node_info
    from aiida.common.exceptions import InvalidOperation
    from aiida.engine import run_get_node, submit

    name = builder.process_class.__name__
    try:
        node = submit(builder) if daemon else run_get_node(builder).node
    except (ValueError, InvalidOperation) as error:
        echo.echo_critical(f'{name}: {error}')
    if daemon:
        echo.echo_success(f'submitted {name}<{node.pk}>; see: verdi process status {node.pk}')
        return
    echo.echo(get_node_info(node))
    if not node.is_finished_ok:
        echo.echo_critical(f'{name}<{node.pk}> failed with status {node.exit_status}: {node.exit_message}')
    echo.echo_success(f'{name}<{node.pk}> is done')
