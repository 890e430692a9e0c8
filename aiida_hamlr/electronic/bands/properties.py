"""Density of states, charges and levels of one structure, and their file, ``properties.h5``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.files import (
    atomic_hdf5,
    check_digest,
    content_digest,
    read_array,
    read_hdf5,
)

FORMAT = 'hamlr-properties'
VERSION = 2

_ARRAYS = ('dos_energies', 'dos', 'charges', 'levels', 'potential')


@dataclass
class Properties:
    """What follows from a Hamiltonian; all but symbols and positions is optional.

    Parameters
    ----------
    symbols : list of N str
        Species labels, see `aiida_hamlr.electronic.species`; the chemical symbols unless elements have several.
    positions : (N, 3) array
        Å; the profile along z is ``levels`` or ``potential`` over ``positions[:, 2]``.
    dos_energies, dos : (ne,) arrays
        Energies in eV and density of states per eV and cell.
    charges : (N,) array
        Mulliken charges ``Z - sum_{mu in i} (P S)_mumu``, |e|.
    levels : (N,) array
        On-site level of every atom, eV.
    potential : (N,) array
        Mean of ``(H - H0)_mumu`` of every atom, eV: the potential relative to that of neutral atoms.
    """

    symbols: list[str]
    positions: np.ndarray
    dos_energies: np.ndarray | None = None
    dos: np.ndarray | None = None
    charges: np.ndarray | None = None
    levels: np.ndarray | None = None
    potential: np.ndarray | None = None

    def write(self, path: str | Path):
        """Write ``properties.h5``, under a temporary name first."""
        with atomic_hdf5(path, FORMAT, VERSION) as handle:
            handle.attrs['units'] = 'energies eV, lengths Å, charges |e|, density of states 1/eV per cell'
            handle['symbols'] = list(self.symbols)
            handle['positions'] = self.positions
            for name in _ARRAYS:
                if getattr(self, name) is not None:
                    handle[name] = getattr(self, name)
            handle.attrs['sha256'] = content_digest(self._content)

    @property
    def _content(self) -> dict[str, str | np.ndarray]:
        """What is stored, for its digest."""
        arrays = {name: getattr(self, name) for name in ('positions', *_ARRAYS)}
        found = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items() if values is not None}
        return {'symbols': json.dumps(list(self.symbols)), **found}

    @classmethod
    def read(cls, source) -> Properties:
        """Read ``properties.h5`` from a path or a binary stream.

        Raises
        ------
        ValueError
            If the file is truncated, foreign, newer than this program or damaged; the message names the file.
        """
        with read_hdf5(source, FORMAT, VERSION) as handle:
            arrays = {key: read_array(handle, key) for key in _ARRAYS if key in handle}
            symbols = [symbol.decode() for symbol in read_array(handle, 'symbols')]
            properties = cls(symbols, read_array(handle, 'positions'), **arrays)
            check_digest(handle, properties._content)
            properties._check()
            return properties

    def _check(self):
        """Raise ``ValueError`` unless all arrays are of the same atoms and energies, and finite."""
        n_atoms = len(self.symbols)
        shapes = {'positions': (n_atoms, 3)} | dict.fromkeys(('charges', 'levels', 'potential'), (n_atoms,))
        shapes |= dict.fromkeys(('dos_energies', 'dos'), np.shape(self.dos_energies))
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and (np.shape(values) != shape or not np.isfinite(values).all()):
                raise ValueError(f'{name} of shape {np.shape(values)} instead of {shape}, or not finite')
