"""`aiida-hamlr launch`: start work chains."""

from pathlib import Path

import click

from aiida_hamlr.cli import options, types
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.root import cmd_root
from aiida_hamlr.cli.schema_errors import short_schema_errors
from aiida_hamlr.cli.structures import load_named_structures, load_source, load_structures
from aiida_hamlr.jobs.cli_options import FiniteRange

__all__ = ('cmd_launch',)

#: Error that `--converge` accepts, meV.
CUTOFF_TOLERANCE = 10.0


@cmd_root.group('launch')
def cmd_launch():
    """Start work chains."""


@cmd_launch.command('reference')
@click.argument('structures', nargs=-1, required=True, type=types.STRUCTURE, metavar='STRUCTURE...')
@options.combine(*options.DFT, options.CONVERGE, options.OUTPUTS, options.CLEAN)
@with_dbenv()
def launch_reference(structures, settings):
    """Compute the reference Hamiltonian of each STRUCTURE: files that ASE reads, nodes or groups.

    Without `-B` each launch generates orbitals first. References to be trained on together must share one basis: pass
    the output `basis` of the first launch with `-B PK`.

    Example: aiida-hamlr launch reference si.cif -F GTH-LDA -d
    """
    from aiida_hamlr.workflows.reference import ReferenceWorkChain

    for structure in load_structures(structures, settings.starting_moments).values():
        overrides = settings.of_references(options.load_overrides(settings.overrides))
        overrides = settings.with_outputs(overrides, 'reconstruct', 'properties')
        arguments = (settings.pw, settings.hamlr, structure)
        builder = _build(ReferenceWorkChain, *arguments, overrides=overrides, **settings.dft_arguments())
        tolerance = CUTOFF_TOLERANCE if settings.converge else None
        _set_given(builder, clean_workdir=settings.clean_workdir, cutoff_tolerance=tolerance)
        _launch(builder, settings.daemon)


@cmd_launch.command('dataset')
@click.argument('structures', nargs=-1, required=True, type=types.STRUCTURE, metavar='STRUCTURE...')
@click.option(
    '-R',
    '--recipes',
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='YAML file with recipes for structures to make of the given ones.',
)
@click.option('-G', '--group', help='Label of a group for the results; it is created if it does not exist.')
@click.option(
    '-n', '--max-concurrent', type=click.IntRange(min=1), help='Maximum number of references that run at a time.'
)
@click.option(
    '--max-failures',
    type=click.IntRange(min=0),
    help='Maximum number of failed references; they are left out of the dataset.',
)
@options.combine(*options.DFT, options.SEED)
@with_dbenv()
def launch_dataset(structures, recipes, group, max_concurrent, max_failures, settings):
    """Compute the references of each STRUCTURE (files that ASE reads, nodes or groups) and make a dataset of them.

    Example: aiida-hamlr launch dataset rattled.extxyz -F GTH-LDA -B 1234 -n 4 -d
    """
    from aiida_hamlr.workflows.dataset import DatasetWorkChain

    content = options.load_overrides(settings.overrides)
    content['reference'] = settings.of_references(content.get('reference', {}))
    builder = _build(
        DatasetWorkChain,
        settings.pw,
        settings.hamlr,
        load_structures(structures, settings.starting_moments),
        recipes=options.load_overrides(recipes),
        group=group,
        overrides=content,
        **settings.dft_arguments(),
    )
    _set_given(builder, seed=settings.seed, max_concurrent=max_concurrent, max_failures=max_failures)
    _launch(builder, settings.daemon)


@cmd_launch.command('train')
@click.argument('dataset', type=types.NodeType('hamlr.dataset'))
@click.option(
    '-g',
    '--gpus',
    type=click.IntRange(min=1),
    help='Number of GPUs on each machine, with one process for each. SLURM is asked for them.',
)
@click.option(
    '-M',
    '--parent-model',
    type=types.NodeType('hamlr.model'),
    help='Model node to fine-tune; its network is kept.',
)
@click.option(
    '-N',
    '--n-models',
    type=click.IntRange(min=1),
    help='Train a committee: this number of models with seeds one after the other.',
)
@options.combine(options.HAMLR, options.PROTOCOL, options.OVERRIDES, options.SEED, options.CLEAN)
@with_dbenv()
def launch_train(dataset, gpus, parent_model, n_models, settings):
    """Train a network on DATASET, or with `-N` several.

    Example: aiida-hamlr launch train 1234 -Z hamlr@cluster -g 4 -d
    """
    from aiida_hamlr.workflows.train.base import TrainBaseWorkChain
    from aiida_hamlr.workflows.train.committee import TrainCommitteeWorkChain

    process_class = TrainBaseWorkChain if n_models is None else TrainCommitteeWorkChain
    overrides = options.load_overrides(settings.overrides)
    keywords = {'overrides': overrides, 'seed': settings.seed, 'gpus': gpus, **settings.hamlr_arguments()}
    keywords['parent_model'] = parent_model
    builder = _build(process_class, settings.hamlr, dataset, **keywords)
    _set_given(builder, n_models=n_models, clean_workdir=settings.clean_workdir)
    _launch(builder, settings.daemon)


@cmd_launch.command('predict')
@click.argument('model', type=types.NodeType('hamlr.model'))
@click.argument('structures', nargs=-1, required=True, type=types.STRUCTURE, metavar='STRUCTURE...')
@options.combine(
    options.HAMLR,
    options.COMMITTEE,
    options.OUTPUTS,
    options.MOMENTS,
    options.SPINORS,
    options.SIBLINGS,
    options.AXIS,
    options.PROTOCOL,
    options.OVERRIDES,
    options.STASH,
    options.CLEAN,
)
@with_dbenv()
def launch_predict(model, structures, settings):
    """Predict the Hamiltonian of each STRUCTURE (files that ASE reads, nodes or groups) with MODEL.

    Example: aiida-hamlr launch predict 1234 slab.cif --outputs bands,dos
    """
    from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain

    found = load_named_structures(structures, settings.starting_moments)
    overrides = settings.stashed(options.load_overrides(settings.overrides))
    overrides = settings.with_outputs(overrides, 'predict', 'parameters')
    overrides = settings.with_moments(overrides, 'predict', 'parameters')
    overrides = settings.with_spin_orbit(overrides, 'predict', 'parameters')
    builder = _build(
        PredictBaseWorkChain, settings.hamlr, model, found, overrides=overrides, **settings.hamlr_arguments()
    )
    _set_given(builder.predict, committee=settings.committee_models(), spin_orbit_pseudos=settings.siblings([model]))
    _set_given(builder, clean_workdir=settings.clean_workdir)
    _launch(builder, settings.daemon)


@cmd_launch.command('screen')
@click.argument('model', type=types.NodeType('hamlr.model'))
@click.argument('structures', nargs=-1, required=True, type=types.STRUCTURE, metavar='STRUCTURE...')
@click.option(
    '-M',
    '--another-model',
    'others',
    multiple=True,
    type=types.NodeType('hamlr.model'),
    help='A further model that predicts all structures, too; tables then have mean and spread. Repeatable.',
)
@click.option(
    '-G',
    '--group',
    help='Label of a group to which the structures are added, unless an equal one is in it, and which is screened as a '
    'whole; it is created if it does not exist. What has a result is not predicted again.',
)
@click.option('-b', '--batch-size', type=click.IntRange(min=1), help='Maximum number of structures of a job.')
@click.option('-n', '--max-concurrent', type=click.IntRange(min=1), help='Maximum number of jobs that run at a time.')
@click.option('--reuse/--no-reuse', default=None, help='Whether to leave out structures that have a result already.')
@click.option(
    '-o',
    '--output',
    type=click.Path(dir_okay=False, path_type=Path),
    help='Write the table of results to this CSV file at the end; not with `--daemon`.',
)
@options.combine(
    options.HAMLR,
    options.COMMITTEE,
    options.MOMENTS,
    options.SPINORS,
    options.SIBLINGS,
    options.AXIS,
    options.PROTOCOL,
    options.OVERRIDES,
    options.CLEAN,
)
@with_dbenv()
def launch_screen(model, structures, others, group, batch_size, max_concurrent, reuse, output, settings):
    """Predict gaps and band edges of many structures with MODEL, in batches.

    A STRUCTURE is a file that ASE reads (with all its frames), a node or a group; a group is screened as it is.

    Example: aiida-hamlr launch screen 1234 alloys.extxyz -G alloys -o gaps.csv
    """
    from aiida_hamlr.cli.screen import write_csv
    from aiida_hamlr.workflows.screen import ScreenWorkChain

    if output is not None and settings.daemon:
        raise click.BadParameter(
            'the daemon goes on after this command; use `aiida-hamlr screen export csv` later', param_hint='--output'
        )
    models = {f'model_{index}': node for index, node in enumerate((model, *others))} if others else model
    source = load_source(structures, group, settings.starting_moments)
    content = options.load_overrides(settings.overrides)
    content = settings.with_moments(content, 'predict', 'predict', 'parameters')
    content = settings.with_spin_orbit(content, 'predict', 'predict', 'parameters')
    builder = _build(ScreenWorkChain, settings.hamlr, models, source, overrides=content, **settings.hamlr_arguments())
    _set_given(builder, batch_size=batch_size, max_concurrent=max_concurrent, reuse=reuse)
    _set_given(builder.predict, clean_workdir=settings.clean_workdir)
    _set_given(
        builder.predict.predict,
        committee=settings.committee_models(),
        spin_orbit_pseudos=settings.siblings([model, *others]),
    )
    node = _launch(builder, settings.daemon)
    if output is not None:
        write_csv(node, output)


@cmd_launch.command('pipeline')
@click.option('--train', 'train', multiple=True, required=True, metavar='STRUCTURE', help='Structures to train on.')
@click.option('--validation', multiple=True, metavar='STRUCTURE', help='Structures whose errors choose the best epoch.')
@click.option('--test', 'test', multiple=True, metavar='STRUCTURE', help='Structures for the test errors of the model.')
@click.option('--predict', 'predict', multiple=True, metavar='STRUCTURE', help='Structures to predict.')
@click.option(
    '--compare/--no-compare',
    default=None,
    help='Whether to compute references of the predicted structures, too, and compare; by default as in the '
    'overrides, or yes.',
)
@options.combine(*options.DFT, options.SEED, options.CLEAN)
@with_dbenv()
def launch_pipeline(train, validation, test, predict, compare, settings):
    """Compute references, train on them, and predict other structures.

    A STRUCTURE is a file that ASE reads (with all its frames), a node or a group; the options can be repeated.

    Example: aiida-hamlr launch pipeline --train train.extxyz --test test.extxyz --predict slab.cif -F GTH-LDA -d
    """
    from aiida_hamlr.workflows.pipeline import PipelineWorkChain

    parts = {'train': train, 'validation': validation, 'test': test, 'predict': predict}
    structures = {name: load_structures(part, settings.starting_moments) for name, part in parts.items() if part}
    content = options.load_overrides(settings.overrides)
    content['reference'] = settings.of_references(content.get('reference', {}))
    content['predict'] = settings.stashed(content.get('predict', {}))
    arguments = (settings.pw, settings.hamlr, structures)
    builder = _build(PipelineWorkChain, *arguments, overrides=content, **settings.dft_arguments())
    _set_given(builder, compare=compare, seed=settings.seed, clean_workdir=settings.clean_workdir)
    _launch(builder, settings.daemon)


@cmd_launch.command('active-learning')
@click.argument('candidates', nargs=-1, required=True, type=types.STRUCTURE, metavar='STRUCTURE...')
@click.option(
    '-G',
    '--group',
    help='Label of a group to which the structures are added, unless an equal one is in it, and whose structures are '
    'the candidates; it is created if it does not exist.',
)
@click.option('-D', '--dataset', type=types.NodeType('hamlr.dataset'), help='Hamiltonians that are known; needs -B.')
@click.option('-M', '--parent-model', type=types.NodeType('hamlr.model'), help='Model that the first ones start from.')
@click.option(
    '--n-initial', type=click.IntRange(min=1), help='References drawn at random for the first model; by default 16.'
)
@click.option(
    '--n-validation', type=click.IntRange(min=0), help='References drawn at random for the validation; by default 8.'
)
@click.option(
    '--n-test', type=click.IntRange(min=0), help='References drawn at random for the test errors; by default 8.'
)
@click.option('-n', '--n-per-round', type=click.IntRange(min=1), help='References of each further round; by default 8.')
@click.option(
    '-r',
    '--max-rounds',
    type=click.IntRange(min=0),
    help='Maximum number of rounds after the first model; by default 5.',
)
@click.option(
    '--max-references',
    type=click.IntRange(min=1),
    help='Maximum number of references of all rounds, with those drawn at random.',
)
@click.option('-t', '--target', type=FiniteRange(0), help='Error of H in meV at which to end.')
@click.option(
    '-N',
    '--n-models',
    type=click.IntRange(min=1),
    help='Models of each round; if several, their spread selects; by default 1.',
)
@click.option(
    '--fine-tune/--retrain',
    default=None,
    help='Whether models start from those of the round before; by default new ones.',
)
@options.combine(*options.DFT, options.SEED, options.CLEAN)
@with_dbenv()
def launch_active_learning(candidates, group, dataset, parent_model, n_models, settings, **given):
    """Compute references of those of many structures of which models are most uncertain, and train on them.

    A STRUCTURE is a file that ASE reads (with all its frames), a node or a group; a group is taken as it is. Launched
    again after a failure, or with higher limits, it computes only what is missing.

    Example: aiida-hamlr launch active-learning candidates.extxyz -G candidates -F GTH-LDA -t 0.5 --max-references 200
    """
    from aiida_hamlr.workflows.active_learning import ActiveLearningWorkChain

    content = options.load_overrides(settings.overrides)
    content['reference'] = settings.of_references(content.get('reference', {}))
    builder = _build(
        ActiveLearningWorkChain,
        settings.pw,
        settings.hamlr,
        load_source(candidates, group, settings.starting_moments),
        overrides=content,
        dataset=dataset,
        parent_model=parent_model,
        **settings.dft_arguments(),
    )
    _set_given(builder, seed=settings.seed, clean_workdir=settings.clean_workdir, **given)
    _set_given(builder.train, n_models=n_models)
    _launch(builder, settings.daemon)


def _set_given(builder, **values):
    """Set the inputs that the command line gives; the others stay those of the overrides and the protocol."""
    from aiida.orm import to_aiida_type

    for name, value in values.items():
        if value is not None:
            builder[name] = value if isinstance(value, dict) else to_aiida_type(value)


def _build(process_class, *args, **kwargs):
    """Return the builder; an error in the arguments becomes one line."""
    try:
        return process_class.get_builder_from_protocol(*args, **kwargs)
    except ValueError as error:
        echo.echo_critical(' '.join(str(error).split()))


def _launch(builder, daemon: bool):
    """Submit, or run and show the outputs; return the node, or end with a status other than 0 if it failed."""
    from aiida.cmdline.utils.common import get_node_info
    from aiida.common.exceptions import InvalidOperation
    from aiida.engine import run_get_node, submit

    name = builder.process_class.__name__
    _warn_of_locks()
    try:
        with short_schema_errors():
            node = submit(builder) if daemon else run_get_node(builder).node
    except (ValueError, InvalidOperation) as error:
        echo.echo_critical(f'{name}: {error}')
    if daemon:
        echo.echo_success(f'submitted {name}<{node.pk}>; follow it with: aiida-hamlr status {node.pk}')
        return node
    echo.echo(get_node_info(node))
    if not node.is_finished_ok:
        echo.echo_critical(f'{name}<{node.pk}> failed with status {node.exit_status}: {node.exit_message}')
    echo.echo_success(f'{name}<{node.pk}> finished')
    return node


def _warn_of_locks():
    """Say so if commands that read the database can break the run."""
    from aiida.manage import get_manager

    from aiida_hamlr.cli.database import allows_concurrent_reading, database_path

    path = database_path(get_manager().get_profile())
    if path is not None and path.is_file() and not allows_concurrent_reading(path):
        echo.echo_warning(
            'other commands can lock the SQLite database of this profile and break runs: stop the daemon and run '
            '`aiida-hamlr setup database` once'
        )
