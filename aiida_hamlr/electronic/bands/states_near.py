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
    states : (n_orbitals, n) or (2 n_orbitals, n) array
        Coefficients of the Bloch sums of the orbitals, ``c^+ S c = 1``; with collinear spin and of spinors, those of
        spin up before those of spin down. Real if 2k is a reciprocal vector and there is no spin-orbit coupling.
    below : tuple of int
        Number of levels below the lowest of them; with collinear spin those of spin up and of spin down.
    n_electrons : float, optional
        Of the cell; None if it is not known.
    plan : Plan
        Solver, its memory and operations.
    electrons_per_level : int
        2, with collinear spin or of spinors 1.
    spins : (3, n) array, optional
        ``<sigma>`` of the levels, dimensionless; along z with collinear spin.
    """

    kpoint: np.ndarray
    energies: np.ndarray
    states: np.ndarray
    below: tuple[int, ...]
    n_electrons: float | None
    plan: Plan
    electrons_per_level: int = 2
    spins: np.ndarray | None = None

    @property
    def first(self) -> int:
        """Number of levels below the lowest of them."""
        return sum(self.below)

    @property
    def edges(self) -> tuple[float, float]:
        """Highest level that holds an electron and lowest with room for one, eV; equal if a level is partly filled.

        Raises
        ------
        ValueError
            If they are not among the levels, or the number of electrons is not known.
        """
        if self.n_electrons is None:
            raise ValueError('the number of electrons is not known, so neither are the edges of the gap')
        occupied = self.n_electrons / self.electrons_per_level
        highest, lowest = int(np.ceil(occupied - 1e-9)) - 1 - self.first, int(np.floor(occupied + 1e-9)) - self.first
        if min(highest, lowest) < 0 or max(highest, lowest) >= len(self.energies):
            raise ValueError(
                f'levels {self.first + 1} to {self.first + len(self.energies)} do not include both edges of the gap, '
                f'which are beside level {occupied:g}; ask for more states or leave out the energy'
            )
        return float(self.energies[highest]), float(self.energies[lowest])

    @property
    def magnetization(self) -> float | None:
        """Of the cell at this k-point, Bohr magnetons: 0 without spin; None for spinors or a partly filled level."""
        vbm, cbm = self.edges
        if len(self.below) == 1:
            return 0.0 if self.electrons_per_level == 2 else None
        if cbm <= vbm:
            return None
        filled = round(self.n_electrons) - self.first
        return float(self.below[0] - self.below[1] + np.sign(self.spins[2, :filled]).sum())

    def attributes(self, hamiltonian: Hamiltonian, matrix: str = 'hamiltonian') -> BandAttributes:
        """Fermi level and edges at this k-point, for the bands of a Hamiltonian.

        Without the edges among the levels, or the number of electrons, there is neither; of a metal, a Fermi level and
        the gap 0.
        """
        attributes = BandAttributes(
            formula=hamiltonian.atoms.get_chemical_formula(),
            matrix=matrix,
            n_electrons=self.n_electrons,
            electrons_per_band=1 if self.electrons_per_level == 1 else None,
            magnetization_axis=None if (axis := hamiltonian.magnetization_axis) is None else axis.tolist(),
            first_band=self.first,
        )
        try:
            vbm, cbm = self.edges
        except ValueError:
            return attributes
        attributes.fermi_level, attributes.gap = 0.5 * (vbm + cbm), cbm - vbm
        if cbm > vbm:
            attributes.vbm, attributes.cbm = vbm, cbm
            attributes.direct_gap = attributes.gap
        return attributes

    def bands(self, hamiltonian: Hamiltonian, matrix: str = 'hamiltonian') -> Bands:
        """The levels as bands at one k-point of weight 1; those of both collinear spins together, with their spins."""
        attributes = self.attributes(hamiltonian, matrix)
        energies, kpoints = self.energies[None, None], self.kpoint[None]
        spins = None if self.spins is None else self.spins[None]
        return Bands(kpoints, energies, ('',), weights=np.ones(1), spins=spins, attributes=attributes)
