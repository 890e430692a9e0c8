"""States around an energy or the gap of a large structure, without dense bands.

Counts of the levels below energies (`shifted`) give the index of every level found by the iteration, hence gap and
Fermi level, and prove that none is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from aiida_hamlr.electronic.bands.lanczos import BLOCK, SPARE, SingularShift, block_lanczos
from aiida_hamlr.electronic.bands.shifted import ShiftedMatrices
from aiida_hamlr.electronic.bands.spinors import spin_expectation
from aiida_hamlr.electronic.bands.states_near import StatesNear
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.errors import NumericalError

#: How far a shift is moved that is a level, eV.
NUDGE = 1.3e-3

#: Energies tried for the gap.
LARGEST_SEARCH = 30

#: Fermi level of the neutral-atom gauge that the search starts from, eV, and its first step.
START, FIRST_STEP = -5.0, 1.0


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
        With the overlap. With the matrix ``spin_orbit`` the states are spinors; with collinear spin they are those of
        both spins.
    n_states : int
        How many; of the spins together.
    energy : float, optional
        eV; default: the middle of the gap or the Fermi level of this k-point, which are searched and need the number
        of electrons.
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
        If there are fewer states, the factors do not fit in the memory, or neither energy nor electrons are known.
    NumericalError
        If the iteration does not converge, or states are missed.
    """
    n_levels = hamiltonian.n_orbitals * 2 // hamiltonian.electrons_per_band
    if not 1 <= n_states < n_levels:
        raise ValueError(
            f'{n_states} levels around the gap: there are {n_levels} at each k-point; ask for 1 to {n_levels - 1}'
        )
    shifted = ShiftedMatrices(hamiltonian, kpoint, n_states, matrix, solver, memory_limit)
    if energy is not None:
        return _states_at(shifted, hamiltonian, energy, n_states)
    occupied = hamiltonian.n_electrons / hamiltonian.electrons_per_band
    start = hamiltonian.attributes.fermi_level
    energy = _near_occupied(shifted, occupied, START if start is None else start, n_states / 4)
    highest, lowest = -np.inf, np.inf  # levels known to hold and not to hold electrons
    for _ in range(LARGEST_SEARCH):
        found = _states_at(shifted, hamiltonian, energy, n_states, occupied)
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


@dataclass(frozen=True)
class _Levels:
    """Converged levels next to a shift; of every level the sector that it belongs to."""

    shift: float
    energies: np.ndarray
    states: np.ndarray
    sectors: np.ndarray
    counts: np.ndarray  # of each sector, below the shift
    reach: float  # distance from the shift within which the levels of all sectors are here

    def counts_below(self, index: int) -> tuple[int, ...]:
        """Levels of each sector below one of these levels, which is within reach."""
        sides = np.where(self.energies < self.shift, -1, 0)
        sides[:index] += 1  # +1: above the shift and below the level; -1: below the shift and not below the level
        return tuple(int(count + sides[self.sectors == s].sum()) for s, count in enumerate(self.counts))


def _states_at(
    shifted: ShiftedMatrices, hamiltonian: Hamiltonian, energy: float, n_states: int, occupied: float | None = None
) -> StatesNear:
    """States next to an energy, around the edges of the gap if these are among them; their number checked by counts."""
    problem = ''
    for more in (1, 2, 4, 8):
        levels = _iterate(shifted, energy, n_states + SPARE * (2 * more - 1), BLOCK * more)
        # Within a radius that is not that of any level, all are found: two counts say how many they are.
        distances = np.abs(levels.energies - levels.shift)
        radii = np.sort(distances[distances <= levels.reach])
        widest = n_states - 1 + int(np.argmax(np.diff(radii[n_states - 1 :], append=radii[-1])))
        radius = 0.5 * (radii[widest] + radii[min(widest + 1, len(radii) - 1)])
        kept = distances < radius
        low, high = (shifted.count_below(levels.shift + sign * radius) for sign in (-1, 1))
        expected_low = levels.counts.sum() - (levels.energies[kept] < levels.shift).sum()
        if kept.sum() >= n_states and (low, high) == (expected_low, low + kept.sum()):
            energies = levels.energies[kept]
            if occupied is not None and low < occupied < low + len(energies):
                first = int(np.clip(occupied - low - n_states / 2, 0, len(energies) - n_states))
            else:
                first = _centred(energies, energy, n_states)
            return _near(shifted, hamiltonian, levels, np.flatnonzero(kept)[first : first + n_states])
        problem = (
            f'between {levels.shift - radius:.6f} and {levels.shift + radius:.6f} eV there are {high - low} levels, of '
            f'which {kept.sum()} were found'
        )
    raise NumericalError(f'{problem}: ask for more states, or compute all bands')


def _iterate(shifted: ShiftedMatrices, energy: float, wanted: int, block: int) -> _Levels:
    """The levels next to an energy, or to one beside it if it is a level."""
    for attempt in range(4):
        shift = energy + attempt * NUDGE
        counts, found = [], []
        try:
            for sector, factors in shifted.factors(shift):
                n = min(wanted, sector.overlap.shape[0] - 1)
                found.append(block_lanczos(sector.overlap, factors.solve, n, shift, shifted.dtype, block))
                counts.append(factors.n_negative)
        except SingularShift:
            continue
        reach = min(np.abs(energies - shift).max() for energies, _ in found)
        energies = np.concatenate([each for each, _ in found])
        sectors = np.repeat(np.arange(len(found)), [len(each) for each, _ in found])
        states = block_diag(*[each for _, each in found])
        order = np.argsort(energies, kind='stable')
        return _Levels(shift, energies[order], states[:, order], sectors[order], np.array(counts), reach)
    raise NumericalError(f'levels lie densely about {energy:.4f} eV; give another energy')


def _near(shifted: ShiftedMatrices, hamiltonian: Hamiltonian, levels: _Levels, chosen: np.ndarray) -> StatesNear:
    """Some consecutive ones of the levels, with their spins."""
    energies, states = levels.energies[chosen], levels.states[:, chosen]
    spins = None
    if hamiltonian.electrons_per_band == 1:
        n = hamiltonian.n_orbitals
        spins = spin_expectation(states, shifted.sectors[0].overlap[:n, :n])
    return StatesNear(
        shifted.kpoint,
        energies,
        states,
        levels.counts_below(chosen[0]),
        hamiltonian.attributes.n_electrons,
        shifted.plan,
        hamiltonian.electrons_per_band,
        spins,
    )


def _centred(energies: np.ndarray, energy: float, n: int) -> int:
    """First of the n consecutive levels of which the farthest is nearest to an energy."""
    starts = np.arange(len(energies) - n + 1)
    farthest = np.maximum(np.abs(energies[starts] - energy), np.abs(energies[starts + n - 1] - energy))
    return int(np.argmin(farthest))
