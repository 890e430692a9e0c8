"""Dimensions of the FFT grid, as Quantum ESPRESSO chooses them."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.neighbour_search import close_atoms
from aiida_hamlr.electronic.species import species_numbers
from aiida_hamlr.electronic.units import BOHR

#: Tolerance of positions for symmetries, Å.
TOLERANCE = 1e-4

#: Atoms above which it is checked first whether there can be a symmetry: finding them all is not linear.
MANY_ATOMS = 1000

#: Distances to neighbours by which atoms are told apart, and how far these are sought, Å.
_N_DISTANCES, _REACH = 8, 6.0


def fft_grid(cell: np.ndarray, ecutrho: float, factors: tuple[int, int, int] = (1, 1, 1)) -> tuple[int, int, int]:
    """Dimensions of the FFT grid that Quantum ESPRESSO chooses.

    Twice the largest index of a reciprocal vector within the cutoff, plus one, along each axis, rounded up to a
    multiple of ``factors`` with no prime factors but 2, 3 and 5 (``realspace_grid_init`` and ``good_fft_order``).

    Parameters
    ----------
    cell : (3, 3) array
        Å.
    ecutrho : float
        Cutoff of density and potential, Ry.
    factors : three int
        As `symmetry_factors` gives them.

    Raises
    ------
    ValueError
        If the cutoff is not positive.
    """
    if not ecutrho > 0:
        raise ValueError(f'the density cutoff must be positive, got {ecutrho} Ry')
    cell = np.asarray(cell) / BOHR
    vectors = reciprocal(cell)
    bounds = (np.sqrt(ecutrho) * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int) + 1
    sizes = []
    for axis in range(3):
        u, v = (a for a in range(3) if a != axis)
        span_u, span_v = (np.arange(-bounds[a], bounds[a] + 1) for a in (u, v))
        plane = span_u[:, None, None] * vectors[u] + span_v[None, :, None] * vectors[v]
        index = bounds[axis]
        while index and (np.sum((plane + index * vectors[axis]) ** 2, axis=-1)).min() > ecutrho:
            index -= 1
        sizes.append(_good_fft_order(2 * int(index) + 1, factors[axis]))
    return tuple(sizes)


def symmetry_factors(atoms: Atoms) -> tuple[int, int, int]:
    """Numbers that must divide the grid dimensions, so that fractional translations map the grid onto itself.

    As in Quantum ESPRESSO, translations by 1/2, 1/3, 1/4 and 1/6 count; in a cell that is not primitive none does.

    Parameters
    ----------
    atoms : ase.Atoms
        Cell and atoms, whose fractional translations are found.
    """
    if len(atoms) > MANY_ATOMS and _has_no_equivalent_atoms(atoms):
        return (1, 1, 1)
    import spglib

    found = spglib.get_symmetry(
        (atoms.cell[:], atoms.get_scaled_positions(), species_numbers(atoms)), symprec=TOLERANCE
    )
    if found is None:
        return (1, 1, 1)
    rotations, translations = found['rotations'], found['translations']
    translations = translations - np.round(translations)
    if sum((rotation == np.eye(3)).all() for rotation in rotations) > 1:
        return (1, 1, 1)
    factors = np.ones(3, dtype=int)
    for translation in translations:
        orders = np.array([1 if abs(t) < 1e-4 else round(1 / abs(t)) for t in translation])
        exact = np.abs(np.abs(translation) * orders - (orders > 1)) < 1e-3
        if exact.all() and set(orders) <= {1, 2, 3, 4, 6}:
            factors = np.lcm(factors, orders)
    return tuple(int(factor) for factor in factors)


def _has_no_equivalent_atoms(atoms: Atoms) -> bool:
    """Whether the surroundings of all atoms differ, so that there is no symmetry but the identity; linear in the atoms.

    Equivalent atoms have the same sorted distances to their neighbours, to twice the tolerance of positions.
    """
    first, *_, distances = close_atoms(atoms, _REACH)
    order = np.lexsort([distances, first])
    counts = np.bincount(first, minlength=len(atoms))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = rank < _N_DISTANCES
    points = np.full((len(atoms), _N_DISTANCES + 1), _REACH)
    points[first[order][near], rank[near]] = distances[order][near]
    points[:, -1] = species_numbers(atoms)
    return not len(cKDTree(points).query_pairs(3 * TOLERANCE, p=np.inf))


def _good_fft_order(n: int, factor: int) -> int:
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and n % factor == 0:
            return n
        n += 1
