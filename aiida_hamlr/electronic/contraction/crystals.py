"""Simple crystals of some species, on which their orbitals are contracted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states

from aiida_hamlr.electronic.species import element_of_label, set_species_labels

#: Electronegativities of Pauling (CRC Handbook of Chemistry and Physics); noble gases, which form no crystal with
#: others, are left out.
ELECTRONEGATIVITY = {
    **dict(zip('H Li Be B C N O F'.split(), (2.20, 0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98), strict=True)),
    **dict(zip('Na Mg Al Si P S Cl'.split(), (0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16), strict=True)),
    **dict(zip('K Ca Sc Ti V Cr Mn Fe'.split(), (0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83), strict=True)),
    **dict(
        zip('Co Ni Cu Zn Ga Ge As Se Br'.split(), (1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96), strict=True)
    ),
    **dict(zip('Rb Sr Y Zr Nb Mo Tc Ru'.split(), (0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 1.90, 2.20), strict=True)),
    **dict(
        zip('Rh Pd Ag Cd In Sn Sb Te I'.split(), (2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66), strict=True)
    ),
    **dict(zip('Cs Ba La Ce Pr Nd Sm Gd'.split(), (0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 1.17, 1.20), strict=True)),
    **dict(
        zip('Dy Ho Er Tm Lu Hf Ta W Re'.split(), (1.22, 1.23, 1.24, 1.25, 1.27, 1.30, 1.50, 2.36, 1.90), strict=True)
    ),
    **dict(
        zip('Os Ir Pt Au Hg Tl Pb Bi Po'.split(), (2.20, 2.20, 2.28, 2.54, 2.00, 1.62, 2.33, 2.02, 2.00), strict=True)
    ),
}

#: Two elements whose electronegativities differ by more are cation and anion: they make a crystal.
LEAST_DIFFERENCE = 0.22

#: Structures of the elements that are built as they are; of the others the bonds count, in a diamond lattice.
CLOSE_PACKED = ('fcc', 'bcc', 'hcp')

#: Distance between molecules of two atoms beyond the length of one, Å.
MOLECULE_MARGIN = 3.0

#: Vacuum of a slab, Å.
VACUUM = 5.0


def simple_crystals(labels: Sequence[str]) -> list[Atoms]:
    """Small crystals in which every species occurs, with cells of one to four atoms, bulk before slabs.

    Every cation with every anion in the zincblende structure, its bonds the sum of the covalent radii. An element that
    is neither to any other has its own crystal: the one that it has if it is close-packed, the molecule if it has
    molecules of two atoms, and else the diamond structure. Two elements that are no cation and anion to each other,
    such as two anions, meet in compounds only as second neighbours; crystals of them alone would be of another world.

    Zincblende and diamond come also as a slab of two layers (periodic along two axes only): its broken bonds make the
    orbitals better for all lower symmetries, at less than the cost of the bulk.

    Parameters
    ----------
    labels : sequence of str
        Species labels, such as chemical symbols; several species of one element meet each other in no crystal.
    """
    elements = {label: element_of_label(label) for label in sorted(set(labels))}
    pairs = [(a, b) for a, b in combinations(elements, 2) if _are_cation_and_anion(elements[a], elements[b])]
    alone = [label for label in elements if not any(label in pair for pair in pairs)]
    covalent = pairs + [(label, label) for label in alone if _is_covalent(elements[label])]
    crystals = [_labelled(_zincblende(elements[a], elements[b]), (a, b)) for a, b in covalent]
    crystals += [
        _labelled(_elemental(elements[label]), (label,)) for label in alone if not _is_covalent(elements[label])
    ]
    return crystals + [_labelled(_slab(elements[a], elements[b]), (a, b)) for a, b in covalent]


def _labelled(atoms: Atoms, labels: Sequence[str]) -> Atoms:
    """The crystal with its atoms of the given species in turn."""
    set_species_labels(atoms, [labels[index % len(labels)] for index in range(len(atoms))])
    return atoms


def _are_cation_and_anion(a: str, b: str) -> bool:
    if a not in ELECTRONEGATIVITY or b not in ELECTRONEGATIVITY:
        return False
    return abs(ELECTRONEGATIVITY[a] - ELECTRONEGATIVITY[b]) > LEAST_DIFFERENCE


def _lattice_constant(a: str, b: str) -> float:
    return 4 * (covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]]) / np.sqrt(3)


def _zincblende(a: str, b: str) -> Atoms:
    return bulk(a + b, 'zincblende', a=_lattice_constant(a, b))


def _slab(a: str, b: str) -> Atoms:
    """Two (110) layers of zincblende, the surface on which cations and anions are equally many."""
    long = _lattice_constant(a, b)
    short = long / np.sqrt(2)
    positions = [(0, 0, 0), (long / 4, short / 2, 0), (long / 2, short / 2, short / 2), (3 * long / 4, 0, short / 2)]
    return Atoms([a, b, a, b], positions, cell=(long, short, short + VACUUM), pbc=(True, True, False))


def _elemental(element: str) -> Atoms:
    state = reference_states[atomic_numbers[element]]
    if state['symmetry'] == 'diatom':
        lattice = bulk('X', 'fcc', a=np.sqrt(2) * (state['d'] + MOLECULE_MARGIN)).cell
        return Atoms([element] * 2, [(0, 0, 0), (0, 0, state['d'])], cell=lattice, pbc=True)
    return bulk(element, state['symmetry'], a=state['a'], covera=state.get('c/a'))


def _is_covalent(element: str) -> bool:
    state = reference_states[atomic_numbers[element]] or {}
    return state.get('symmetry') not in (*CLOSE_PACKED, 'diatom')
