"""Starting moments of the atoms: which magnetic order a structure has before any calculation.

They are collinear, one number per atom in Bohr magnetons, and stand where ASE has them, in the array
``initial_magmoms`` of ``ase.Atoms``, which slicing, sorting, repetition and extended XYZ files keep. They say in which
order self-consistency begins, not in which it ends: moments of the result are `magnetic_moments` of a Hamiltonian.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.species import element_of_label

#: Name of the array of ``ase.Atoms``.
MOMENTS = 'initial_magmoms'


def starting_moments(atoms: Atoms) -> np.ndarray | None:
    """Starting moments of the atoms (N,), Bohr magnetons; None if the structure has none or all are zero.

    Raises
    ------
    ValueError
        If they are vectors, or not finite.
    """
    if MOMENTS not in atoms.arrays:
        return None
    moments = np.asarray(atoms.arrays[MOMENTS], dtype=np.float64)
    if moments.shape != (len(atoms),):
        raise ValueError(
            f'{atoms.get_chemical_formula()}: starting moments of shape {moments.shape}; noncollinear magnetism is not '
            'supported, give one number per atom'
        )
    if not np.isfinite(moments).all():
        raise ValueError(f'{atoms.get_chemical_formula()}: starting moments are not finite')
    return moments if moments.any() else None


def set_starting_moments(atoms: Atoms, moments: np.ndarray | None):
    """Set the starting moments (N,), Bohr magnetons, of a structure; None removes them."""
    atoms.arrays.pop(MOMENTS, None)
    if moments is not None and np.any(moments):
        atoms.set_initial_magnetic_moments(np.asarray(moments, dtype=np.float64))


def moments_of_species(labels: Sequence[str], moments: Mapping[str, float]) -> np.ndarray:
    """Starting moments (N,) from those given for labels, or else for chemical symbols; zero for all others."""
    return np.array([moments.get(label, moments.get(element_of_label(label), 0.0)) for label in labels], dtype=float)


def same_order_reversed(atoms: Atoms) -> bool:
    """Whether the first atom with a moment points down.

    Networks see an order and its reverse as one, with the spins exchanged: what they give for both is then the same to
    the last bit.
    """
    moments = starting_moments(atoms)
    return moments is not None and bool(moments[np.flatnonzero(moments)[0]] < 0)
