"""Consecutive levels of one k-point with their states, and what they say about gap and Fermi level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, Bands
from aiida_hamlr.electronic.bands.factorisation import Plan
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian


@dataclass(frozen=True)
class StatesNear:
    """Consecutive levels of one k-point and their states.

    Parameters
    ----------
    kpoint : (3,) array
        Fractional.
    energies : (n,) array
        Ascending, eV.
    states : (n_orbitals, n) array
        Coefficients of the Bloch sums of the orbitals, ``c^+ S c = 1``; real if 2k is a reciprocal vector.
    first : int
        Number of levels below the lowest of them.
    n_electrons : float
        Of the cell; two fill a level.
    plan : Plan
        Solver, its memory and operations.
    """

    kpoint: np.ndarray
    energies: np.ndarray
    states: np.ndarray
    first: int
    n_electrons: float
    plan: Plan

    @property
    def edges(self) -> tuple[float, float]:
        """Highest level that holds an electron and lowest with room for one, eV; equal if a level is partly filled.

        Raises
        ------
        ValueError
            If they are not among the levels.
        """
        occupied = self.n_electrons / 2
        highest, lowest = int(np.ceil(occupied - 1e-9)) - 1 - self.first, int(np.floor(occupied + 1e-9)) - self.first
        if min(highest, lowest) < 0 or max(highest, lowest) >= len(self.energies):
            raise ValueError(
                f'levels {self.first + 1} to {self.first + len(self.energies)} do not include both edges of the gap, '
                f'which are beside level {occupied:g}; ask for more states or leave out the energy'
            )
        return float(self.energies[highest]), float(self.energies[lowest])

    def attributes(self, hamiltonian: Hamiltonian, matrix: str = 'hamiltonian') -> BandAttributes:
        """Fermi level and edges at this k-point, for the bands of a Hamiltonian.

        Without the edges among the levels there is neither; without a gap there is a Fermi level alone.
        """
        attributes = BandAttributes(
            formula=hamiltonian.atoms.get_chemical_formula(),
            matrix=matrix,
            n_electrons=hamiltonian.n_electrons,
            first_band=self.first,
        )
        try:
            vbm, cbm = self.edges
        except ValueError:
            return attributes
        attributes.fermi_level = 0.5 * (vbm + cbm)
        if cbm > vbm:
            attributes.vbm, attributes.cbm = vbm, cbm
            attributes.gap = attributes.direct_gap = cbm - vbm
        return attributes

    def bands(self, hamiltonian: Hamiltonian, matrix: str = 'hamiltonian') -> Bands:
        """The levels as bands at one k-point of weight 1."""
        attributes = self.attributes(hamiltonian, matrix)
        energies, kpoints = self.energies[None, None], self.kpoint[None]
        return Bands(kpoints, energies, ('',), weights=np.ones(1), attributes=attributes)
