"""Which atom pairs of a crystal have overlapping orbitals."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.neighbour_search import close_atoms
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR


def neighbour_pairs(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """All directed pairs of atoms nearer than ``cutoff`` (Å), each atom with itself included.

    Returns
    -------
    pairs : (P, 5) int array
        Rows ``Rx, Ry, Rz, i, j``.
    vectors : (P, 3) array
        From atom i to atom j + R, Å.

    Raises
    ------
    ValueError
        If the structure is empty, has no cell, or two atoms lie on top of each other.
    """
    if len(atoms) == 0:
        raise ValueError('the structure has no atoms')
    if atoms.cell.rank < 3:
        raise ValueError('the structure has no three-dimensional cell; give one, with vacuum where it is not periodic')
    i, j, images, vectors, distances = close_atoms(atoms, cutoff)
    if len(distances) and distances.min() < 0.1:
        worst = int(np.argmin(distances))
        raise ValueError(f'atoms {i[worst]} and {j[worst]} (from 0) are {distances[worst]:.3f} Å apart')
    own = np.arange(len(atoms))
    zeros = np.zeros((len(atoms), 3))
    pairs = np.concatenate(
        [
            np.column_stack([zeros.astype(np.int64), own, own]),
            np.column_stack([images.astype(np.int64), i.astype(np.int64), j.astype(np.int64)]),
        ]
    )
    return pairs, np.concatenate([zeros, vectors])


def overlap_pattern(atoms: Atoms, basis: Basis) -> BlockPattern:
    """Blocks of all directed pairs whose orbitals overlap, ``|tau_j + R - tau_i| < r_i + r_j``, and on-site blocks.

    The pairs are sorted by i, then j, then R, so that the order depends on the structure alone.

    Parameters
    ----------
    atoms : ase.Atoms
        Taken as periodic in all three directions, as the plane-wave code does.
    basis : Basis
        Its largest cutoff radius per species, bohr, is the reach of an atom.

    Raises
    ------
    ValueError
        If a species has no basis, or for the reasons of `neighbour_pairs`.
    """
    species = basis.for_labels(species_labels(atoms))
    radii = np.array([each.cutoff_radius for each in species]) * BOHR
    pairs, vectors = neighbour_pairs(atoms, 2 * radii.max())
    kept = np.linalg.norm(vectors, axis=1) < radii[pairs[:, 3]] + radii[pairs[:, 4]]
    pairs = pairs[kept]
    order = np.lexsort((pairs[:, 2], pairs[:, 1], pairs[:, 0], pairs[:, 4], pairs[:, 3]))
    return BlockPattern(pairs[order], np.array([each.n_orbitals for each in species]))
