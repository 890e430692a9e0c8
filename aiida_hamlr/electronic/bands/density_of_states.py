"""The density of states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aiida_hamlr.electronic.bands.mesh import MeshSolution, sample
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: Default standard deviation of the Gaussians, eV.
BROADENING = 0.1

#: Step of the energies, in standard deviations.
STEP = 0.25

#: How far the energies go beyond the levels, in standard deviations.
MARGIN = 5.0


@dataclass(frozen=True)
class DensityOfStates:
    """A density of states.

    Parameters
    ----------
    energies : (ne,) array
        eV.
    values : (ne,) array
        States per eV and cell, both spins together.
    fermi_level : float
        eV.
    """

    energies: np.ndarray
    values: np.ndarray
    fermi_level: float


def density_of_states(
    hamiltonian: Hamiltonian,
    mesh: Sequence[int] | MeshSolution | None = None,
    broadening: float = BROADENING,
    overlap_threshold: float | None = None,
) -> DensityOfStates:
    """Density of states with Gaussian broadening, over all computed bands.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``.
    mesh : three int or MeshSolution, optional
        Default: as in `sample`.
    broadening : float
        Standard deviation of the Gaussians, eV.
    overlap_threshold : float, optional
        See `eigenvalues`; default: the recorded one.

    Returns
    -------
    DensityOfStates
        From five standard deviations below the lowest computed level to five above the highest. The upper end lacks
        the bands that were not computed.
    """
    solution = sample(hamiltonian, mesh, overlap_threshold)
    levels = solution.eigenvalues
    energies = np.arange(levels.min() - MARGIN * broadening, levels.max() + MARGIN * broadening, STEP * broadening)
    values = broaden(levels, solution.weights, energies, broadening, solution.electrons_per_band)
    return DensityOfStates(energies, values, solution.filling.fermi_level)


def broaden(
    eigenvalues: np.ndarray,
    weights: np.ndarray,
    energies: np.ndarray,
    broadening: float = 0.1,
    electrons_per_band: int | None = None,
) -> np.ndarray:
    """Sum of Gaussians at the levels of a mesh, both spins together.

    Parameters
    ----------
    eigenvalues : (nk, nb) or (2, nk, nb) array
        eV.
    weights : (nk,) array
        Sum 1.
    energies : (ne,) array
        Where to evaluate, eV.
    broadening : float
        Standard deviation of the Gaussian, eV.
    electrons_per_band : int, optional
        1 for bands of spinors; default: 2, with a leading spin axis 1.

    Returns
    -------
    (ne,) array
        States per eV and cell.
    """
    levels = np.asarray(eigenvalues, dtype=float)
    spins = levels[None] if levels.ndim == 2 else levels
    state_weights = np.broadcast_to(
        (electrons_per_band or 2 / len(spins)) * np.asarray(weights)[None, :, None], spins.shape
    ).ravel()
    levels = spins.ravel()
    result = np.zeros(len(energies))
    # In blocks of levels: the full table of Gaussians of a large mesh would not fit.
    for start in range(0, len(levels), 4096):
        block = slice(start, start + 4096)
        x = (np.asarray(energies)[:, None] - levels[None, block]) / broadening
        result += np.exp(-0.5 * x * x) @ state_weights[block]
    return result / (broadening * np.sqrt(2 * np.pi))
