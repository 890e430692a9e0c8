"""Parser of `hamlr predict`."""

from __future__ import annotations

from pathlib import Path

import h5py
from aiida import orm

from aiida_hamlr.calculations.predict import PredictCalculation, structure_labels
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.electronic.files import open_hdf5
from aiida_hamlr.parsers.base import HamlrParser

__all__ = ('PredictParser',)


class PredictParser(HamlrParser):
    """Make nodes of the Hamiltonians and the bands of every structure that could be predicted."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach what is there for each structure; a structure that failed does not fail the job."""
        folder = folder / PredictCalculation._OUTPUT_SUBFOLDER
        found = 0
        for label in structure_labels(self.node.inputs):
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
            with open_hdf5(bands) as handle:
                self.out(f'bands.{label}', _make_bands(handle))
        return hamiltonian.is_file() or bands.is_file()


def _make_bands(handle: h5py.File) -> orm.BandsData:
    """Return a node of the content of a ``bands.h5``."""
    try:
        kpoints, eigenvalues = handle['kpoints'][:], handle['eigenvalues'][:]
        labels = handle['labels'][:] if 'labels' in handle else []
    except (KeyError, OSError) as error:
        raise ValueError(f'{handle.filename}: incomplete file of bands: {error}') from error
    bands = orm.BandsData()
    bands.set_kpoints(kpoints)
    bands.set_bands(eigenvalues[0] if len(eigenvalues) == 1 else eigenvalues, units='eV')
    named = [(index, label.decode()) for index, label in enumerate(labels) if label]
    if named:
        bands.labels = named
    return bands
