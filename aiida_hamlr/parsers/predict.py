"""Parser of `hamlr predict`."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_hamlr.calculations.functions.screening import read_rows
from aiida_hamlr.calculations.predict import PredictCalculation, structure_labels
from aiida_hamlr.data.electronic_structure import make_arrays, make_bands, make_dos, make_projections
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.structures import get_frame
from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.parsers.base import HamlrParser

__all__ = ('PredictParser',)

#: Keys of the summary of a structure and their names in the output parameters of aiida-quantumespresso.
QUANTUM_ESPRESSO = {
    'fermi_level_eV': 'fermi_energy',
    'n_electrons': 'number_of_electrons',
    'n_atoms': 'number_of_atoms',
}


class PredictParser(HamlrParser):
    """Make nodes of the Hamiltonians, bands and properties of every structure that could be predicted."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach the outputs of each structure; the job succeeds if at least one structure did."""
        if self.is_not_stashed:
            return exit_code or self.exit_codes.ERROR_NOT_STASHED
        found = 0
        try:
            rows = read_rows(self.retrieved)
        except ValueError as error:
            self.logger.error(str(error))
            rows, exit_code = {}, exit_code or self.unreadable(error)
        for label in structure_labels(self.inputs):
            try:
                # The last output: with it, all others of a structure are there, too.
                found += self._parse_structure(folder, label)
                if label in rows:
                    self.out(f'results.{label}', orm.Dict(rows[label]))
                    found += 1
            except ValueError as error:
                self.logger.error(f'{label}: {error}')
                exit_code = exit_code or self.unreadable(error)
        if exit_code is None and not found:
            return self.exit_codes.ERROR_ALL_STRUCTURES_FAILED.format(reason=self.reason)
        return exit_code

    def name_as_quantum_espresso(self, summary):
        """Return the Fermi energy and what it belongs to, if there is one structure only."""
        found = summary.get('structures')
        if not isinstance(found, dict) or len(found) != 1:
            return {}
        scalars = next(iter(found.values()))
        if not isinstance(scalars, dict):
            return {}
        named = {name: scalars.get(key) for key, name in QUANTUM_ESPRESSO.items()}
        if named['fermi_energy'] is not None:
            named['fermi_energy_units'] = 'eV'
        return {name: value for name, value in named.items() if value is not None}

    def _parse_structure(self, folder: Path, label: str) -> bool:
        subfolder = f'{PredictCalculation._OUTPUT_SUBFOLDER}/{label}'
        hamiltonian = self.make_hamiltonian(folder, f'{subfolder}/{HamiltonianData.FILENAME}')
        if hamiltonian is not None:
            self._check(hamiltonian, label)
            self.out(f'hamiltonians.{label}', hamiltonian)
        bands = folder / subfolder / PredictCalculation._BANDS_FILENAME
        if bands.is_file():
            bands_node = make_bands(Bands.read(bands), self._structure(label))
            self.out(f'bands.{label}', bands_node)
        properties = folder / subfolder / PredictCalculation._PROPERTIES_FILENAME
        if properties.is_file():
            path = (bands, bands_node) if bands.is_file() else None
            self._parse_properties(Properties.read(properties), label, path)
        return hamiltonian is not None or bands.is_file() or properties.is_file()

    def _parse_properties(self, properties: Properties, label: str, path: tuple | None):
        """Attach density of states, projections and arrays; ``path`` holds the file and the node of the bands."""
        structure = self._structure(label)
        symbols = [structure.get_kind(site.kind_name).symbol for site in structure.sites]
        if len(symbols) != len(properties.symbols):
            raise ValueError(f'{PredictCalculation._PROPERTIES_FILENAME}: of another structure than the job had')
        nodes = {'output_dos': make_dos(properties), 'arrays': make_arrays(properties)}
        if properties.groups:
            bands = (Bands.read(path[0]), path[1]) if path else (None, None)
            nodes |= make_projections(properties, structure, *bands)
        for name, node in nodes.items():
            if node is not None:
                self.out(f'{name}.{label}', node)

    def _structure(self, label: str):
        """Return the structure with a label."""
        if 'trajectory' in self.inputs:
            return get_frame(self.inputs['trajectory'], structure_labels(self.inputs).index(label))
        return self.inputs['structures'][label]

    def _check(self, hamiltonian: HamiltonianData, label: str):
        """Check that a Hamiltonian is of the structure with a label, in the orbitals of the model."""
        structure = self._structure(label)
        if 'model' in self.inputs:
            hashes = self.inputs['model'].get_description()['basis_hash']
            self.check_hamiltonian(hamiltonian, 'predicted', structure, hashes)
