"""`aiida-hamlr dataset`: list, describe, compare, draw, copy and export datasets."""

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.exchange import EXPORT_FORMAT, NATIVE, write_foreign
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.nodes import LIMIT, NEW_FOLDER, check_new_folder, compare_columns, list_nodes, one_line
from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_dataset',)


@cmd_root.group('dataset')
def cmd_dataset():
    """List, describe, compare, draw, copy and export datasets."""


@cmd_dataset.command('list')
@LIMIT
@with_dbenv()
def cmd_dataset_list(limit):
    """List the newest datasets. Example: aiida-hamlr dataset list."""
    list_nodes('dataset', limit)


@cmd_dataset.command('show')
@click.argument('dataset', type=types.NodeType('hamlr.dataset'))
@with_dbenv()
def cmd_dataset_show(dataset):
    """Show elements, distances, gaps and the size of H - H0 in each part of DATASET.

    Hamiltonians whose files stayed on a computer are left out and counted. Example: aiida-hamlr dataset show 1234
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


@cmd_dataset.command('compare')
@click.argument('datasets', nargs=-1, required=True, type=types.NodeType('hamlr.dataset'), metavar='DATASET...')
@with_dbenv()
@one_line
def cmd_dataset_compare(datasets):
    """Show sizes, elements and hashes of datasets side by side, and how many Hamiltonians they share.

    Models can be compared if `test` is equal; datasets can be merged if `basis_hash` and `functional` are. Example:
    aiida-hamlr dataset compare 1234 1250
    """
    from aiida_hamlr.data.dataset import SPLITS

    columns = {f'dataset<{node.pk}>': dict(node.base.attributes.all) for node in datasets}
    sums = {}
    for (name, values), node in zip(columns.items(), datasets, strict=True):
        parts = {part: {one.base.attributes.get('sha256') for one in node.get_hamiltonians(part)} for part in SPLITS}
        sums[name] = parts
        values |= {part: make_digest(sorted(content)) if content else '' for part, content in parts.items()}
        values['failures'] = len(values.get('failures') or {})
    names = ('n_train', 'n_validation', 'n_test', 'failures', 'elements', 'species', 'functional', 'seed')
    compare_columns(columns, (*names, 'basis_hash', 'fingerprint', *SPLITS))
    first, *others = sums
    for other in others:
        shared = {part: len(sums[first][part] & sums[other][part]) for part in SPLITS}
        crossed = len(sums[first]['train'] & sums[other]['test']) + len(sums[first]['test'] & sums[other]['train'])
        text = ', '.join(f'{number} {part}' for part, number in shared.items())
        echo.echo(f'{first} and {other} share: {text}')
        if crossed:
            echo.echo_warning(f'{crossed} Hamiltonians are for training in one of them and for the test in the other')


def make_digest(sums: list[str]) -> str:
    """Return a short digest of the sums of files: equal contents have equal digests."""
    from hashlib import sha256

    return sha256(' '.join(sums).encode()).hexdigest()[:12]


@cmd_dataset.command('plot')
@click.argument('dataset', type=types.NodeType('hamlr.dataset'))
@click.option('-o', '--output', type=types.FIGURE_FILE, required=True, help='PNG, SVG or PDF file.')
@with_dbenv()
@one_line
def cmd_dataset_plot(dataset, output):
    """Draw the gaps of DATASET by part. Example: aiida-hamlr dataset plot 1234 -o gaps.svg."""
    from aiida_hamlr.data.dataset import SPLITS
    from aiida_hamlr.plotting.screening import plot_gap_parts

    gaps = {part: [node.base.attributes.get('gap', None) for node in dataset.get_hamiltonians(part)] for part in SPLITS}
    known = {part: [gap for gap in values if gap is not None] for part, values in gaps.items()}
    echo.echo_success(f'wrote {plot_gap_parts({part: values for part, values in known.items() if values}, output)}')


@cmd_dataset.command('export')
@click.argument('dataset', type=types.NodeType('hamlr.dataset'))
@EXPORT_FORMAT
@NEW_FOLDER
@with_dbenv()
@one_line
def cmd_dataset_export(dataset, format_name, output):
    """Write the Hamiltonians of DATASET into the folders train, validation and test of a new folder.

    In the format of this package `train.yaml` lies beside them: `hamlr train FOLDER/train.yaml` trains on them.

    Example: aiida-hamlr dataset export 1234 -o data
    """
    from aiida_hamlr.data.dataset import SPLITS

    check_new_folder(output)
    parts = {part: nodes for part in SPLITS if (nodes := dataset.get_hamiltonians(part))}
    for part, nodes in parts.items():
        folder = output / part
        folder.mkdir(parents=True)
        if format_name != NATIVE:
            write_foreign(nodes, format_name, folder)
            continue
        for node in nodes:
            node.export(folder / f'{node.pk}.h5')
    if format_name == NATIVE:
        lines = ['data:', *(f'  {part}: [{part}/*.h5]' for part in parts)]
        (output / 'train.yaml').write_text('\n'.join(lines) + '\n')
    echo.echo_success(f'wrote {", ".join(f"{len(nodes)} {part}" for part, nodes in parts.items())} to {output}')


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
