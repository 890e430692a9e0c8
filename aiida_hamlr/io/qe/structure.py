"""Structures as Quantum ESPRESSO describes them: inputs of pw.x, and whether two structures are one."""

from __future__ import annotations

import re

import numpy as np
from ase import Atoms
from qe_tools.exceptions import InputValidationError, ParsingError
from qe_tools.parsers import PwInputFile

from aiida_hamlr.electronic.reading import shortened
from aiida_hamlr.electronic.species import labelled_atoms

#: Largest disagreement of two descriptions of one structure, Å; headers hold nine digits.
STRUCTURE_TOLERANCE = 1e-4

_PW_INPUT = re.compile(r'^\s*&system\b.*^\s*atomic_positions\b', re.IGNORECASE | re.MULTILINE | re.DOTALL)

#: Text and comments of a namelist, which stay as they are; what stands before a further variable; the slash at its end.
_ITEMS = re.compile(
    r"'[^'\n]*'|\"[^\"\n]*\"|![^\n]*"
    r'|(?P<before>[ \t,]+)(?=[a-z]\w*\s*(?:\([\d\s,]*\)\s*)?=)|(?P<end>[ \t,]*/[ \t]*$)',
    re.IGNORECASE | re.MULTILINE,
)


def is_pw_input(text: str) -> bool:
    """Whether a text is an input of pw.x: a namelist SYSTEM, and atomic positions behind it."""
    return _PW_INPUT.search(text) is not None


def read_pw_input(text: str) -> Atoms:
    """The structure in an input of pw.x, as pw.x reads it: all ``ibrav``, ``celldm`` or ``A``, units, comments.

    Parameters
    ----------
    text : str
        Content of the file.

    Returns
    -------
    ase.Atoms
        Å, periodic in three directions.

    Raises
    ------
    ValueError
        If it cannot be read, or does not hold as many atoms as it announces.
    """
    try:
        parsed = PwInputFile(_with_line_breaks(text), validate_species_names=False)
        structure = parsed.structure
        announced = int(parsed.namelists['SYSTEM']['nat'])
    except (
        InputValidationError,
        ParsingError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise ValueError(f'not a complete input of pw.x: {shortened(error, 200)}') from error
    labels = structure['atom_names']
    if announced != len(labels):
        raise ValueError(f'nat is {announced}, but {len(labels)} atomic positions are given')
    return labelled_atoms(labels, positions=structure['positions'], cell=structure['cell'], pbc=True)


def _with_line_breaks(text: str) -> str:
    """An input with one variable of its namelists on each line; qe-tools knows no other form."""

    def broken(found: re.Match) -> str:
        return '\n' if found['before'] else '\n/' if found['end'] else found[0]

    return _ITEMS.sub(broken, text)


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
