"""Species: atoms with one pseudopotential and one set of orbitals.

An element may have several species, as the capping hydrogens of 1.25 and 0.75 electrons on the two faces of a slab. A
species has a label as in pw.x: the chemical symbol, alone or with a number, a letter, or what begins with ``_`` or
``-`` behind it (``H``, ``H1``, ``Fe_up``). Pseudopotentials, orbitals, H0 and models go by it.

The labels of a structure are the array ``species_labels`` of its ``ase.Atoms``, which slicing, sorting and repetition
keep, and extended XYZ files too. Without the array, or where it is empty, an atom's label is its symbol.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

#: Name of the array of ``ase.Atoms``, and of the column of extended XYZ files.
SPECIES_LABELS = 'species_labels'

#: Longest label; ASE cuts those that are longer than the strings of an array when it joins structures.
LONGEST_LABEL = 16

#: Symbols of isotopes that stand for an element.
ISOTOPES = {'D': 'H', 'T': 'H'}

#: What ASE fills in for atoms of a structure without labels that is joined to one with labels.
_FILLERS = ('', '0')

#: What may stand behind the symbol: one letter, or characters of which the first is no letter.
_SUFFIX = re.compile(r'[A-Za-z]?|[0-9_+-][A-Za-z0-9_+-]*')


def element_of_label(label: str) -> str:
    """Chemical symbol of a species label such as 'As', 'Fe1', 'H_cap' or 'o-2'.

    Raises
    ------
    ValueError
        If it starts with no chemical symbol.
    """
    letters = re.match(r'[A-Za-z]{1,2}', label.strip())
    for length in (2, 1):
        symbol = letters.group(0)[:length].capitalize() if letters else ''
        symbol = ISOTOPES.get(symbol, symbol) if length == 1 else symbol
        if len(symbol) == length and symbol in atomic_numbers and symbol != 'X':
            return symbol
    raise ValueError(f'{label!r} does not start with a chemical symbol')


def normalise_label(label: str) -> str:
    """A species label with its symbol in the usual case: 'si_1' becomes 'Si_1', 'D' becomes 'H'.

    Raises
    ------
    ValueError
        If it is no chemical symbol, alone or with one letter, or digits, or what begins with ``_``, ``+`` or ``-``
        behind it; or is longer than 16 characters. Files are named after labels.
    """
    label = label.strip()
    element = element_of_label(label)
    suffix = label[len(element) :]
    if len(label) > LONGEST_LABEL or not _SUFFIX.fullmatch(suffix):
        raise ValueError(
            f'{label[:40]!r} is not a chemical element or a label of its species, such as {element}1 or {element}_a; '
            f'a label has {LONGEST_LABEL} characters at most'
        )
    return element + suffix


def check_label(label: str, element: str, what: str):
    """Raise ``ValueError`` unless a label is possible and its element is that of a basis or pseudopotential."""
    if normalise_label(label) != label:
        raise ValueError(f'{what} given for {label!r}: write {normalise_label(label)}')
    if element_of_label(label) != element:
        raise ValueError(f'{what} given for {label} is one of {element}')


def species_labels(atoms: Atoms) -> list[str]:
    """The species label of every atom: its chemical symbol, unless the structure has labels.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.

    Returns
    -------
    list of str
        One label per atom.

    Raises
    ------
    ValueError
        If a label is not possible, or is one of another element; the message names the atom.
    """
    symbols = atoms.get_chemical_symbols()
    return symbols if SPECIES_LABELS not in atoms.arrays else _checked(atoms.arrays[SPECIES_LABELS], symbols)


def set_species_labels(atoms: Atoms, labels: Sequence[str]):
    """Label the atoms of a structure; if all labels are the chemical symbols, it gets no array.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure, which is changed.
    labels : sequence of str
        One per atom, the element first, as in 'Fe1'.

    Raises
    ------
    ValueError
        If their number is not that of the atoms, a label is not possible, or it is one of another element.
    """
    symbols = atoms.get_chemical_symbols()
    if len(labels) != len(symbols):
        raise ValueError(f'{len(labels)} species labels are given for {len(symbols)} atoms')
    labels = _checked(labels, symbols)
    atoms.arrays.pop(SPECIES_LABELS, None)
    if labels != symbols:
        atoms.set_array(SPECIES_LABELS, np.array(labels, dtype=f'U{LONGEST_LABEL}'))


def _checked(labels: Iterable[str], symbols: list[str]) -> list[str]:
    given = [str(label).strip() for label in labels]
    known = {label: normalise_label(label) for label in set(given).difference(_FILLERS)}
    elements = {label: element_of_label(label) for label in known}
    for index, (label, symbol) in enumerate(zip(given, symbols, strict=True)):
        if elements.get(label, symbol) != symbol:
            raise ValueError(
                f'atom {index} (from 0) is {symbol}, but has the species label {label!r} of another element'
            )
    return [known.get(label, symbol) for label, symbol in zip(given, symbols, strict=True)]


def labelled_atoms(labels: Iterable[str], **kwargs) -> Atoms:
    """A structure of the species with the given labels; further arguments are those of ``ase.Atoms``.

    Raises
    ------
    ValueError
        If a label is not possible.
    """
    labels = [normalise_label(label) for label in labels]
    atoms = Atoms([element_of_label(label) for label in labels], **kwargs)
    set_species_labels(atoms, labels)
    return atoms


def species_numbers(atoms: Atoms) -> np.ndarray:
    """(N,) integers, equal for atoms of one species, by which symmetries are found; atomic numbers without labels."""
    if SPECIES_LABELS not in atoms.arrays:
        return atoms.numbers
    labels = species_labels(atoms)
    order = {label: number for number, label in enumerate(sorted(set(labels)))}
    return atoms.numbers + 1000 * np.array([order[label] for label in labels], dtype=np.int64)
