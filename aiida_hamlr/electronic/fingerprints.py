"""Fingerprints of structures: radial distributions by pairs of elements, for telling structures apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.neighbour_search import close_atoms
from aiida_hamlr.electronic.species import species_labels

#: Neighbours further apart than this do not count, Å.
REACH = 6.0

#: Distance of the points of a distribution, and standard deviation of the Gaussian that each neighbour gives, Å.
STEP, WIDTH = 0.25, 0.25


def fingerprints(structures: Sequence[Atoms]) -> np.ndarray:
    """Fingerprints (n, d) of some structures, which can be compared with each other only.

    A fingerprint holds, for each pair of species, the sum of a Gaussian for each neighbour, times
    ``cos(pi r / (2 REACH))^2``, divided by the number of atoms of the structure; and the share of each species. It does
    not depend on the cell that describes a crystal, nor on the order of the atoms.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        Periodic in three dimensions.
    """
    labels = [np.array(species_labels(atoms)) for atoms in structures]
    species = sorted({str(label) for each in labels for label in each})
    return np.array([_fingerprint(atoms, each, species) for atoms, each in zip(structures, labels, strict=True)])


def _fingerprint(atoms: Atoms, labels: np.ndarray, species: list[str]) -> np.ndarray:
    first, second, _, _, lengths = close_atoms(atoms, REACH)
    points = np.arange(STEP, REACH, STEP)
    weights = np.cos(0.5 * np.pi * lengths / REACH) ** 2
    gaussians = weights[:, None] * np.exp(-0.5 * ((lengths[:, None] - points) / WIDTH) ** 2)
    parts = [[np.mean(labels == one) for one in species]]
    for index, one in enumerate(species):
        for other in species[index:]:
            chosen = (labels[first] == one) & (labels[second] == other)
            parts.append(gaussians[chosen].sum(axis=0) / len(atoms))
    return np.concatenate(parts)
