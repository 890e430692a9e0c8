"""Sections about trainings, models and datasets."""

from __future__ import annotations

from aiida import orm

from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.monitors.learning_curve import read_learning_curve
from aiida_hamlr.report.electronic import field_meanings
from aiida_hamlr.report.figures import bar_figure, gaps_figure, learning_figure
from aiida_hamlr.report.meanings import format_value, pick_rows
from aiida_hamlr.report.page import Note, Rows, Section, Table

__all__ = ('dataset_sections', 'distance_section', 'errors_section', 'learning_section', 'model_sections')

#: Errors of a model in the order in which to quote them, without the part of the data and `_meV`.
ERRORS = (
    'mae_onsite',
    'mae_overlapping',
    'band_mae_occupied',
    'band_mae_conduction',
    'gap_error',
    'mae_onsite_diagonal',
    'mae',
)

_MODEL = ('variant', 'species', 'functional', 'n_parameters', 'code_version', 'size', 'basis_hash')
_DATASET = ('n_train', 'n_validation', 'n_test', 'species', 'functional', 'seed', 'basis_hash', 'fingerprint')

#: Hamiltonians that a table lists at most.
MOST_ROWS = 300


def errors_section(metrics: dict) -> Section:
    """Errors of a model on each part of the data, with those first that are to be quoted."""
    parts = [part for part in ('test', 'validation', 'train') if any(key.startswith(f'{part}_mae') for key in metrics)]
    blocks = []
    if parts:
        which = {
            'test': 'The errors of the test structures, which took no part in the training, are those to quote.',
            'validation': 'There are no test structures. The validation errors chose the best epoch and are too small '
            'for that; quote errors of further structures instead (hamlr evaluate).',
            'train': 'There are neither test nor validation structures: these errors say nothing about others.',
        }
        blocks.append(Note(which[parts[0]]))
    for part in parts:
        blocks.append(Rows(pick_rows(metrics, [f'{part}_{name}_meV' for name in ERRORS])))
    blocks.append(Rows(pick_rows(metrics, ('best_epoch', 'epochs', 'wall_s', 'cpu_s', 'peak_memory_MB'))))
    return Section('Errors', [block for block in blocks if not isinstance(block, Rows) or block.rows])


def distance_section(entries: list[dict] | None, title: str = 'Error by distance') -> Section:
    """Errors of pairs in ranges of distance, as far as they are known."""
    if not entries:
        return Section(title)
    values = {f'{entry["from_angstrom"]:.1f}–{entry["to_angstrom"]:.1f}': entry['mae_meV'] for entry in entries}
    caption = (
        'Mean absolute error of pairs by their distance. Blocks of distant atoms are small, and so are their errors.'
    )
    return Section(title, [bar_figure(values, 'Distance (Å)', 'Error (meV)', caption, log=True)])


def learning_section(process: orm.ProcessNode | None) -> Section:
    """The learning curve of a training, finished or running."""
    title = 'Learning curve'
    if process is None:
        return Section(title)
    try:
        columns = read_learning_curve(process)
        caption = 'Mean absolute error of H over the epochs; the model has the weights of the lowest validation error.'
        return Section(title, [learning_figure(columns, caption)])
    except (ValueError, OSError) as error:
        return Section(title, [Note(str(error))])


def model_sections(model: ModelData, parameters: dict | None = None) -> list[Section]:
    """Errors, learning curve, network and data of a model.

    :param parameters: what the training job reported, where it has more than the model.
    """
    values = model.base.attributes.all
    metrics = {**values.get('metrics', {}), **(parameters or {})}
    dataset = _dataset_of(model)
    network = [Rows(pick_rows(values, _MODEL, field_meanings(model)))]
    settings = [(key, format_value(value)) for key, value in model.settings.items() if value is not None]
    network.append(Table(['setting', 'value'], settings, 'Settings by their names in train.yaml, below model.'))
    return [
        errors_section(metrics),
        learning_section(model.creator if isinstance(model.creator, orm.CalcJobNode) else None),
        distance_section(metrics.get('test_mae_by_distance')),
        Section('Network', network),
        *(dataset_sections(dataset) if dataset is not None else ()),
    ]


def _dataset_of(model: ModelData) -> DatasetData | None:
    creator = model.creator
    if isinstance(creator, orm.CalcJobNode) and 'dataset' in creator.inputs:
        return creator.inputs.dataset
    return None


def dataset_sections(dataset: DatasetData) -> list[Section]:
    """Parts, gaps and Hamiltonians of a dataset, and what is missing in it."""
    values = dataset.base.attributes.all
    blocks = [Rows(pick_rows(values, _DATASET, field_meanings(dataset)))]
    failures = values.get('failures') or {}
    if failures:
        blocks.append(Note(f'Structures without a Hamiltonian: {len(failures)}', 'warning'))
        blocks.append(
            Table(['structure', 'reason'], [[str(k), str(v)] for k, v in sorted(failures.items())][:MOST_ROWS])
        )
    rows = _query_hamiltonians(dataset)
    gaps = {part: [row[4] for row in rows if row[0] == part and row[4] is not None] for part in SPLITS}
    gaps = {part: found for part, found in gaps.items() if found}
    if gaps:
        blocks.append(gaps_figure(gaps, 'Gaps of the references by part of the dataset.'))
    shown = [[part, str(pk), formula, str(n_atoms), format_value(gap)] for part, pk, formula, n_atoms, gap in rows]
    caption = f'The first {MOST_ROWS} of {len(rows)}.' if len(rows) > MOST_ROWS else ''
    blocks.append(Table(['part', 'PK', 'formula', 'atoms', 'gap (eV)'], shown[:MOST_ROWS], caption))
    return [Section('Dataset', blocks)]


def _query_hamiltonians(dataset: DatasetData) -> list[tuple]:
    """Return part, PK, formula, atoms and gap of every Hamiltonian that is in the profile."""
    parts = {uuid: part for part in SPLITS for uuid in dataset.get_uuids(part)}
    query = orm.QueryBuilder().append(
        HamiltonianData,
        filters={'uuid': {'in': list(parts)}},
        project=['uuid', 'id', 'attributes.formula', 'attributes.n_atoms', 'attributes.gap'],
    )
    rows = [(parts[uuid], *values) for uuid, *values in query.iterall()]
    return sorted(rows, key=lambda row: (SPLITS.index(row[0]), row[1]))
