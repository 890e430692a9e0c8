"""Starting moments of the atoms: which magnetic order a structure has before any calculation.

They are collinear, one number per atom in Bohr magnetons, and stand where ASE has them, in the array
``initial_magmoms`` of ``ase.Atoms``, which slicing, sorting, repetition and extended XYZ files keep. They say in which
order self-consistency begins, not in which it ends: moments of the result are `magnetic_moments` of a Hamiltonian.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.species import element_of_label, set_species_labels, species_labels

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


def label_moments(atoms: Atoms, known: dict[str, float]):
    """Give atoms of one species with different starting moments different labels, and remove the moments.

    Atoms without a moment keep their label, others of an element get a number: ``Mn1`` and ``Mn2``. Species that have a
    label of their own keep it.

    Parameters
    ----------
    atoms : Atoms
        A structure, which is changed.
    known : dict of str to float
        Moments of the labels of other structures, Bohr magnetons, to which those of this one are added; a label has the
        same moment in all of them.

    Raises
    ------
    ValueError
        If a species with a label of its own has different moments, or an element more than nine.
    """
    moments = starting_moments(atoms)
    if moments is None:
        return
    labels = species_labels(atoms)
    named = list(zip(labels, moments.tolist(), strict=True))
    own = {label: value for label, value in named if label != element_of_label(label)}
    for label, value in named:
        if label in own and value != known.get(label, own[label]):
            raise ValueError(
                f'{atoms.get_chemical_formula()}: the species {label} has starting moments of '
                f'{known.get(label, own[label]):g} and {value:g}; one label, one moment'
            )
    known |= {label: value for label, value in own.items() if value}
    set_species_labels(
        atoms, [label if label in own else _numbered(label, value, known, own) for label, value in named]
    )
    set_starting_moments(atoms, None)


def _numbered(element: str, moment: float, known: dict[str, float], taken: Container[str]) -> str:
    """Label of an element that means a moment; it is added to those known if it is new."""
    if not moment:
        return element
    for number in range(1, 10):
        label = f'{element}{number}'
        if label not in taken and known.setdefault(label, moment) == moment:
            return label
    raise ValueError(f'{element} has more than nine different starting moments; give them by order, not by site')


def same_order_reversed(atoms: Atoms) -> bool:
    """Whether the first atom with a moment points down.

    Networks see an order and its reverse as one, with the spins exchanged: what they give for both is then the same to
    the last bit.
    """
    moments = starting_moments(atoms)
    return moments is not None and bool(moments[np.flatnonzero(moments)[0]] < 0)
