"""Structures of the polar systems: superlattices of two crystals, and binaries strained to the same plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.crystals import match_plane
from aiida_hamlr.electronic.structures import make_structures

#: Larger than that of every pair of crystals here; CdSe and ZnS differ by 11 %.
LARGEST_MISMATCH = 0.15


def superlattice(crystals: Sequence[Atoms], strain_ratios: tuple[float, float], numbers: tuple[int, int]) -> Atoms:
    """Ideal superlattice of some cells of two crystals; without cells of one, the other as it is strained in it."""
    if 0 not in numbers:
        recipe = {
            'kind': 'superlattice',
            'periods': [numbers],
            'strain_ratios': strain_ratios,
            'largest_mismatch': LARGEST_MISMATCH,
        }
        return make_structures(crystals, recipe)[0]
    index = 0 if numbers[1] == 0 else 1
    plane = np.mean([crystal.cell[:2] for crystal in crystals], axis=0)
    return match_plane(crystals[index], plane, strain_ratio=strain_ratios[index]).repeat((1, 1, max(numbers)))


def displaced(ideal: Atoms, seed: int | None, rattles: Sequence[float], strain: float = 0.0) -> Atoms:
    """Structure with random displacements, and under random strain if it is not zero; itself without a seed.

    Parameters
    ----------
    ideal : ase.Atoms
    seed : int or None
        Of the displacements; it also chooses one of ``rattles``, their standard deviations, Å.
    rattles : sequence of float
    strain : float
        Largest component.
    """
    if seed is None:
        return ideal
    if strain > 0:
        [ideal] = make_structures([ideal], {'kind': 'strain', 'maximum': strain}, seed)
    recipe = {'kind': 'rattle', 'standard_deviation': rattles[seed % len(rattles)]}
    return make_structures([ideal], recipe, seed)[0]
