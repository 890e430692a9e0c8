"""Whether a structure can be computed at all, and what is done where it is not periodic."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce

from aiida_hamlr.electronic.neighbour_search import close_atoms

#: Atoms closer than this are a mistake in the file, and so are cells with a shorter lattice vector, Å.
SHORTEST_DISTANCE, SHORTEST_VECTOR = 0.4, 0.8

#: A cell vector whose part across the other two is a smaller fraction of its length makes a needle of the cell.
FLATTEST = 0.02

#: Most volume of an atom, Å^3, and most cells between an atom and the cell: beyond them, units are wrong.
LARGEST_VOLUME, FARTHEST = 1e6, 100.0

#: Occupancies closer to 1 than this are full.
FULL_OCCUPANCY = 1e-3

#: Vacuum below which images interact where a structure is not periodic, Å.
LEAST_VACUUM = 8.0


def check_structure(atoms: Atoms, name: str):
    """Look whether a structure has a cell and atoms that are apart.

    Parameters
    ----------
    atoms : ase.Atoms
        Cell and positions in Å.
    name : str
        What errors call it.

    Raises
    ------
    ValueError
        If it has no atoms or no three-dimensional cell, sites are not full, numbers are not finite, the cell is
        degenerate, or atoms or their periodic images overlap.
    """
    if len(atoms) == 0:
        raise ValueError(f'{name}: the structure has no atoms')
    _check_occupancies(atoms, name)
    cell = atoms.cell[:]
    if not (np.isfinite(atoms.positions).all() and np.isfinite(cell).all()):
        raise ValueError(f'{name}: cell or positions are not finite')
    volume = abs(np.linalg.det(cell))
    areas = np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    flatness = volume / np.maximum(np.linalg.norm(cell, axis=1) * areas, np.finfo(float).tiny)
    if atoms.cell.rank < 3 or flatness.min() < 1e-6:
        raise ValueError(f'{name}: the structure has no three-dimensional cell; add vacuum to what is not periodic')
    if (atoms.numbers < 1).any() or (atoms.numbers > 118).any():
        raise ValueError(f'{name}: atom {np.argmin(atoms.numbers)} (counted from 0) is of no chemical element')
    if volume > LARGEST_VOLUME * len(atoms):
        raise ValueError(
            f'{name}: the cell has {volume / len(atoms):.3g} Å^3 per atom; check that its lengths are in Å'
        )
    if flatness.min() < FLATTEST:
        raise ValueError(
            f'{name}: the cell is degenerate, its angles are {", ".join(f"{x:.1f}" for x in atoms.cell.angles())}°; '
            'give the reduced cell (ase.geometry.minkowski_reduce)'
        )
    shortest = float(np.linalg.norm(minkowski_reduce(cell)[0], axis=1).min())
    if shortest < SHORTEST_VECTOR:
        raise ValueError(
            f'{name}: the cell has a lattice vector of {shortest:.3f} Å, so that atoms overlap with their own images; '
            'check its lengths and angles'
        )
    far = np.abs(np.linalg.solve(cell.T, atoms.positions.T)).max(axis=0)
    if far.max() > FARTHEST:
        raise ValueError(
            f'{name}: atom {far.argmax()} (counted from 0) is {far.max():.0f} cells away from the cell; check the '
            'units of cell and positions, or wrap the atoms into the cell'
        )
    first, second, *_ = close_atoms(atoms, SHORTEST_DISTANCE)
    if len(first):
        raise ValueError(
            f'{name}: atoms {first[0]} and {second[0]} (counted from 0) are closer than {SHORTEST_DISTANCE} Å'
        )


def _check_occupancies(atoms: Atoms, name: str):
    """Refuse the disordered structures of databases; ASE keeps one species per site and notes the rest."""
    for site in (atoms.info.get('occupancy') or {}).values():
        if len(site) > 1 or any(abs(float(share) - 1.0) > FULL_OCCUPANCY for share in site.values()):
            mixed = ', '.join(f'{species} {float(share):g}' for species, share in site.items())
            raise ValueError(
                f'{name}: the structure is disordered, a site is occupied by {mixed}; give an ordered supercell'
            )


def describe_periodicity(atoms: Atoms) -> list[str]:
    """Sentences that say what is done with a structure that is not periodic in all directions.

    Parameters
    ----------
    atoms : ase.Atoms
        Cell and positions in Å.

    Returns
    -------
    list of str
        Empty for a crystal.
    """
    sentences, gaps = [], _widest_gaps(atoms)
    for axis in np.flatnonzero(~np.asarray(atoms.pbc)):
        text = f'not periodic along cell vector {axis + 1}, but computed as periodic, also its electrostatics'
        if gaps[axis] < LEAST_VACUUM:
            text += f', with only {gaps[axis]:.1f} Å between images; they interact, add vacuum'
        sentences.append(text)
    return sentences


def periodic_directions(atoms: Atoms) -> np.ndarray:
    """Along which cell vectors a structure has bands.

    Parameters
    ----------
    atoms : ase.Atoms
        Cell and positions in Å.

    Returns
    -------
    (3,) bool array
        False where ``pbc`` says so or planes without atoms are ``LEAST_VACUUM`` apart, as across a slab.
    """
    return np.asarray(atoms.pbc) & (_widest_gaps(atoms) < LEAST_VACUUM)


def _widest_gaps(atoms: Atoms) -> np.ndarray:
    """(3,) largest distance of neighbouring atoms across the planes of the other two cell vectors, Å."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell[:]), axis=0)
    fractions = np.sort(atoms.get_scaled_positions(wrap=True), axis=0)
    return np.diff(np.concatenate([fractions, fractions[:1] + 1.0]), axis=0).max(axis=0) * heights
