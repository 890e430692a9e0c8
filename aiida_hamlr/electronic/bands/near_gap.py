"""States around an energy or the gap of a large structure, without dense bands.

Counts of the levels below energies (`shifted`) give the index of every level found by the iteration, hence gap and
Fermi level, and prove that none is missed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_hamlr.electronic.bands.lanczos import BLOCK, SPARE, SingularShift, block_lanczos
from aiida_hamlr.electronic.bands.shifted import ShiftedMatrices
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
