"""Bands on a mesh, their filling and the density matrix, and the default meshes and numbers of bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aiida_hamlr.electronic.bands.kpoints import MESH_SPACING, mesh_from_spacing, monkhorst_pack
from aiida_hamlr.electronic.bands.kspace import BlochSum, eigenvalues, eigenvectors, own_inverse
from aiida_hamlr.electronic.bands.occupations import SMEARING, Filling, fill_bands
from aiida_hamlr.electronic.bands.spinors import spins_along
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: Sum of squares of the coefficients of an occupied state that bonds cannot explain: the overlap of a bonding state is
#: above one, and that of a state with this sum below 0.01.
GHOST = 100.0


@dataclass(frozen=True)
class MeshSolution:
    """Bands on a mesh and what follows from filling them.

    Parameters
    ----------
    kpoints, weights : (nk, 3), (nk,) arrays
    eigenvalues : (nk, nb) or (2, nk, nb) array
        eV; the occupied bands and some above.
    states : (nk, n, nb) or (2, nk, n, nb) array, optional
        Coefficients of the bands in the n orbitals, of spinors in 2 n, see `eigenvectors`; None if only energies were
        computed.
    filling : Filling, optional
        None if the Hamiltonian does not record its electrons.
    pattern : BlockPattern
        Of the Hamiltonian.
    divisions : (int, int, int)
        Of the mesh, along the reciprocal vectors.
    n_ghosts : int
        Largest number at a k-point of occupied states that are combinations of nearly dependent orbitals (``GHOST``):
        errors of the matrix elements, not levels of the crystal. If only energies were computed, at the points that are
        their own inverse, which include Gamma.
    matrix : str
        What was diagonalised, 'hamiltonian' or 'h0'.
    overlap_threshold : float
        See `eigenvalues`.
    electrons_per_band : int
        As `Hamiltonian.electrons_per_band` says.
    magnetization_axis : (3,) array, optional
        Of spinors of a magnetic structure, see `Hamiltonian.magnetization_axis`. The mesh is not reduced by time
        reversal then.
    """

    kpoints: np.ndarray
    weights: np.ndarray
    eigenvalues: np.ndarray
    states: np.ndarray | None
    filling: Filling | None
    pattern: BlockPattern
    divisions: tuple[int, int, int]
    n_ghosts: int = 0
    matrix: str = 'hamiltonian'
    overlap_threshold: float = 0.0
    electrons_per_band: int = 2
    magnetization_axis: np.ndarray | None = None

    @property
    def _filled(self) -> Filling:
        if self.filling is None:
            raise ValueError('the number of electrons is not known, so no band is filled')
        return self.filling

    @property
    def magnetization(self) -> float:
        """Electrons of spin up less those of spin down per cell, Bohr magnetons; 0 without collinear spin.

        Of spinors it needs the overlap: it is the sum of the `magnetic_moments`.
        """
        if self.eigenvalues.ndim == 2:
            return 0.0
        up, down = (self.weights @ self._filled.occupations.reshape(self.eigenvalues.shape)).sum(axis=1)
        return float(up - down)

    @cached_property
    def density_matrix(self) -> np.ndarray:
        """(M,) or (2, M) ``P = sum_k w_k sum_n f c c^+`` in real space, entries of the Hamiltonian's pattern.

        Of spinors it is (M,), the sum over both components; of a magnetic structure (2, M), of the components along
        and against the axis of the magnetization.

        Raises
        ------
        ValueError
            If only energies were computed, or the number of electrons is not known.
        """
        if self.states is None:
            raise ValueError('the density matrix needs the states on the mesh, of which only energies were computed')
        shape = (-1, *self.states.shape[-3:])
        states, occupations = self.states.reshape(shape), self._filled.occupations.reshape(-1, *shape[1::2])
        sums = BlochSum(self.pattern)
        n_parts = len(states) if self.magnetization_axis is None else 2
        density = np.zeros((n_parts, self.pattern.n_entries))
        for index, (kpoint, weight) in enumerate(zip(self.kpoints, self.weights, strict=True)):
            phases = sums.phases(kpoint[None])[:, 0].conj()[sums.image_of_entry]
            for spin, filled in enumerate(occupations[:, index]):
                coefficients = states[spin, index][:, filled > 0]
                n_components = len(coefficients) // sums.n_orbitals
                components = coefficients.reshape(n_components, sums.n_orbitals, coefficients.shape[1])
                if self.magnetization_axis is not None:
                    components = spins_along(components, self.magnetization_axis)
                for component, part in enumerate(components):
                    dense = (part * filled[filled > 0]) @ part.conj().T
                    place = spin if self.magnetization_axis is None else component
                    density[place] += weight * (dense.ravel()[sums.element_of_entry] * phases).real
        density = self.pattern.symmetrize(density)
        return density if n_parts == 2 else density[0]


def default_mesh(hamiltonian: Hamiltonian) -> tuple[int, int, int]:
    """The mesh recorded with a Hamiltonian, or else one whose points are at most 0.25 1/Å apart."""
    recorded = hamiltonian.attributes.kpoints
    if recorded is not None and len(recorded) == 3:
        return tuple(int(n) for n in recorded)
    return mesh_from_spacing(hamiltonian.atoms, MESH_SPACING)


def default_n_bands(hamiltonian: Hamiltonian) -> int:
    """The occupied bands and as many empty ones, at least eight; all if the number of electrons is not known."""
    if hamiltonian.attributes.n_electrons is None:
        return hamiltonian.n_orbitals * (2 if hamiltonian.has_spin_orbit else 1)
    return hamiltonian.n_occupied + max(8, hamiltonian.n_occupied)


def recorded_threshold(hamiltonian: Hamiltonian, overlap_threshold: float | None = None) -> float:
    """An overlap threshold, or, for None, the one recorded with a Hamiltonian; see `eigenvalues`."""
    return (hamiltonian.attributes.overlap_threshold or 0.0) if overlap_threshold is None else overlap_threshold


def solve_mesh(
    hamiltonian: Hamiltonian,
    mesh,
    smearing: float = SMEARING,
    matrix: str = 'hamiltonian',
    n_bands: int | None = None,
    overlap_threshold: float = 0.0,
    vectors: bool = True,
) -> MeshSolution:
    """Diagonalise on a Gamma-centred mesh and fill the bands.

    The solution makes the density matrix when it is asked for:
    ``P_mu,nu(R) = Re sum_k w_k sum_n f_nk c_mu c_nu^* exp(-2 pi i k.R)``. Since the overlap has no elements outside
    the pattern, the sum of ``P * S`` over the stored entries is exactly the number of electrons.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its bands are filled if it records ``n_electrons``; with spin and ``fixed_magnetization``, each spin has its
        own Fermi level, unless the bands are those of spinors.
    mesh : three int
        Divisions along the reciprocal vectors.
    smearing : float
        eV.
    matrix : str
        'hamiltonian' or 'h0'.
    n_bands : int, optional
        How many bands to compute at least; default: those that may be occupied, all if that is not known.
    overlap_threshold : float
        See `eigenvalues`.
    vectors : bool
        Whether to keep the states, for densities and projections; energies alone take half the time.

    Returns
    -------
    MeshSolution
        Energies (eV), states, occupations and density matrix.
    """
    n_electrons = hamiltonian.attributes.n_electrons
    axis = hamiltonian.magnetization_axis
    kpoints, weights = monkhorst_pack(mesh, time_reversal=axis is None)
    n_spin = np.atleast_2d(hamiltonian.matrices[matrix]).shape[0] if matrix in hamiltonian.matrices else 1
    per_band = 1 if n_spin == 2 or hamiltonian.has_spin_orbit else 2
    n_spin = 1 if hamiltonian.has_spin_orbit else n_spin
    if n_electrons is not None:
        occupied = hamiltonian.n_occupied * n_spin
        n_bands = max(n_bands or 0, occupied + max(8, occupied // 4))
    with_states = np.full(len(kpoints), True) if vectors else own_inverse(kpoints)
    energies, states = _solve_partly(hamiltonian, kpoints, with_states, (matrix, n_bands, overlap_threshold))
    filling, n_ghosts = None, 0
    if n_electrons is not None:
        fixed = None if hamiltonian.has_spin_orbit else hamiltonian.attributes.fixed_magnetization
        filling = fill_bands(energies, weights, n_electrons, smearing, fixed, per_band)
        occupations = filling.occupations.reshape(n_spin, *energies.shape[-2:])[:, with_states]
        sizes = np.square(np.abs(states)).sum(axis=-2).reshape(occupations.shape)
        n_ghosts = int(((occupations > 0.25 * per_band) & (sizes > GHOST)).sum(axis=2).max())
    return MeshSolution(
        kpoints,
        weights,
        energies,
        states if vectors else None,
        filling,
        hamiltonian.pattern,
        tuple(int(n) for n in mesh),
        n_ghosts,
        matrix,
        overlap_threshold,
        per_band,
        axis,
    )


def _solve_partly(
    hamiltonian: Hamiltonian, kpoints: np.ndarray, with_states: np.ndarray, settings: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Energies at all k-points, and the states at those of a mask, with the settings of `eigenvalues`."""
    some, states = eigenvectors(hamiltonian, kpoints[with_states], *settings)
    if with_states.all():
        return some, states
    others = eigenvalues(hamiltonian, kpoints[~with_states], *settings)
    n_bands = min(some.shape[-1], others.shape[-1])
    energies = np.empty((*others.shape[:-2], len(kpoints), n_bands))
    energies[..., with_states, :], energies[..., ~with_states, :] = some[..., :n_bands], others[..., :n_bands]
    return energies, states[..., :n_bands]


def sample(
    hamiltonian: Hamiltonian, mesh: Sequence[int] | MeshSolution | None = None, overlap_threshold: float | None = None
) -> MeshSolution:
    """Bands on a mesh as the commands compute them: that of `default_mesh`, with `default_n_bands` at least.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``.
    mesh : three int or MeshSolution, optional
        Another mesh, or a solution, which is returned as it is.
    overlap_threshold : float, optional
        See `eigenvalues`; default: the recorded one.
    """
    if isinstance(mesh, MeshSolution):
        return mesh
    return solve_mesh(
        hamiltonian,
        default_mesh(hamiltonian) if mesh is None else mesh,
        n_bands=default_n_bands(hamiltonian),
        overlap_threshold=recorded_threshold(hamiltonian, overlap_threshold),
    )


def density_matrix(
    hamiltonian: Hamiltonian, mesh, smearing: float = SMEARING, matrix: str = 'hamiltonian'
) -> np.ndarray:
    """Entries of the density matrix, (M,) or (2, M); see `solve_mesh`."""
    return solve_mesh(hamiltonian, mesh, smearing, matrix).density_matrix
