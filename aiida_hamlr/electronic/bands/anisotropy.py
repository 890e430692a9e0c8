"""Collinear magnetism and spin-orbit coupling together: bands and band energies for any axis of the magnetization.

    H(k) = (H_up + H_dn)/2 (x) 1 + n . sigma (x) (H_up - H_dn)/2 + sum_a sigma_a (x) (-i K_a)

Neither density nor moments answer to the coupling: this is the force theorem, not self-consistency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from aiida_hamlr.electronic.bands.kpoints import monkhorst_pack
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.mesh import default_mesh, recorded_threshold
from aiida_hamlr.electronic.bands.occupations import SMEARING, fill_bands
from aiida_hamlr.electronic.integrals.spin_orbit import set_magnetization_axis
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian


def magnetized_along(hamiltonian: Hamiltonian, coupling: np.ndarray, axis: ArrayLike) -> Hamiltonian:
    """A collinear Hamiltonian with spin-orbit coupling and its magnetization along an axis.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H of spin up and of spin down.
    coupling : (3, M) array
        K_x, K_y and K_z, eV, see `spin_orbit_coupling`.
    axis : (3,) array
        Cartesian, of any length.

    Returns
    -------
    Hamiltonian
        Its bands are those of spinors, as of a file with the axis. Time reversal does not hold: k and -k differ
        without inversion.

    Raises
    ------
    ValueError
        If the Hamiltonian has no collinear spin, or the axis is zero.
    """
    matrices, attributes = {**hamiltonian.matrices, SPIN_ORBIT: coupling}, replace(hamiltonian.attributes)
    result = replace(hamiltonian, matrices=matrices, attributes=attributes)
    set_magnetization_axis(result, axis)
    return result


def band_energies_by_axis(
    hamiltonian: Hamiltonian,
    coupling: np.ndarray,
    axes: Sequence[ArrayLike],
    mesh: Sequence[int] | None = None,
    smearing: float = SMEARING,
) -> np.ndarray:
    """Energy of the filled bands for several axes of the magnetization; differences are the magnetic anisotropy.

    By the force theorem the difference of two axes is that of the total energies, as far as density and moments do not
    change (Daalderop, Kelly and Schuurmans, Phys. Rev. B 41, 11919 (1990)). Of a metal it is the free energy
    ``sum f e - T S`` of the Fermi-Dirac filling, and needs a dense mesh: look at its convergence.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With collinear spin and the number of electrons.
    coupling : (3, M) array
        See `spin_orbit_coupling`, eV.
    axes : sequence of (3,) arrays
        Cartesian, of any length.
    mesh : three int, optional
        k-points; default: see `default_mesh`.
    smearing : float
        eV.

    Returns
    -------
    (n_axes,) array
        eV per cell.

    Raises
    ------
    ValueError
        If the Hamiltonian has no collinear spin, or an axis is zero.
    """
    # A magnetization breaks time reversal: the whole mesh is needed.
    kpoints, _ = monkhorst_pack(tuple(mesh or default_mesh(hamiltonian)), time_reversal=False)
    threshold = recorded_threshold(hamiltonian)
    energies = []
    for axis in axes:
        turned = magnetized_along(hamiltonian, coupling, axis)
        n_bands = turned.n_occupied + max(16, turned.n_occupied // 4)
        levels = eigenvalues(turned, kpoints, n_bands=n_bands, overlap_threshold=threshold)
        energies.append(free_energy(levels, hamiltonian.n_electrons, smearing))
    return np.array(energies)


def free_energy(levels: np.ndarray, n_electrons: float, smearing: float = SMEARING) -> float:
    """``sum f e - T S`` per cell of filled bands of spinors (nk, nb), eV, on a whole mesh."""
    weights = np.full(len(levels), 1 / len(levels))
    f = fill_bands(levels, weights, n_electrons, smearing, electrons_per_band=1).occupations
    return float((f * levels + smearing * (xlogy(f, f) + xlogy(1 - f, 1 - f))).sum() / len(levels))
