"""Structures as Quantum ESPRESSO describes them: species labels, and whether two descriptions are of one structure."""

from __future__ import annotations

import re

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

#: Largest disagreement of two descriptions of one structure, Å; headers hold nine digits.
STRUCTURE_TOLERANCE = 1e-4


def element_of_label(label: str) -> str:
    """Chemical symbol of a Quantum ESPRESSO species label such as 'As', 'Fe1', 'H_cap' or 'o-2'.

    Raises
    ------
    ValueError
        If it starts with no chemical symbol.
    """
    letters = re.match(r'[A-Za-z]{1,2}', label.strip())
    for length in (2, 1):
        symbol = letters.group(0)[:length].capitalize() if letters else ''
        if len(symbol) == length and symbol in atomic_numbers and symbol != 'X':
            return symbol
    raise ValueError(f'{label!r} does not start with a chemical symbol')


def check_same_structure(expected: Atoms, found: Atoms, tolerance: float = STRUCTURE_TOLERANCE):
    """Refuse two structures that differ in more than lattice translations of single atoms.

    Parameters
    ----------
    expected, found : ase.Atoms
        The structures that are compared.
    tolerance : float
        Å.

    Raises
    ------
    ValueError
        Says what differs: number of atoms, elements, cell or position of which atom, and by how much.
    """
    if len(expected) != len(found):
        raise ValueError(f'{len(found)} atoms instead of {len(expected)}')
    for index, (a, b) in enumerate(zip(expected.symbols, found.symbols, strict=True)):
        if a != b:
            raise ValueError(f'atom {index} (from 0) is {b} instead of {a}')
    difference = np.abs(expected.cell[:] - found.cell[:]).max()
    if not difference <= tolerance:
        raise ValueError(f'lattice vectors differ by up to {difference:.5f} Å')
    shifts = (found.positions - expected.positions) @ np.linalg.inv(expected.cell[:])
    distances = np.linalg.norm((shifts - np.round(shifts)) @ expected.cell[:], axis=1)
    if not distances.max(initial=0.0) <= tolerance:
        worst = int(distances.argmax())
        raise ValueError(f'atom {worst} (from 0) is {distances[worst]:.5f} Å from where it should be')
