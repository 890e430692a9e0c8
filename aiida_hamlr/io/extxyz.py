"""Extended XYZ files of single structures, with every digit; ASE writes eight decimals, and reads all."""

from __future__ import annotations

from ase import Atoms

from aiida_hamlr.electronic.magnetism import MOMENTS, starting_moments
from aiida_hamlr.electronic.species import SPECIES_LABELS, species_labels


def format_extxyz(atoms: Atoms) -> str:
    """Cell, positions (Å), boundary conditions, species and starting moments of a structure; nothing else of it.

    Parameters
    ----------
    atoms : ase.Atoms
        Positions in Å.
    """
    symbols, labels = atoms.get_chemical_symbols(), species_labels(atoms)
    labelled = labels != symbols
    lattice = ' '.join(repr(float(x)) for x in atoms.cell[:].ravel())
    pbc = ' '.join('FT'[int(periodic)] for periodic in atoms.pbc)
    moments = starting_moments(atoms)
    magnetic = moments is not None
    properties = 'species:S:1:pos:R:3' + f':{SPECIES_LABELS}:S:1' * labelled + f':{MOMENTS}:R:1' * magnetic
    lines = [str(len(atoms)), f'Lattice="{lattice}" Properties={properties} pbc="{pbc}"']
    moments = moments if magnetic else atoms.positions[:, 0]
    for symbol, label, position, moment in zip(symbols, labels, atoms.positions, moments, strict=True):
        words = [symbol, *(repr(float(x)) for x in position)] + [label] * labelled + [repr(float(moment))] * magnetic
        lines.append(' '.join(words))
    return '\n'.join(lines) + '\n'
