"""Density of states, charges and levels of one structure, and their file, ``properties.h5``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.files import atomic_hdf5, check_format, damage_as_value_error, open_hdf5, read_array

FORMAT = 'hamlr-properties'
VERSION = 1

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

    @classmethod
    def read(cls, source) -> Properties:
        """Read ``properties.h5`` from a path or a binary stream.

        Raises
        ------
        ValueError
            If the file is truncated, foreign, newer than this program or damaged; the message names the file.
        """
        with open_hdf5(source) as handle:
            check_format(handle, FORMAT, VERSION)
            with damage_as_value_error(getattr(source, 'name', source)):
                arrays = {key: read_array(handle, key) for key in _ARRAYS if key in handle}
                symbols = [symbol.decode() for symbol in handle['symbols'][:]]
                return cls(symbols, read_array(handle, 'positions'), **arrays)
