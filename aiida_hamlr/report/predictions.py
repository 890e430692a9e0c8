"""Sections about predictions and screenings."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.common.links import LinkType

from aiida_hamlr.data.electronic_structure import read_bands
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.report.electronic import bands_section, dos_of_node, structure_section
from aiida_hamlr.report.figures import bands_figure, gaps_figure, scatter_figure
from aiida_hamlr.report.meanings import format_value
from aiida_hamlr.report.models import ERRORS, MOST_ROWS
from aiida_hamlr.report.page import Note, Section, Table
from aiida_hamlr.workflows.results import get_table

__all__ = ('comparison_section', 'prediction_sections', 'screening_sections')

#: Structures that are shown one by one.
MOST_SHOWN = 4

#: Columns of tables, as far as they have values.
_COLUMNS = {
    'label': 'structure',
    'formula': 'formula',
    'n_atoms': 'atoms',
    'status': 'state',
    'gap_eV': 'gap (eV)',
    'gap_spread_eV': 'spread of the gap (eV)',
    'direct_gap_eV': 'direct gap (eV)',
    'spin_gaps_eV': 'gaps of spin up and down (eV)',
    'vbm_eV': 'VBM (eV)',
    'cbm_eV': 'CBM (eV)',
    'fermi_level_eV': 'Fermi level (eV)',
    'uncertainty_meV': 'expected on-site error (meV)',
    'warnings': 'warnings',
    'reason': 'why not',
}


def results_table(rows: list[dict]) -> Table:
    """Rows of a prediction or screening, without columns that are empty."""
    columns = {key: name for key, name in _COLUMNS.items() if any(row.get(key) not in (None, '', []) for row in rows)}
    decimals = {key: 3 if key.endswith('_eV') else None for key in columns}
    shown = [[format_value(row.get(key), decimals[key]) for key in columns] for row in rows[:MOST_ROWS]]
    caption = f'The first {MOST_ROWS} of {len(rows)} structures.' if len(rows) > MOST_ROWS else ''
    return Table(list(columns.values()), shown, caption)


def prediction_sections(
    process: orm.ProcessNode, references: Mapping[str, HamiltonianData] | None = None
) -> list[Section]:
    """Numbers of all structures of a prediction; bands, density of states and structure of the first ones.

    :param references: Hamiltonians to draw under those predicted, by the labels of the structures.
    """
    outputs = _nested(process)
    results = {label: node.get_dict() for label, node in outputs.get('results', {}).items()}
    hamiltonians = outputs.get('hamiltonians', {})
    rows = [{'label': label, **numbers} for label, numbers in results.items()]
    if not rows:
        rows = [{'label': label, **_numbers_of(node)} for label, node in hamiltonians.items()]
    blocks = [Note('Energies are in the gauge of the files: their zero is that of neutral atoms.')] if rows else []
    sections = [Section('Predictions', [*blocks, *([results_table(rows)] if rows else [])])]
    for label in list(dict.fromkeys([*hamiltonians, *outputs.get('bands', {}), *results]))[:MOST_SHOWN]:
        sections.append(_one(label, outputs, references or {}))
    return sections


def _one(label: str, outputs: Mapping, references: Mapping[str, HamiltonianData]) -> Section:
    """Bands, density of states and structure of one prediction."""
    blocks = []
    hamiltonian, bands = outputs.get('hamiltonians', {}).get(label), outputs.get('bands', {}).get(label)
    if hamiltonian is not None:
        sets = {'prediction': hamiltonian}
        if label in references:
            sets = {'DFT': references[label], **sets}
        blocks += bands_section(sets).blocks
        if not hamiltonian.is_remote:
            blocks += structure_section(hamiltonian.get_structure()).blocks
    elif bands is not None:
        blocks += _stored_bands(bands)
    dos = outputs.get('output_dos', {}).get(label)
    if dos is not None:
        blocks.append(dos_of_node(dos))
    return Section(f'Structure {label}', blocks)


def _stored_bands(node: orm.BandsData) -> list:
    try:
        bands = read_bands(node)
    except ValueError as error:
        return [Note(f'Not drawn: {error}')]
    zero = 'valence band maximum' if bands.attributes.gap else 'Fermi level'
    return [bands_figure({'prediction': bands}, f'Predicted bands; energies count from the {zero}.')]


def _numbers_of(node: HamiltonianData) -> dict:
    values = node.base.attributes.all
    keys = {'formula': 'formula', 'n_atoms': 'n_atoms', 'gap': 'gap_eV', 'fermi_level': 'fermi_level_eV'}
    return {name: values.get(key) for key, name in keys.items()}


def _nested(process: orm.ProcessNode) -> dict:
    """Outputs of a process as nested dictionaries; some namespaces of a job hold a single node there."""
    outgoing = process.base.links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN)).nested()
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in outgoing.items()}


def comparison_section(comparisons: Mapping[str, dict]) -> Section:
    """Errors of predictions of which there is a reference."""
    if not comparisons:
        return Section('Prediction against DFT')
    names = [f'{name}_meV' for name in ERRORS if any(f'{name}_meV' in entry for entry in comparisons.values())]
    rows = [[label, *(format_value(entry.get(name)) for name in names)] for label, entry in sorted(comparisons.items())]
    titles = {
        'mae_onsite_meV': 'on-site',
        'mae_overlapping_meV': 'overlapping orbitals',
        'band_mae_occupied_meV': 'occupied bands',
        'band_mae_conduction_meV': 'lowest conduction bands',
        'gap_error_meV': 'direct gap',
        'mae_onsite_diagonal_meV': 'on-site diagonal',
        'mae_meV': 'all elements',
    }
    note = Note(
        'Errors in meV against the references of the same structures. Quote the on-site error, that of overlapping '
        'orbitals and those of bands; the mean over all elements is small for every model.'
    )
    return Section('Prediction against DFT', [note, Table(['structure', *(titles[name] for name in names)], rows)])


def screening_sections(process: orm.WorkChainNode) -> list[Section]:
    """How far a screening is, the distribution of gaps, and its table."""
    table = get_table(process)
    counts: dict[str, int] = {}
    for row in table:
        counts[row['status']] = counts.get(row['status'], 0) + 1
    text = ', '.join(f'{number} {state}' for state, number in sorted(counts.items()))
    summary = Section('Screening', [Note(f'{len(table)} structures: {text}.')])
    gaps = {row['label']: row['gap_eV'] for row in table if row.get('gap_eV') is not None}
    if gaps:
        summary.blocks.append(gaps_figure({'gap': list(gaps.values())}, 'Distribution of the band gaps.'))
    points = {
        row['label']: (row['gap_eV'], row['uncertainty_meV'])
        for row in table
        if row.get('gap_eV') is not None and row.get('uncertainty_meV') is not None
    }
    if points:
        caption = 'Expected on-site error over the gap: compute references of the structures at the top first.'
        summary.blocks.append(scatter_figure(points, 'Band gap (eV)', 'Expected on-site error (meV)', caption))
    return [summary, Section('Structures', [results_table(table)] if table else [])]
