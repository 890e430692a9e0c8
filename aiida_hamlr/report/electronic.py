"""Sections about one Hamiltonian: numbers, bands and structure."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm

from aiida_hamlr.data.connections import CONNECTION_ERRORS
from aiida_hamlr.data.electronic_structure import read_dos
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.structures import get_atoms
from aiida_hamlr.electronic.bands.band_structure import Bands, band_structure
from aiida_hamlr.electronic.bands.kpoints import find_band_path
from aiida_hamlr.electronic.matrices.hamiltonian import OF_STATES, SPIN_ORBIT
from aiida_hamlr.plotting.zero import Levels
from aiida_hamlr.report.figures import bands_figure, dos_figure
from aiida_hamlr.report.meanings import pick_rows
from aiida_hamlr.report.page import Figure, Note, Rows, Section, Table
from aiida_hamlr.report.structure import MOST_ATOMS, structure_figure

__all__ = (
    'bands_section',
    'compute_bands',
    'cutoff_section',
    'dos_of_node',
    'hamiltonian_section',
    'quality_section',
    'structure_section',
)

#: Bands of more orbitals are not computed for a report; a path of 100 points takes a minute then.
MOST_ORBITALS = 600

#: Moments of more atoms fill more than a few lines.
MOST_MOMENTS = 64

#: Spacing of the points of the path, 1/Å.
SPACING = 0.08

_WHAT = ('formula', 'origin', 'n_atoms', 'n_orbitals', 'n_pairs', 'n_electrons', 'functional')
_LEVELS = ('gap', 'direct_gap', 'vbm_kpoint', 'cbm_kpoint', 'kpoints', 'fermi_level')
_SPIN = ('n_spin', 'spin_gaps', 'magnetization', 'magnetic_moments')
_WHERE = ('vacuum_level', 'vacuum_levels', 'gauge', 'storage', 'size', 'basis_hash')
_QUALITY = (
    'band_mae_occupied_meV',
    'band_mae_conduction_meV',
    'band_mae_window_meV',
    'cutoff_error_meV',
    'plane_wave_error_meV',
    'variational_violation_meV',
    'variational_violation_truncated_meV',
    'overlap_condition_number',
)


def field_meanings(node: orm.Data) -> dict[str, str]:
    """What the attributes of a node mean, as its fields say."""
    return {name: field.description or '' for name, field in type(node).AttributesModel.model_fields.items()}


def hamiltonian_section(node: HamiltonianData) -> Section:
    """What a Hamiltonian is of, with warnings first."""
    values = node.base.attributes.all
    blocks = [Note(text, 'warning') for text in values.get('warnings') or ()]
    if SPIN_ORBIT in values.get('matrices', ()):
        blocks.append(Note('With spin-orbit coupling: states are spinors of one electron each.'))
    keys = (*_WHAT, *_LEVELS, *(_SPIN if values.get('n_spin') == 2 else ()), *_WHERE)
    units = {
        key: f'{key}_eV' for key in ('gap', 'direct_gap', 'spin_gaps', 'fermi_level', 'vacuum_level', 'vacuum_levels')
    }
    units |= {key: f'{key}_muB' for key in ('magnetization', 'magnetic_moments')}
    meanings = {units.get(key, key): text for key, text in field_meanings(node).items()}
    left_out = ('magnetic_moments',) if values.get('n_atoms', 0) > MOST_MOMENTS else ()
    shown = {units.get(key, key): value for key, value in values.items() if key not in left_out}
    return Section('Hamiltonian', [*blocks, Rows(pick_rows(shown, [units.get(key, key) for key in keys], meanings))])


def quality_section(node: HamiltonianData) -> Section:
    """How far a reference is from the plane-wave run that it represents."""
    rows = pick_rows(node.base.attributes.all, _QUALITY, field_meanings(node))
    if not rows:
        return Section('Quality')
    text = (
        'Quote the error of the occupied bands. It is a property of the orbitals: compared with plane waves, no '
        'training can go below it.'
    )
    if node.base.attributes.get('vacuum_level', None) is not None:
        text += ' Errors of empty states include those that lie in the vacuum, where there are no orbitals.'
    return Section('Quality', [Note(text), Rows(rows)])


def cutoff_section(cutoff: orm.Dict) -> Section:
    """Which plane-wave cutoff a search chose, and the errors of those that it tried."""
    values = cutoff.get_dict()
    chosen = values['ecutwfc_Ry']
    rows = [
        [
            f'{entry["ecutwfc_Ry"]:g}',
            f'{entry["cutoff_error_meV"]:.1f}',
            'chosen' if entry['ecutwfc_Ry'] == chosen else '',
        ]
        for entry in sorted(values['tried'], key=lambda entry: entry['ecutwfc_Ry'])
    ]
    note = Note(f'Use ecutwfc {chosen:g} Ry and ecutrho {values["ecutrho_Ry"]:g} Ry for further runs of this material.')
    return Section('Cutoff', [note, Table(['ecutwfc (Ry)', 'cutoff error (meV)', ''], rows)])


def compute_bands(
    nodes: Mapping[str, HamiltonianData], spacing: float = SPACING, path: str = 'auto'
) -> dict[str, Bands]:
    """Return the bands of Hamiltonians along the path of the first, by name.

    :raises ValueError: if a file cannot be read, or no path is found.
    """
    found, line = {}, None
    for name, node in nodes.items():
        hamiltonian = node.open(OF_STATES)
        line = line or find_band_path(hamiltonian.atoms, path, spacing)
        found[name] = band_structure(hamiltonian, line)
    return found


def bands_section(nodes: Mapping[str, HamiltonianData], title: str = 'Bands') -> Section:
    """Bands of Hamiltonians over each other, or why they are not drawn."""
    large = [node for node in nodes.values() if node.base.attributes.get('n_orbitals') > MOST_ORBITALS]
    far = [node for node in nodes.values() if node.is_remote]
    if large or far:
        node = (large or far)[0]
        why = f'more than {MOST_ORBITALS} orbitals' if large else 'its file is on another computer'
        return Section(title, [Note(f'Not drawn ({why}): aiida-hamlr hamiltonian plot {node.pk} -o bands.png')])
    try:
        sets = compute_bands(nodes)
    except (ValueError, *CONNECTION_ERRORS) as error:
        return Section(title, [Note(f'Not drawn: {error}')])
    first = next(iter(sets.values()))
    zero = 'valence band maximum' if first.attributes.gap else 'Fermi level'
    counts = (
        f'{" and ".join(sets)} each count from their own {zero}' if len(sets) > 1 else f'Energies count from the {zero}'
    )
    caption = f'Bands in the orbital basis along the standard path. {counts}. Drag to zoom, double-click for all bands.'
    return Section(title, [bands_figure(sets, caption)])


def dos_of_node(node: orm.XyData) -> Figure:
    """The density of states of a node, see `make_dos`, from its valence band maximum or Fermi level."""
    properties = read_dos(node)
    levels = Levels.of_properties(properties)
    shown = {'total': properties.dos}
    if properties.dos_by_spin is not None:
        shown = dict(zip(('spin up', 'spin down'), properties.dos_by_spin, strict=True))
    return dos_figure(properties.dos_energies, shown, levels)


def structure_section(structure: orm.StructureData, title: str = 'Structure') -> Section:
    """A structure to turn."""
    if len(structure.sites) > MOST_ATOMS:
        return Section(title, [Note(f'{len(structure.sites)} atoms are not drawn.')])
    atoms = get_atoms(structure)
    caption = (
        f'{atoms.get_chemical_formula()}, cell in blue. Drag to turn, scroll to zoom. Images of atoms on faces, and '
        'neighbouring cells of small cells, are drawn too.'
    )
    return Section(title, [structure_figure(atoms, caption)])
