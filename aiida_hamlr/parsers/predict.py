"""Parser of `hamlr predict`."""

from __future__ import annotations

from pathlib import Path

from aiida import orm
from aiida.common.links import LinkType

from aiida_hamlr.calculations.predict import PredictCalculation, structure_labels
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.electronic.bands import Bands
from aiida_hamlr.parsers.base import HamlrParser

__all__ = ('PredictParser',)


class PredictParser(HamlrParser):
    """Make nodes of the Hamiltonians and the bands of every structure that could be predicted."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach what is there for each structure; a structure that failed does not fail the job."""
        folder = folder / PredictCalculation._OUTPUT_SUBFOLDER
        found = 0
        inputs = self.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
        for label in structure_labels(inputs):
            try:
                found += self._parse_structure(folder / label, label)
            except ValueError as error:
                self.logger.error(f'{label}: {error}')
                exit_code = exit_code or self.unreadable(error)
        if exit_code is None and not found:
            return self.exit_codes.ERROR_ALL_STRUCTURES_FAILED.format(reason=self.reason)
        return exit_code

    def _parse_structure(self, folder: Path, label: str) -> bool:
        hamiltonian, bands = folder / HamiltonianData.FILENAME, folder / 'bands.h5'
        if hamiltonian.is_file():
            self.out(f'hamiltonians.{label}', HamiltonianData.from_file(hamiltonian))
        if bands.is_file():
            self.out(f'bands.{label}', _make_bands(Bands.read(bands)))
        return hamiltonian.is_file() or bands.is_file()


def _make_bands(bands: Bands) -> orm.BandsData:
    """Return a node of bands."""
    node = orm.BandsData()
    node.set_kpoints(bands.kpoints, weights=bands.weights)
    energies = bands.eigenvalues
    node.set_bands(energies[0] if len(energies) == 1 else energies, units='eV')
    labels = [(index, label) for index, label in enumerate(bands.labels) if label]
    if labels:
        node.labels = labels
    return node
