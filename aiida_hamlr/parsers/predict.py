"""Parser of `hamlr predict`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aiida import orm
from aiida.common.links import LinkType

from aiida_hamlr.calculations.predict import PredictCalculation, structure_labels
from aiida_hamlr.data.electronic_structure import make_arrays, make_bands, make_dos, make_projections
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.structures import get_frame
from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.jobs.results import DONE, read_results
from aiida_hamlr.parsers.base import HamlrParser

__all__ = ('PredictParser',)

#: Columns that the links of a node tell already, or that are of no use in the database.
_OMITTED = ('label', 'status', 'source', 'inputs_sha256')


class PredictParser(HamlrParser):
    """Make nodes of the Hamiltonians, bands and properties of every structure that could be predicted."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach the outputs of each structure; the job succeeds if at least one structure did."""
        if self.is_not_stashed:
            return exit_code or self.exit_codes.ERROR_NOT_STASHED
        found = 0
        inputs = self.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
        try:
            rows = self._read_rows()
        except ValueError as error:
            self.logger.error(str(error))
            rows, exit_code = {}, exit_code or self.unreadable(error)
        for label in structure_labels(inputs):
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

    def _read_rows(self) -> dict[str, dict]:
        """Return the numbers of all structures that were done, by label; the file may end where the job did."""
        name = PredictCalculation._RESULTS_FILENAME
        if name not in self.retrieved.base.repository.list_object_names():
            return {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(self.retrieved.base.repository.get_object_content(name, 'rb'))
            rows = read_results(path)
        return {
            row['label']: {key: value for key, value in row.items() if key not in _OMITTED}
            for row in rows
            if row.get('status') == DONE
        }

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
        inputs = self.node.inputs
        if 'trajectory' in inputs:
            return get_frame(inputs.trajectory, structure_labels(inputs).index(label))
        return inputs.structures[label]

    def _check(self, hamiltonian: HamiltonianData, label: str):
        """Check that a Hamiltonian is of the structure with a label, in the orbitals of the model."""
        inputs, structure = self.node.inputs, self._structure(label)
        if 'model' in inputs:
            self.check_hamiltonian(hamiltonian, 'predicted', structure, inputs.model.get_description()['basis_hash'])
