"""States around an energy or the gap of a large structure, and numbers of states below energies, without dense bands.

For every energy E the number of levels below it is the number of negative eigenvalues of ``H - E S`` (Sylvester's law
of inertia), exact whatever lies there. It gives the index of every level found by the iteration, hence gap and Fermi
level, and proves that none is missed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, Bands
from aiida_hamlr.electronic.bands.factorisation import Plan, choose_solver, factorise
from aiida_hamlr.electronic.bands.fill import atom_graph, dense_cost, elimination_order, factor_cost
from aiida_hamlr.electronic.bands.lanczos import BLOCK, LARGEST_SPACE, SingularShift, block_lanczos
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.resources import GIGABYTE
from aiida_hamlr.errors import NumericalError

#: States beyond the wanted ones, among which an energy far from all levels is found for the count.
SPARE = 8

#: How far a shift is moved that is a level, eV.
NUDGE = 1.3e-3

#: Energies tried for the gap.
LARGEST_SEARCH = 30

#: Fermi level of the neutral-atom gauge that the search starts from, eV, and its first step.
START, FIRST_STEP = -5.0, 1.0

#: Part of the machine's memory that is used without a limit.
PART_OF_MACHINE = 0.9


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


class ShiftedMatrices:
    """``H - E S`` of one k-point and its factorisations.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Without spin.
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
        If a matrix is missing or has spin, or the factors do not fit: said before anything is factorised.
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
        if np.ndim(hamiltonian.matrices[matrix]) != 1 or 'spin_orbit' in hamiltonian.matrices:
            raise ValueError('states around an energy are found without spin only; compute all bands instead')
        pattern, atoms = hamiltonian.pattern, hamiltonian.atoms
        self.kpoint = np.asarray(kpoint, dtype=float)
        is_complex = bool(np.abs(2 * self.kpoint - np.round(2 * self.kpoint)).max() > 1e-12)
        self.dtype = np.dtype(complex if is_complex else float)
        graph = atom_graph(pattern)
        lengths = np.linalg.norm(atoms.cell[:], axis=1)
        order = elimination_order(graph, atoms.get_scaled_positions(wrap=True) * lengths)
        costs = factor_cost(graph, order, pattern.n_orbitals), dense_cost(pattern.dimension)
        limit = _machine_memory() if memory_limit is None else memory_limit * GIGABYTE
        # matrices with their indices, thrice while they are made, and the Krylov space with its image
        stored = 3 * (self.dtype.itemsize + 8) * pattern.n_entries
        space = 2 * self.dtype.itemsize * pattern.dimension * LARGEST_SPACE * (n_states + SPARE)
        self.plan = choose_solver(*costs, limit - stored - space, is_complex, solver)
        offsets = pattern.orbital_offsets
        self._order = np.concatenate([np.arange(offsets[atom], offsets[atom + 1]) for atom in order])
        self.hamiltonian = sparse_bloch_sum(pattern, hamiltonian.matrices[matrix], self.kpoint)
        self.overlap = sparse_bloch_sum(pattern, hamiltonian.overlap, self.kpoint)

    def factors(self, energy: float):
        """Factorisation of ``H - energy S`` (eV)."""
        return factorise(self.hamiltonian - energy * self.overlap, self.plan.solver, self._order)

    def count_below(self, energy: float) -> int:
        """Number of levels below an energy, eV."""
        for attempt in range(3):
            try:
                return self.factors(energy + attempt * 1e-9).n_negative
            except SingularShift:
                continue
        raise NumericalError(f'the states below {energy:.6f} eV cannot be counted: it is a level; move it by 1 meV')


def _machine_memory() -> float:
    return PART_OF_MACHINE * os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


def sparse_bloch_sum(pattern: BlockPattern, entries: np.ndarray, kpoint: np.ndarray) -> sparse.csr_array:
    """``M(k) = sum_R exp(2 pi i k.R) M(R)`` as a sparse matrix, exactly hermitian if ``entries`` is symmetric.

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
        With the overlap, without spin.
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
        Each for two electrons; differences over those of the energies are the density of states.
    """
    shifted = ShiftedMatrices(hamiltonian, kpoint, 0, matrix, solver, memory_limit)
    return np.array([shifted.count_below(float(energy)) for energy in energies])


def states_around(
    hamiltonian: Hamiltonian,
    n_states: int = 32,
    energy: float | None = None,
    kpoint: Sequence[float] = (0.0, 0.0, 0.0),
    matrix: str = 'hamiltonian',
    solver: str = 'auto',
    memory_limit: float | None = None,
) -> StatesNear:
    """The states next to an energy or to the gap, by factorisations of ``H - E S``.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the overlap, without spin.
    n_states : int
        How many.
    energy : float, optional
        eV; default: the middle of the gap or the Fermi level of this k-point, which are searched.
    kpoint : three float
        Fractional.
    matrix : str
        'hamiltonian' or 'h0'.
    solver, memory_limit
        See `ShiftedMatrices`.

    Returns
    -------
    StatesNear
        All levels between its lowest and its highest: their number is that which two counts say.

    Raises
    ------
    ValueError
        If there are fewer states, or the factors do not fit in the memory.
    NumericalError
        If the iteration does not converge, or states are missed.
    """
    if not 1 <= n_states < hamiltonian.n_orbitals:
        raise ValueError(f'{n_states} states of {hamiltonian.n_orbitals} orbitals: ask for at least one, and fewer')
    shifted = ShiftedMatrices(hamiltonian, kpoint, n_states, matrix, solver, memory_limit)
    if energy is not None:
        return _states_at(shifted, energy, n_states, hamiltonian.n_electrons)
    occupied = hamiltonian.n_electrons / 2
    start = hamiltonian.attributes.fermi_level
    energy = _near_occupied(shifted, occupied, START if start is None else start, n_states / 4)
    highest, lowest = -np.inf, np.inf  # levels known to hold and not to hold electrons
    for _ in range(LARGEST_SEARCH):
        found = _states_at(shifted, energy, n_states, hamiltonian.n_electrons, occupied)
        n_below = int(np.clip(np.ceil(occupied - found.first), 0, len(found.energies)))
        if min(n_below, len(found.energies) - n_below) >= min(4, n_states // 4):
            return found
        inside = highest < energy < lowest and found.first < occupied < found.first + len(found.energies)
        highest = max([highest, *found.energies[:n_below]])
        lowest = min([lowest, *found.energies[n_below:]])
        if inside and highest <= energy <= lowest:
            return found
        reach = max(energy - found.energies[0], found.energies[-1] - energy)
        if np.isinf(highest):
            energy -= reach
        elif np.isinf(lowest):
            energy += reach
        else:
            energy = 0.5 * (highest + lowest)
    raise NumericalError(f'the gap of {hamiltonian.atoms.get_chemical_formula()} was not found; give an energy')


def _near_occupied(shifted: ShiftedMatrices, occupied: float, start: float, tolerance: float) -> float:
    """Energy with the occupied levels below it, to a tolerance."""
    known: dict[float, float] = {}
    energy, step = start, FIRST_STEP
    for _ in range(LARGEST_SEARCH):
        known[energy] = shifted.count_below(energy) - occupied
        if abs(known[energy]) <= tolerance:
            return energy
        below = max((each for each, excess in known.items() if excess < 0), default=None)
        above = min((each for each, excess in known.items() if excess > 0), default=None)
        if below is None:
            energy, step = above - step, 2 * step
        elif above is None:
            energy, step = below + step, 2 * step
        else:
            # by the counts, but not too near to either end
            part = known[below] / (known[below] - known[above])
            energy = below + float(np.clip(part, 0.2, 0.8)) * (above - below)
            if above - below < 1e-6:
                return energy
    raise NumericalError(f'no energy with {occupied:g} levels below it is found from {start:.2f} eV on')


def _states_at(
    shifted: ShiftedMatrices, energy: float, n_states: int, n_electrons: float, occupied: float | None = None
) -> StatesNear:
    """States next to an energy, around the edges of the gap if these are among them; their number checked by counts."""
    dimension, problem = shifted.overlap.shape[0], ''
    for more in (1, 2, 4, 8):
        wanted = min(n_states + SPARE * (2 * more - 1), dimension - 1)
        shift, count, energies, states = _iterate(shifted, energy, wanted, BLOCK * more)
        # Within a radius that is not that of any level, all are found: two counts say how many they are.
        radii = np.sort(np.abs(energies - shift))
        widest = n_states - 1 + int(np.argmax(np.diff(radii[n_states - 1 :], append=radii[-1])))
        radius = 0.5 * (radii[widest] + radii[min(widest + 1, wanted - 1)])
        kept = np.abs(energies - shift) < radius
        low, high = shifted.count_below(shift - radius), shifted.count_below(shift + radius)
        if kept.sum() >= n_states and (low, high) == (count - (energies[kept] < shift).sum(), low + kept.sum()):
            energies, states = energies[kept], states[:, kept]
            if occupied is not None and low < occupied < low + len(energies):
                first = int(np.clip(occupied - low - n_states / 2, 0, len(energies) - n_states))
            else:
                first = _centred(energies, energy, n_states)
            chosen = slice(first, first + n_states)
            return StatesNear(
                shifted.kpoint, energies[chosen], states[:, chosen], int(low + first), n_electrons, shifted.plan
            )
        problem = (
            f'between {shift - radius:.6f} and {shift + radius:.6f} eV there are {high - low} levels, of which '
            f'{kept.sum()} were found'
        )
    raise NumericalError(f'{problem}: ask for more states, or compute all bands')


def _iterate(shifted: ShiftedMatrices, energy: float, wanted: int, block: int):
    """Shift, number of levels below it, and the levels next to it with their states."""
    for attempt in range(4):
        shift = energy + attempt * NUDGE
        try:
            factors = shifted.factors(shift)
            found = block_lanczos(shifted.overlap, factors.solve, wanted, shift, shifted.dtype, block)
            return shift, factors.n_negative, *found
        except SingularShift:
            continue
    raise NumericalError(f'levels lie densely about {energy:.4f} eV; give another energy')


def _centred(energies: np.ndarray, energy: float, n: int) -> int:
    """First of the n consecutive levels of which the farthest is nearest to an energy."""
    starts = np.arange(len(energies) - n + 1)
    farthest = np.maximum(np.abs(energies[starts] - energy), np.abs(energies[starts + n - 1] - energy))
    return int(np.argmin(farthest))
