"""Magnetization and magnetic moments of the atoms with collinear spin."""

from __future__ import annotations

import numpy as np

from aiida_hamlr.electronic.bands.charges import mulliken_populations
from aiida_hamlr.electronic.bands.occupations import Filling
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian


def magnetic_moments(hamiltonian: Hamiltonian, density_matrix: np.ndarray | None = None) -> np.ndarray:
    """Mulliken moments of the atoms, ``sum_{mu in i} ((P_up - P_down) S)_mumu``.

    Their sum is the magnetization of the cell.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With spin, the overlap and, unless it is given, the density matrix.
    density_matrix : (2, M) array, optional
        Entries of spin up and spin down, dimensionless; by default those of the file. Of spinors, of their components
        along and against the axis of the magnetization: the moments are those along the axis.

    Returns
    -------
    (N,) array
        Moments of the atoms, Bohr magnetons.
    """
    up, down = hamiltonian.density_matrix if density_matrix is None else density_matrix
    return mulliken_populations(hamiltonian, up) - mulliken_populations(hamiltonian, down)


def record_spin(hamiltonian: Hamiltonian, filling: Filling):
    """Set magnetization, moments and the Fermi levels of the spins in the attributes; nothing without spin."""
    if hamiltonian.n_spin == 1:
        return
    attributes, moments = hamiltonian.attributes, magnetic_moments(hamiltonian)
    attributes.magnetization, attributes.magnetic_moments = float(moments.sum()), moments.tolist()
    if filling.spin_fermi_levels is not None:
        attributes.spin_fermi_levels = list(filling.spin_fermi_levels)
