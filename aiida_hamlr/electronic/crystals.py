"""Tetrahedral crystals cut along a polar axis, and slabs of them whose dangling bonds carry capping atoms.

The cells are oriented for stacking: the third vector is the growth axis, normal to the other two, and the upper and
lower faces halve the bonds that they cut. Stacked cells of two crystals therefore have interface bonds of the mean of
both heights, and a slab of whole cells cuts the fewest bonds per area.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from pydantic import BaseModel, ConfigDict, PositiveFloat

from aiida_hamlr.electronic.species import element_of_label, labelled_atoms, set_species_labels, species_labels

#: Neighbours are atoms closer than this factor times the shortest distance; second neighbours are at 1.6.
_BOND_TOLERANCE = 1.25

#: Atoms whose heights differ by less are in one plane, Å.
_PLANE_TOLERANCE = 0.1

Orientation = Literal['zincblende (001)', 'zincblende (111)', 'wurtzite (0001)']


class Cap(BaseModel):
    """Atom that saturates a dangling bond, usually a hydrogen of fractional charge.

    Parameters
    ----------
    species : str
        Label, as in 'H1'; its pseudopotential has the charge (see `make_pseudopotential`).
    bond : float
        Distance from the atom that it saturates, Å.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)
    species: str
    bond: PositiveFloat


def oriented_crystal(
    cation: str, anion: str, orientation: Orientation, a: float, c: float | None = None, u: float = 0.375
) -> Atoms:
    """Cell of a tetrahedral crystal with its polar or growth axis along z.

    Along +z a bond that crosses the face of the cell starts at a cation: a (0001) or (111) slab has cations on its
    upper face. Exchange the two labels for the opposite direction.

    Parameters
    ----------
    cation, anion : str
        Species labels.
    orientation : str
        'zincblende (001)': four atoms in a tetragonal cell; 'zincblende (111)': six in a hexagonal one;
        'wurtzite (0001)': four.
    a : float
        Lattice constant, Å: of the cubic cell of zincblende, of the hexagonal cell of wurtzite.
    c, u : float
        Height of the wurtzite cell, Å (default: the ideal one), and its internal parameter.

    Returns
    -------
    ase.Atoms
        Atoms in ascending planes.

    Raises
    ------
    ValueError
        If the orientation is unknown, or ``c`` is given for zincblende.
    """
    if orientation != 'wurtzite (0001)' and c is not None:
        raise ValueError(f'{orientation}: the lattice constant is a; c is one of wurtzite')
    if orientation == 'zincblende (001)':
        cell = np.diag([a / np.sqrt(2), a / np.sqrt(2), a])
        places = [(0.0, 0.0, 1 / 8), (0.0, 0.5, 3 / 8), (0.5, 0.5, 5 / 8), (0.5, 0.0, 7 / 8)]
        return labelled_atoms([anion, cation] * 2, scaled_positions=places, cell=cell, pbc=True)
    if orientation == 'zincblende (111)':
        side, height, period, bond = a / np.sqrt(2), np.sqrt(3) * a, 1 / 3, 1 / 4
        sites = [(1 / 3, 2 / 3), (2 / 3, 1 / 3), (0.0, 0.0)]
    elif orientation == 'wurtzite (0001)':
        side, height, period, bond = a, np.sqrt(8 / 3) * a if c is None else c, 1 / 2, u
        sites = [(1 / 3, 2 / 3), (2 / 3, 1 / 3)]
    else:
        known = ', '.join(Orientation.__args__)
        raise ValueError(f'unknown orientation {orientation!r}; known are {known}')
    places = []
    for layer, site in enumerate(sites):
        low = layer * period + bond / 2
        places += [(*site, low), (*sites[(layer + 1) % len(sites)], low + period - bond)]
    cell = np.array([[side, 0, 0], [-side / 2, np.sqrt(3) / 2 * side, 0], [0, 0, height]])
    return labelled_atoms([anion, cation] * len(sites), scaled_positions=places, cell=cell, pbc=True)


def match_plane(atoms: Atoms, plane: np.ndarray, axis: int = 2, strain_ratio: float | None = None) -> Atoms:
    """Crystal strained to the in-plane lattice of another one.

    Parameters
    ----------
    atoms : ase.Atoms
        Cell whose vector ``axis`` is the growth axis.
    plane : (2, 3) array
        The other two cell vectors to take, Å.
    axis : int
        Growth axis, 0 to 2.
    strain_ratio : float, optional
        By which factor the cell shrinks along the axis when it grows in the plane, as a ratio of the strains:
        ``2 C13 / C33`` of an elastic film, with C12 and C11 for (001). Without it the volume stays.

    Returns
    -------
    ase.Atoms
        Copy with the atoms at the same fractions of the cell.
    """
    others = [n for n in range(3) if n != axis]
    before = atoms.cell[:]
    cell = before.copy()
    cell[others] = plane
    area = np.linalg.norm(np.cross(*cell[others])) / np.linalg.norm(np.cross(*before[others]))
    cell[axis] *= 1 / area if strain_ratio is None else 1 - strain_ratio * (np.sqrt(area) - 1)
    strained = atoms.copy()
    strained.set_cell(cell, scale_atoms=True)
    return strained


def capped_slab(crystal: Atoms, layers: int, vacuum: float, caps: Mapping[str, Cap]) -> Atoms:
    """Slab in the middle of its cell, every cut bond replaced by one to a capping atom.

    Parameters
    ----------
    crystal : ase.Atoms
        Cell from `oriented_crystal`, or another one with two planes per layer and z normal to its other vectors.
    layers : int
        Layers of one plane of anions and one of cations.
    vacuum : float
        Distance of the outermost atoms, caps included, from those of the next slab, Å.
    caps : mapping of str to Cap
        For each species that has dangling bonds.

    Returns
    -------
    ase.Atoms
        The crystal's atoms from bottom to top, then the caps; with species labels.

    Raises
    ------
    ValueError
        If the axis is tilted, layers is not positive, or a species with dangling bonds has no cap.
    """
    if layers < 1:
        raise ValueError(f'{layers} layers: at least 1 is needed')
    cell = crystal.cell[:]
    if np.abs(cell[:2, 2]).max() > 1e-6 or np.abs(cell[2, :2]).max() > 1e-6:
        raise ValueError('the third cell vector of the crystal must be along z and the other two normal to it')
    column = crystal.repeat((1, 1, 2 + 2 * layers // _count_planes(crystal)))
    column = column[np.argsort(column.positions[:, 2], kind='stable')]
    heights = column.positions[:, 2]
    plane_of_atom = np.concatenate([[0], np.cumsum(np.diff(heights) > _PLANE_TOLERANCE)])
    kept = plane_of_atom < 2 * layers
    slab = _add_caps(column, kept, caps)
    span = np.ptp(slab.positions[:, 2])
    slab.positions[:, 2] += vacuum / 2 - slab.positions[:, 2].min()
    slab.set_cell(np.vstack([cell[:2], [0, 0, span + vacuum]]))
    slab.pbc = True
    return slab


def _count_planes(crystal: Atoms) -> int:
    return 1 + int((np.diff(np.sort(crystal.positions[:, 2])) > _PLANE_TOLERANCE).sum())


def _add_caps(column: Atoms, kept: np.ndarray, caps: Mapping[str, Cap]) -> Atoms:
    """The kept atoms of a periodic column, and caps in the place of their neighbours that are not kept."""
    labels = species_labels(column)
    distances = column.get_all_distances(mic=True)
    cutoff = _BOND_TOLERANCE * distances[distances > 1e-3].min()
    first, second, vectors, images = neighbor_list('ijDS', column, cutoff)
    cut = kept[first] & (~kept[second] | (images[:, 2] != 0))
    cap_labels, places = [], []
    for atom, vector in zip(first[cut], vectors[cut], strict=True):
        cap = caps.get(labels[atom])
        if cap is None:
            raise ValueError(f'{labels[atom]} has dangling bonds, but no cap; give one of {", ".join(sorted(caps))}')
        cap_labels.append(cap.species)
        places.append(column.positions[atom] + cap.bond * vector / np.linalg.norm(vector))
    chosen = [*np.array(labels)[kept].tolist(), *cap_labels]
    slab = Atoms(
        [element_of_label(label) for label in chosen], positions=[*column.positions[kept], *places], cell=column.cell
    )
    set_species_labels(slab, chosen)
    return slab


def shift_species(atoms: Atoms, species: str, displacement: float, axis: int = 2) -> Atoms:
    """Structure with all atoms of a species displaced along a cell vector, which polarises a polar crystal further.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure, which is left as it is.
    species : str
        Label of the atoms that move.
    displacement : float
        Å.
    axis : int
        Cell vector, 0 to 2.

    Raises
    ------
    ValueError
        If no atom, or every atom, is of the species.
    """
    moved = np.array(species_labels(atoms)) == species
    if not moved.any() or moved.all():
        raise ValueError(f'a shift of {species}: only a part of the atoms can move, all or none do')
    shifted = atoms.copy()
    shifted.positions[moved] += displacement * atoms.cell[axis] / np.linalg.norm(atoms.cell[axis])
    return shifted
