"""Whether training data can tell polarisabilities from charges.

In one crystal without vacuum only the screened charge, Z*/eps, shows in the Hamiltonian: every polarisability fits the
data with charges to match. They are told apart where one and the same material is screened in two ways, which is so

- for a slab in two vacua: its boundary condition changes, the slab does not;
- in a heterostructure: materials with different dielectric constants share one displacement field.

A dielectric constant among what is learned tells as much.

The criterion looks at structures only. Whether a slab or an interface is polar enough to be learned from is left to the
training; if it is not, the polarisabilities stay near their first values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.species import element_of_label, species_labels

#: Empty stretch that is a vacuum, or a layer of another material, and no distance of atomic planes, Å.
EMPTY = 6.0

#: Least difference of two vacua, Å.
VACUUM_DIFFERENCE = 2.0

#: Thicknesses of one slab may differ by this, rattled as its atoms may be, Å.
THICKNESS_TOLERANCE = 1.0

#: Has no polarisability of its own: what its bond has is counted with the atom at the other end, since smeared dipoles
#: reach beyond the last layer of a slab anyway.
HYDROGEN = 'H'

#: Relative difference that equal lattice vectors in the plane may have.
LATTICE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Identified:
    """Elements whose polarisability the data can tell, and which structures do, in words."""

    elements: tuple[str, ...]
    reason: str

    @property
    def verdict(self) -> str:
        """``identified`` or ``unidentified``."""
        return 'identified' if self.elements else 'unidentified'


@dataclass(frozen=True)
class _Slab:
    name: str
    atoms: Atoms
    formula: str
    plane: np.ndarray
    thickness: float
    vacuum: float


def _stretches(atoms: Atoms, axis: int, chosen) -> tuple[float, float, float]:
    """Longest stretch along a lattice vector without the chosen atoms: its length (Å) normal to the plane, its ends."""
    height = atoms.get_volume() / np.linalg.norm(np.cross(*np.delete(np.asarray(atoms.cell), axis, axis=0)))
    places = np.sort(atoms.get_scaled_positions()[chosen, axis])
    gaps = np.diff(np.append(places, places[0] + 1.0))
    widest = int(gaps.argmax())
    return gaps[widest] * height, places[widest], places[widest] + gaps[widest]


def _slab(name: str, atoms: Atoms) -> _Slab | None:
    everything = np.ones(len(atoms), dtype=bool)
    vacua = [_stretches(atoms, axis, everything)[0] for axis in range(3)]
    axis = int(np.argmax(vacua))
    if vacua[axis] < EMPTY or sorted(vacua)[1] >= EMPTY:
        return None
    plane = np.delete(np.asarray(atoms.cell), axis, axis=0)
    height = atoms.get_volume() / np.linalg.norm(np.cross(*plane))
    metric = np.array([np.linalg.norm(plane[0]), np.linalg.norm(plane[1]), np.linalg.norm(plane[0] - plane[1])])
    return _Slab(name, atoms, atoms.get_chemical_formula(), metric, height - vacua[axis], vacua[axis])


def _same_slab_in_two_vacua(one: _Slab, other: _Slab) -> bool:
    return (
        one.formula == other.formula
        and np.allclose(one.plane, other.plane, rtol=LATTICE_TOLERANCE)
        and abs(one.thickness - other.thickness) < THICKNESS_TOLERANCE
        and abs(one.vacuum - other.vacuum) > VACUUM_DIFFERENCE
    )


def is_heterostructure(atoms: Atoms) -> bool:
    """Whether layers of different composition follow each other along a lattice vector, without a vacuum.

    Two elements are then each absent from a long stretch in which the other is found; a dopant is one such element.
    """
    symbols = np.array(atoms.get_chemical_symbols())
    for axis in range(3):
        if _stretches(atoms, axis, symbols == symbols)[0] >= EMPTY:
            continue
        places = atoms.get_scaled_positions()[:, axis]
        absent = {}
        for element in sorted(set(symbols)):
            length, start, end = _stretches(atoms, axis, symbols == element)
            if length >= EMPTY:
                inside = (places - start) % 1.0 < end - start
                absent[element] = set(symbols[inside]) - {element}
        if any(two in absent[one] and one in absent[two] for one in absent for two in absent if one < two):
            return True
    return False


def identify_response(
    structures: Sequence[tuple[str, Atoms]], labelled: Sequence[tuple[str, Atoms]] = ()
) -> Identified:
    """Species whose polarisability training structures can tell; no hydrogen.

    Parameters
    ----------
    structures : sequence of (str, Atoms)
        Name and structure.
    labelled : sequence of (str, Atoms)
        Those of them whose dielectric constant is learned, too.
    """
    elements, reasons, slabs = set(), [], []
    for name, atoms in labelled:
        if not set(species_labels(atoms)) <= elements:
            reasons.append(f'dielectric constant of {name}')
        elements |= set(species_labels(atoms))
    for name, atoms in structures:
        if is_heterostructure(atoms):
            if not any('heterostructure' in reason for reason in reasons):
                reasons.append(f'heterostructure {name}')
            elements |= set(species_labels(atoms))
        slab = _slab(name, atoms)
        if slab is None:
            continue
        partner = next((other for other in slabs if _same_slab_in_two_vacua(slab, other)), None)
        slabs.append(slab)
        if partner is not None:
            known = set(species_labels(atoms))
            if not known <= elements:
                reasons.append(
                    f'{slab.formula} with {partner.vacuum:.1f} and {slab.vacuum:.1f} Å of vacuum '
                    f'({partner.name}, {name})'
                )
            elements |= known
    elements = {label for label in elements if element_of_label(label) != HYDROGEN}
    if not elements:
        return Identified(
            (), 'no slab in two vacua, no heterostructure and no dielectric constant among the training data'
        )
    return Identified(tuple(sorted(elements)), '; '.join(reasons))
