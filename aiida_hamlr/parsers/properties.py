"""Nodes of the properties of one Hamiltonian from the files that a job wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aiida import orm

from aiida_hamlr.data.electronic_structure import make_arrays, make_bands, make_dos, make_projections
from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.jobs.outputs import BANDS, PROPERTIES

__all__ = ('make_property_nodes', 'name_as_quantum_espresso')

#: Keys of a summary and their names in the output parameters of aiida-quantumespresso.
QUANTUM_ESPRESSO = {
    'fermi_level_eV': 'fermi_energy',
    'n_electrons': 'number_of_electrons',
    'n_atoms': 'number_of_atoms',
}


def name_as_quantum_espresso(summary: dict) -> dict:
    """Return the numbers of one structure that aiida-quantumespresso has too, under its names."""
    named = {name: summary[key] for key, name in QUANTUM_ESPRESSO.items() if summary.get(key) is not None}
    return named | ({'fermi_energy_units': 'eV'} if 'fermi_energy' in named else {})


def make_property_nodes(folder: Path, structure: orm.StructureData) -> Iterator[tuple[str, orm.Data]]:
    """Yield names and nodes of bands, density of states, projections and arrays, as far as there are files.

    :param folder: folder with the files of one structure.
    :param structure: that structure.
    :raises ValueError: if a file is damaged or of another structure.
    """
    bands, node = None, None
    if (folder / BANDS).is_file():
        bands = Bands.read(folder / BANDS)
        node = make_bands(bands, structure)
        yield 'bands', node
    if (folder / PROPERTIES).is_file():
        properties = Properties.read(folder / PROPERTIES)
        if len(structure.sites) != len(properties.symbols):
            raise ValueError(f'{PROPERTIES}: of another structure than the job had')
        found = {'output_dos': make_dos(properties), 'arrays': make_arrays(properties)}
        if properties.groups:
            found |= make_projections(properties, structure, bands, node)
        yield from ((name, value) for name, value in found.items() if value is not None)
