"""Parser of `hamlr predict`."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_hamlr.calculations.functions.screening import read_rows
from aiida_hamlr.calculations.predict import PredictCalculation, structure_labels
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.structures import get_frame
from aiida_hamlr.parsers.base import HamlrParser
from aiida_hamlr.parsers.properties import make_property_nodes, name_as_quantum_espresso

__all__ = ('PredictParser',)


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
        return name_as_quantum_espresso(scalars) if isinstance(scalars, dict) else {}

    def _parse_structure(self, folder: Path, label: str) -> bool:
        subfolder = f'{PredictCalculation._OUTPUT_SUBFOLDER}/{label}'
        hamiltonian = self.make_hamiltonian(folder, f'{subfolder}/{HamiltonianData.FILENAME}')
        if hamiltonian is not None:
            self._check(hamiltonian, label)
            self.out(f'hamiltonians.{label}', hamiltonian)
        found = hamiltonian is not None
        for name, node in make_property_nodes(folder / subfolder, self._structure(label)):
            self.out(f'{name}.{label}', node)
            found = True
        return found

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
