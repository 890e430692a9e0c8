"""What other formats have no place for in a structure: periodicity, species labels and starting moments.

It stands in the JSON file that a format has beside the matrices, which the other program ignores. What is missing there
has its default: periodic along all lattice vectors, one species per element, no moments.
"""

from __future__ import annotations

from pathlib import Path

from ase import Atoms

from aiida_hamlr.electronic.magnetism import MOMENTS, set_starting_moments, starting_moments
from aiida_hamlr.electronic.reading import naming, shortened
from aiida_hamlr.electronic.species import SPECIES_LABELS, set_species_labels, species_labels

PBC, STARTING_MOMENTS = 'pbc', 'starting_moments'

#: The keys; that of the species has the name of the array.
KEYS = (PBC, SPECIES_LABELS, STARTING_MOMENTS)


def structure_notes(atoms: Atoms) -> dict:
    """What is not the default in a structure, by key, as JSON holds it."""
    found: dict = {} if atoms.pbc.all() else {PBC: atoms.pbc.tolist()}
    labels, moments = species_labels(atoms), starting_moments(atoms)
    if labels != atoms.get_chemical_symbols():
        found[SPECIES_LABELS] = labels
    return found if moments is None else found | {STARTING_MOMENTS: moments.tolist()}


def add_notes(atoms: Atoms, content: dict, path: Path):
    """Add to a structure what an object of JSON says about it.

    Parameters
    ----------
    atoms : Atoms
        Changed where the object has one of the keys; in the sequence of the file.
    content : dict
        The object.
    path : path
        Its file, for messages.

    Raises
    ------
    ValueError
        If a value is something else than one or three truth values, or one label or one number per atom.
    """
    if PBC in content:
        value = content[PBC]
        given = [value] * 3 if isinstance(value, bool) else value
        if not _is_list_of(given, 3, bool):
            raise ValueError(f'{path}: pbc is {shortened(value)}; expected three of true and false')
        atoms.pbc = given
    if SPECIES_LABELS in content:
        labels = content[SPECIES_LABELS]
        if not _is_list_of(labels, len(atoms), str):
            raise ValueError(
                f'{path}: {SPECIES_LABELS} is {shortened(labels)}; expected the species of each of {len(atoms)} atoms'
            )
        with naming(path):
            set_species_labels(atoms, labels)
    if STARTING_MOMENTS in content:
        moments = content[STARTING_MOMENTS]
        if not _is_list_of(moments, len(atoms), int | float) or not all(abs(each) < 1e3 for each in moments):
            raise ValueError(
                f'{path}: {STARTING_MOMENTS} is {shortened(moments)}; expected a number, Bohr magnetons, for each of '
                f'{len(atoms)} atoms'
            )
        set_starting_moments(atoms, moments)


def labelled_as(atoms: Atoms, other: Atoms) -> Atoms:
    """A structure with the species labels and starting moments of another one, of the same atoms, where it has none."""
    result = atoms.copy()
    for name in (SPECIES_LABELS, MOMENTS):
        if name in other.arrays and name not in result.arrays:
            result.set_array(name, other.arrays[name])
    return result


def _is_list_of(value, length: int, kind) -> bool:
    """Whether a value is a list of this length whose items are of a kind; bool does not count as int."""
    return (
        isinstance(value, list)
        and len(value) == length
        and all(isinstance(each, kind) and isinstance(each, bool) == (kind is bool) for each in value)
    )
