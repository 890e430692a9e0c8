"""Extended XYZ files of single structures, with every digit; ASE writes eight decimals, and reads all."""

from __future__ import annotations

from ase import Atoms

from aiida_hamlr.electronic.species import SPECIES_LABELS, species_labels


def format_extxyz(atoms: Atoms) -> str:
    """Cell, positions (Å), boundary conditions and species of a structure; nothing else of it.

    Parameters
    ----------
    atoms : ase.Atoms
        Positions in Å.
    """
    symbols, labels = atoms.get_chemical_symbols(), species_labels(atoms)
    labelled = labels != symbols
    lattice = ' '.join(repr(float(x)) for x in atoms.cell[:].ravel())
    pbc = ' '.join('FT'[int(periodic)] for periodic in atoms.pbc)
    properties = 'species:S:1:pos:R:3' + f':{SPECIES_LABELS}:S:1' * labelled
    lines = [str(len(atoms)), f'Lattice="{lattice}" Properties={properties} pbc="{pbc}"']
    for symbol, label, position in zip(symbols, labels, atoms.positions, strict=True):
        words = [symbol, *(repr(float(x)) for x in position)] + [label] * labelled
        lines.append(' '.join(words))
    return '\n'.join(lines) + '\n'
