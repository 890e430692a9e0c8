"""Mulliken populations and charges of the atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_hamlr.electronic.bands.mesh import MeshSolution, sample
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential


def mulliken_populations(hamiltonian: Hamiltonian, density: np.ndarray | None = None) -> np.ndarray:
    """(N,) electrons of every atom, ``sum_{mu in i} (P S)_mumu``, both spins together.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the overlap.
    density : (M,) or (2, M) array, optional
        Default: the stored density matrix.
    """
    pattern = hamiltonian.pattern
    entries = hamiltonian.density_matrix if density is None else density
    products = np.atleast_2d(entries).sum(axis=0) * hamiltonian.overlap
    per_block = np.add.reduceat(products, pattern.chunk_boundaries[:-1])
    return np.bincount(pattern.first, weights=per_block, minlength=len(pattern.n_orbitals))


def check_pseudopotentials(hamiltonian: Hamiltonian):
    """Raise ``ValueError`` unless a Hamiltonian holds the pseudopotentials of all its species, which charges need."""
    missing = sorted(set(hamiltonian.species) - set(hamiltonian.pseudopotentials))
    if missing:
        raise ValueError(f'charges need the pseudopotentials; the Hamiltonian holds none of {", ".join(missing)}')


def mulliken_charges(hamiltonian: Hamiltonian, mesh: Sequence[int] | MeshSolution | None = None) -> np.ndarray:
    """Mulliken charges of the atoms, ``Z - sum_{mu in i} (P S)_mumu`` with the valence charge Z.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the overlap and the pseudopotentials.
    mesh : three int or MeshSolution, optional
        Where the density matrix comes from; default: it is the stored one if there is one, else that of `sample`.

    Returns
    -------
    (N,) array
        |e|.

    Raises
    ------
    ValueError
        If a species has no pseudopotential.
    """
    check_pseudopotentials(hamiltonian)
    texts = hamiltonian.pseudopotentials
    if mesh is None and 'density_matrix' in hamiltonian.matrices:
        populations = mulliken_populations(hamiltonian)
    else:
        populations = mulliken_populations(hamiltonian, sample(hamiltonian, mesh).density_matrix)
    ionic = {label: Pseudopotential.from_text(texts[label], label).z_valence for label in set(hamiltonian.species)}
    return np.array([ionic[label] for label in hamiltonian.species]) - populations
