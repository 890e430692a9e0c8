"""``H - E S`` of one k-point as sparse matrices, their factorisations, and the number of levels below E.

For every energy E the number of levels below it is the number of negative eigenvalues of ``H - E S`` (Sylvester's law
of inertia), exact whatever lies there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from aiida_hamlr.electronic.bands.factorisation import choose_solver, factorise
from aiida_hamlr.electronic.bands.fill import atom_graph, dense_cost, elimination_order, factor_cost
from aiida_hamlr.electronic.bands.lanczos import LARGEST_SPACE, SPARE, SingularShift
from aiida_hamlr.electronic.bands.spinors import sparse_spinor_matrix
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.resources import GIGABYTE
from aiida_hamlr.errors import NumericalError

#: Part of the machine's memory that is used without a limit.
PART_OF_MACHINE = 0.9


@dataclass(frozen=True)
class Sector:
    """Sparse H and S of states that no matrix element couples to others: all of them, or those of one collinear spin.

    Parameters
    ----------
    hamiltonian, overlap : (n, n) sparse array
        Of one k-point, eV and dimensionless; hermitian.
    """

    hamiltonian: sparse.csr_array
    overlap: sparse.csr_array


class ShiftedMatrices:
    """``H - E S`` of one k-point and its factorisations.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the matrix ``spin_orbit`` the levels are those of spinors; with collinear spin those of both spins.
    kpoint : three float
        Fractional.
    n_states : int
        States to be found at once; they take memory too.
    matrix : str
        'hamiltonian' or 'h0'.
    solver : str
        'auto', 'lapack', 'pardiso' or 'superlu'.
    memory_limit : float, optional
        GB of everything; default: 90 % of the machine's.

    Raises
    ------
    ValueError
        If a matrix is missing, or the factors do not fit: said before anything is factorised.
    """

    def __init__(
        self,
        hamiltonian: Hamiltonian,
        kpoint: Sequence[float] = (0.0, 0.0, 0.0),
        n_states: int = 0,
        matrix: str = 'hamiltonian',
        solver: str = 'auto',
        memory_limit: float | None = None,
    ):
        for name in (matrix, 'overlap'):
            if name not in hamiltonian.matrices:
                raise ValueError(f'states around an energy need the matrix {name!r}, which is not there')
        self.kpoint = np.asarray(kpoint, dtype=float)
        self.spinors = hamiltonian.has_spin_orbit
        is_complex = self.spinors or bool(np.abs(2 * self.kpoint - np.round(2 * self.kpoint)).max() > 1e-12)
        self.dtype = np.dtype(complex if is_complex else float)
        order = self._choose_solver(hamiltonian, n_states, solver, memory_limit)
        offsets, n = hamiltonian.pattern.orbital_offsets, hamiltonian.n_orbitals
        copies = (0, n) if self.spinors else (0,)
        self._order = np.concatenate(
            [np.arange(offsets[atom], offsets[atom + 1]) + first for atom in order for first in copies]
        )
        self.sectors = _sectors(hamiltonian, matrix, self.kpoint)

    def _choose_solver(self, hamiltonian: Hamiltonian, n_states: int, solver: str, memory_limit: float | None):
        """Set the plan; return the order of elimination of the atoms."""
        pattern, atoms, components = hamiltonian.pattern, hamiltonian.atoms, 2 if self.spinors else 1
        graph = atom_graph(pattern)
        lengths = np.linalg.norm(atoms.cell[:], axis=1)
        order = elimination_order(graph, atoms.get_scaled_positions(wrap=True) * lengths)
        dimension = components * pattern.dimension
        costs = factor_cost(graph, order, components * pattern.n_orbitals), dense_cost(dimension)
        limit = _machine_memory() if memory_limit is None else memory_limit * GIGABYTE
        # matrices with their indices, thrice while they are made, and the Krylov space with its image
        stored = 3 * (self.dtype.itemsize + 8) * pattern.n_entries * components**2
        space = 2 * self.dtype.itemsize * dimension * LARGEST_SPACE * (n_states + SPARE)
        self.plan = choose_solver(*costs, limit - stored - space, np.issubdtype(self.dtype, complex), solver)
        return order

    @property
    def dimension(self) -> int:
        """Number of levels."""
        return sum(sector.overlap.shape[0] for sector in self.sectors)

    def factors(self, energy: float) -> Iterator[tuple[Sector, object]]:
        """Every sector and the factorisation of its ``H - energy S`` (eV), one after the other."""
        for sector in self.sectors:
            yield sector, factorise(sector.hamiltonian - energy * sector.overlap, self.plan.solver, self._order)

    def counts_below(self, energy: float) -> np.ndarray:
        """(n_sectors,) numbers of levels below an energy, eV."""
        for attempt in range(3):
            try:
                return np.array([factors.n_negative for _, factors in self.factors(energy + attempt * 1e-9)])
            except SingularShift:
                continue
        raise NumericalError(f'the states below {energy:.6f} eV cannot be counted: it is a level; move it by 1 meV')

    def count_below(self, energy: float) -> int:
        """Number of levels below an energy, eV, of all sectors."""
        return int(self.counts_below(energy).sum())


def _sectors(hamiltonian: Hamiltonian, matrix: str, kpoint: np.ndarray) -> list[Sector]:
    """Without spin and of spinors one, with collinear spin two, up and down."""

    def bloch_sum(entries: np.ndarray) -> sparse.csr_array:
        return sparse_bloch_sum(hamiltonian.pattern, entries, kpoint)

    overlap = bloch_sum(hamiltonian.overlap)
    channels = [bloch_sum(entries) for entries in np.atleast_2d(hamiltonian.matrices[matrix])]
    if not hamiltonian.has_spin_orbit:
        return [Sector(channel, overlap) for channel in channels]
    coupling = [bloch_sum(entries) for entries in hamiltonian.spin_orbit]
    matrix = sparse_spinor_matrix(channels, coupling, hamiltonian.magnetization_axis)
    return [Sector(matrix, sparse.block_diag([overlap] * 2, format='csr'))]


def _machine_memory() -> float:
    return PART_OF_MACHINE * os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


def sparse_bloch_sum(pattern: BlockPattern, entries: np.ndarray, kpoint: np.ndarray) -> sparse.csr_array:
    """``M(k) = sum_R exp(2 pi i k.R) M(R)`` as a sparse matrix, (anti)hermitian if ``entries`` is (anti)symmetric.

    Parameters
    ----------
    pattern : BlockPattern
        Of the entries.
    entries : (M,) array
        Of all blocks.
    kpoint : (3,) array
        Fractional; the matrix is real if 2k is a reciprocal vector.
    """
    phases = np.exp(2j * np.pi * pattern.images @ kpoint)
    if np.abs(2 * kpoint - np.round(2 * kpoint)).max() <= 1e-12:
        phases = phases.real
    values = np.repeat(phases, np.diff(pattern.chunk_boundaries)) * entries
    rows, columns = (each.astype(np.int32) for each in pattern.orbital_indices)
    matrix = sparse.coo_array((values, (rows, columns)), shape=(pattern.dimension,) * 2).tocsr()
    matrix.sort_indices()
    return matrix


def count_states(
    hamiltonian: Hamiltonian,
    energies: Sequence[float],
    kpoint: Sequence[float] = (0.0, 0.0, 0.0),
    matrix: str = 'hamiltonian',
    solver: str = 'auto',
    memory_limit: float | None = None,
) -> np.ndarray:
    """Number of levels below energies, exact: the integrated density of states of one k-point, without its states.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the overlap.
    energies : sequence of float
        eV.
    kpoint : three float
        Fractional.
    matrix : str
        'hamiltonian' or 'h0'.
    solver, memory_limit
        See `ShiftedMatrices`.

    Returns
    -------
    (n,) int array
        Each for two electrons, with spin or spin-orbit coupling for one; differences over those of the energies are the
        density of states.
    """
    shifted = ShiftedMatrices(hamiltonian, kpoint, 0, matrix, solver, memory_limit)
    return np.array([shifted.count_below(float(energy)) for energy in energies])
