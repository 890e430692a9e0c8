"""Atoms and periodic images that are close to each other."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
from ase import Atoms


@cache
def _neighbour_list():
    """Vesin's class. It loads torch if it can, to take tensors too; ours are arrays, and torch takes seconds."""
    hidden = 'torch' not in sys.modules
    if hidden:
        sys.modules['torch'] = None
    try:
        from vesin import NeighborList
    finally:
        if hidden:
            del sys.modules['torch']
    return NeighborList


def close_atoms(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, ...]:
    """Directed pairs of atoms and images nearer than a cutoff, with periodicity along all three cell vectors.

    Parameters
    ----------
    atoms : ase.Atoms
        Positions and cell in Å; ``pbc`` is ignored.
    cutoff : float
        Å.

    Returns
    -------
    first, second : (P,) int arrays
        Atoms i and j.
    images : (P, 3) int array
        Cell vectors R of the image of j.
    vectors : (P, 3) array
        From i to j + R, Å.
    distances : (P,) array
        Å.
    """
    search = _neighbour_list()(cutoff=cutoff, full_list=True)
    return search.compute(points=atoms.positions, box=atoms.cell[:], periodic=True, quantities='ijSDd')
