"""The density of states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid

from aiida_hamlr.electronic.bands.kpoints import full_mesh_index
from aiida_hamlr.electronic.bands.mesh import MeshSolution, sample
from aiida_hamlr.electronic.bands.projections import OrbitalGroup, project_states
from aiida_hamlr.electronic.bands.tetrahedra import mesh_tetrahedra, tetrahedron_weights
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: How the levels of a mesh become a density.
METHODS = ('gaussian', 'tetrahedra')

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
    fermi_level : float, optional
        eV; None if the number of electrons is not known.
    by_spin : (2, ne) array, optional
        Of spin up and spin down, 1/eV; None without spin.
    groups : tuple of OrbitalGroup
        What the density is projected on; empty without projection.
    projected : (n_spin, n_groups, ne) array, optional
        Density of each group, 1/eV per cell; without spin both spins together. Their sum is the total.
    """

    energies: np.ndarray
    values: np.ndarray
    fermi_level: float | None
    by_spin: np.ndarray | None = None
    groups: tuple[OrbitalGroup, ...] = ()
    projected: np.ndarray | None = None

    @property
    def integrated(self) -> np.ndarray:
        """(ne,) states per cell below the energies."""
        return cumulative_trapezoid(self.values, self.energies, initial=0.0)


def density_of_states(
    hamiltonian: Hamiltonian,
    mesh: Sequence[int] | MeshSolution | None = None,
    broadening: float = BROADENING,
    overlap_threshold: float | None = None,
    method: str = 'gaussian',
    projection: str | None = None,
) -> DensityOfStates:
    """Density of states over all computed bands, and its parts on groups of orbitals.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``.
    mesh : three int or MeshSolution, optional
        Default: as in `sample`.
    broadening : float
        Standard deviation of the Gaussians, eV. The energies are a quarter of it apart, also with tetrahedra.
    overlap_threshold : float, optional
        See `eigenvalues`; default: the recorded one.
    method : str
        'gaussian', or 'tetrahedra' for the linear tetrahedron method, which does not broaden.
    projection : str, optional
        'species', 'shell', 'm', 'atom' or 'orbital', see `orbital_groups`; default: none.

    Returns
    -------
    DensityOfStates
        From five standard deviations below the lowest computed level to five above the highest, energies in eV. The
        upper end lacks the bands that were not computed.

    Raises
    ------
    ValueError
        If there is no such method or projection.
    """
    if method not in METHODS:
        raise ValueError(f'method {method!r} for the density of states: choose {" or ".join(METHODS)}')
    solution = sample(hamiltonian, mesh, overlap_threshold)
    levels = solution.eigenvalues
    spins = levels[None] if levels.ndim == 2 else levels
    energies = np.arange(levels.min() - MARGIN * broadening, levels.max() + MARGIN * broadening, STEP * broadening)
    groups, shares = (), np.ones((*spins.shape, 1))
    if projection is not None:
        groups, found = project_states(hamiltonian, solution.kpoints, solution.states, projection)
        shares = np.concatenate([shares, found.reshape(*spins.shape, -1)], axis=-1)
    if method == 'tetrahedra':
        parts = _by_tetrahedra(hamiltonian, solution, spins, shares, energies)
    else:
        parts = [
            weighted_gaussians(each, solution.weights, part, energies, broadening)
            for each, part in zip(spins, shares, strict=True)
        ]
    parts = solution.electrons_per_band * np.array(parts)
    return DensityOfStates(
        energies,
        parts[:, 0].sum(axis=0),
        None if solution.filling is None else solution.filling.fermi_level,
        parts[:, 0] if len(parts) == 2 else None,
        groups,
        parts[:, 1:] if groups else None,
    )


def _by_tetrahedra(hamiltonian, solution: MeshSolution, spins, shares, energies) -> list[np.ndarray]:
    """(1 + n_groups, ne) for each spin, one electron a state."""
    full = full_mesh_index(solution.divisions, time_reversal=solution.magnetization_axis is None)
    tetrahedra = mesh_tetrahedra(solution.divisions, reciprocal(hamiltonian.atoms.cell[:]))
    results = []
    for levels, part in zip(spins, shares, strict=True):
        weights = tetrahedron_weights(levels[full], tetrahedra, energies)
        results.append((weights @ part[full].reshape(-1, part.shape[-1])).T)
    return results


def weighted_gaussians(
    levels: np.ndarray, weights: np.ndarray, shares: np.ndarray, energies: np.ndarray, broadening: float
) -> np.ndarray:
    """Sums of Gaussians at the levels of one spin, each times its shares.

    Parameters
    ----------
    levels : (nk, nb) array
        eV.
    weights : (nk,) array
        Sum 1.
    shares : (nk, nb, m) array
        Without unit.
    energies : (ne,) array
        eV.
    broadening : float
        Standard deviation, eV.

    Returns
    -------
    (m, ne) array
        1/eV.
    """
    flat = np.asarray(levels, dtype=float).ravel()
    factors = (shares * np.asarray(weights)[:, None, None]).reshape(len(flat), -1)
    result = np.zeros((len(energies), factors.shape[1]))
    # In blocks of levels: the full table of Gaussians of a large mesh would not fit.
    for start in range(0, len(flat), 4096):
        block = slice(start, start + 4096)
        x = (np.asarray(energies)[:, None] - flat[None, block]) / broadening
        result += np.exp(-0.5 * x * x) @ factors[block]
    return result.T / (broadening * np.sqrt(2 * np.pi))


def broaden(
    eigenvalues: np.ndarray,
    weights: np.ndarray,
    energies: np.ndarray,
    broadening: float = 0.1,
    electrons_per_band: float | None = None,
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
    electrons_per_band : float, optional
        Default: 2, with spin 1.

    Returns
    -------
    (ne,) array
        States per eV and cell.
    """
    levels = np.asarray(eigenvalues, dtype=float)
    spins = levels[None] if levels.ndim == 2 else levels
    ones = np.ones((*spins.shape[1:], 1))
    total = sum(weighted_gaussians(spin, weights, ones, energies, broadening)[0] for spin in spins)
    return (electrons_per_band or 2.0 / len(spins)) * total
