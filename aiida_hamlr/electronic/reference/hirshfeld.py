"""Charges and dipoles of atoms by Hirshfeld's partition of the electron density.

Every point of the grid is divided among the atoms like the density of free atoms there, ``w_i = rho_i / sum_j rho_j``
(Hirshfeld, Theor. Chim. Acta 44, 129 (1977)). What is integrated is the deformation density ``rho - sum_j rho_j``:
``int w_i sum_j rho_j`` is the charge of the free atom, and its dipole vanishes, so that

    Q_i = -int w_i (rho - sum_j rho_j),    p_i = -int w_i (r - tau_i) (rho - sum_j rho_j)

are ``Z_i - int w_i rho`` and ``-int w_i (r - tau_i) rho``, without the grid error of the sharp atomic densities.
Inside: bohr and Ry; results: |e| and Å.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise, product

import numpy as np
from ase import Atoms
from scipy.interpolate import CubicSpline

from aiida_hamlr.electronic.integrals.neutral_atom import ReciprocalGrid
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR

#: Density at which a free atom ends, bohr^-3: a radius of 8 to 13 bohr. Larger ones change charges by 1e-5 |e|.
SMALLEST_DENSITY = 1e-7

#: No free atom is larger, bohr.
LARGEST_RADIUS = 16.0

#: Spacing in r^2 of the tabulated density, bohr^2: linear interpolation is exact to some 1e-6 of it.
TABLE_STEP = 0.005

#: Points of the grid that are worked on together.
SLAB_POINTS = 30_000

#: Below it PP_RHOATOM / r^2 loses its digits, bohr.
_INNER_RADIUS = 0.02


def hirshfeld_moments(
    atoms: Atoms, density: np.ndarray, pseudos: Mapping[str, Pseudopotential], ecutrho: float
) -> tuple[np.ndarray, np.ndarray]:
    """Hirshfeld charges and dipoles of all atoms, with the pseudo-valence densities of the UPF files as free atoms.

    Time is linear in the atoms. The charges sum to the charge of the cell to rounding in a crystal; where there is
    vacuum, to what lies further from all atoms than their free densities reach (below 1e-4 |e|).

    Parameters
    ----------
    atoms : ase.Atoms
        Taken as periodic in all three directions.
    density : (n1, n2, n3) array
        Valence electrons on the FFT grid, bohr^-3, both spins together.
    pseudos : mapping of str to Pseudopotential
        Those of the run.
    ecutrho : float
        Cutoff of the density, Ry.

    Returns
    -------
    charges : (N,) array
        |e|; positive where electrons are missing.
    dipoles : (N, 3) array
        |e| Å, about the nuclei; from the negative to the positive end.
    """
    labels = np.array(species_labels(atoms))
    vectors = ReciprocalGrid(atoms.cell[:], np.shape(density), ecutrho)
    neutral = np.zeros(len(vectors.lengths), dtype=complex)
    for element in sorted(set(labels)):
        phases = vectors.structure_factor(atoms.positions[labels == element] / BOHR) / vectors.volume
        neutral += phases * vectors.form_factor(pseudos[element].density_form_factor)
    deformation = density - vectors.to_real(neutral)
    free_atoms = {element: FreeAtom(pseudos[element]) for element in sorted(set(labels))}
    positions = atoms.positions / BOHR
    total = np.zeros(np.shape(density))
    for label, position in zip(labels, positions, strict=True):
        for box in boxes_of_sphere(vectors.cell, total.shape, position, free_atoms[label].radius):
            box.add(total, free_atoms[label](box.squared_distances))
    share = np.divide(deformation, total, out=np.zeros_like(total), where=total > 0)
    point_volume = vectors.volume / total.size
    charges, dipoles = np.zeros(len(atoms)), np.zeros((len(atoms), 3))
    for index, (label, position) in enumerate(zip(labels, positions, strict=True)):
        for box in boxes_of_sphere(vectors.cell, total.shape, position, free_atoms[label].radius):
            part = free_atoms[label](box.squared_distances) * box.take(share)
            charges[index] -= point_volume * part.sum()
            dipoles[index] -= point_volume * box.first_moment(part)
    return charges, dipoles * BOHR


class FreeAtom:
    """The pseudo-valence density of a free atom as a function of the squared distance, bohr^-3.

    Zero beyond ``radius`` (bohr), where it has fallen to 1e-7 bohr^-3. Where the mesh of the file ends earlier, it goes
    on as the exponential that it ends with.

    Parameters
    ----------
    pseudo : Pseudopotential
    """

    def __init__(self, pseudo: Pseudopotential):
        inside = pseudo.r > _INNER_RADIUS
        r = pseudo.r[inside]
        values = np.maximum(pseudo.rho_atom[inside] / (4 * np.pi * r**2), 0.0) * pseudo.density_scale
        large = np.flatnonzero(values > SMALLEST_DENSITY)
        r, values = r[: large[-1] + 1], values[: large[-1] + 1]
        start = np.searchsorted(r, 0.9 * r[-1])
        decay = np.log(values[start] / values[-1]) / (r[-1] - r[start]) if 0 < start < len(r) - 1 else 0.0
        reach = r[-1] + (np.log(values[-1] / SMALLEST_DENSITY) / decay if decay > 0.1 else 0.0)
        self.radius = float(min(reach, LARGEST_RADIUS))
        distances = np.sqrt(TABLE_STEP * np.arange(int(self.radius**2 / TABLE_STEP) + 1))
        # A parabola through the innermost points in place of what the file does not resolve.
        table = np.maximum(CubicSpline(np.append(-r[::-1], r), np.append(values[::-1], values))(distances), 0.0)
        beyond = distances > r[-1]
        table[beyond] = values[-1] * np.exp(-decay * (distances[beyond] - r[-1]))
        # Two zeros, so that everything outside can be looked up at the end of the table.
        self._table = np.concatenate([table, [0.0, 0.0]])
        self._steps = np.diff(self._table)

    def __call__(self, squared_distances: np.ndarray) -> np.ndarray:
        """Values at squared distances, bohr^2."""
        place = squared_distances * (1.0 / TABLE_STEP)
        np.minimum(place, len(self._steps) - 1, out=place)
        index = place.astype(np.int32)
        place -= index
        place *= np.take(self._steps, index)
        place += np.take(self._table, index)
        return place


class GridBox:
    """A box of points, along the lattice vectors, of a periodic grid.

    Parameters
    ----------
    cell : (3, 3) array
        bohr.
    shape : three int
        Points of the grid along the lattice vectors.
    centre : (3,) array
        Fractional; displacements are taken from it.
    low, high : three int
        First and last indices of the points; beyond the cell they are images.
    """

    def __init__(self, cell: np.ndarray, shape: tuple[int, int, int], centre: np.ndarray, low, high):
        self._cell, self._shape = cell, shape
        self._indices = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        #: Fractional displacements from the centre along the three lattice vectors.
        self._offsets = [index / n - x for index, n, x in zip(self._indices, shape, centre, strict=True)]

    @property
    def squared_distances(self) -> np.ndarray:
        """(m1, m2, m3) squared distances of the points from the centre, bohr^2."""
        metric = self._cell @ self._cell.T
        a, b, c = np.ix_(*self._offsets)
        plane = metric[0, 0] * a**2 + metric[1, 1] * b**2 + 2 * metric[0, 1] * a * b
        return np.maximum(plane + metric[2, 2] * c**2 + (2 * metric[0, 2] * a + 2 * metric[1, 2] * b) * c, 0.0)

    @property
    def _parts(self) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Stretches of the grid, each inside the cell, and where in the box they come."""
        axes = []
        for index, n in zip(self._indices, self._shape, strict=True):
            first, last = int(index[0]), int(index[-1]) + 1
            edges = [first, *range((first // n + 1) * n, last, n), last]
            axes.append([(slice(a % n, a % n + b - a), slice(a - first, b - first)) for a, b in pairwise(edges)])
        for parts in product(*axes):
            yield tuple(part[0] for part in parts), tuple(part[1] for part in parts)

    def add(self, total: np.ndarray, values: np.ndarray):
        """Add values on the points of the box, (m1, m2, m3), to the grid; points that are images of one add up."""
        for in_grid, in_box in self._parts:
            total[in_grid] += values[in_box]

    def take(self, values: np.ndarray) -> np.ndarray:
        """(m1, m2, m3) values of the grid on the points of the box."""
        result = np.empty([len(index) for index in self._indices])
        for in_grid, in_box in self._parts:
            result[in_box] = values[in_grid]
        return result

    def first_moment(self, values: np.ndarray) -> np.ndarray:
        """(3,) sum over the points of value times displacement from the centre, bohr."""
        marginals = (values.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
        return np.array([m @ offset for m, offset in zip(marginals, self._offsets, strict=True)]) @ self._cell


def boxes_of_sphere(
    cell: np.ndarray, shape: tuple[int, int, int], centre: np.ndarray, radius: float
) -> Iterator[GridBox]:
    """Boxes that together hold every point of a sphere, images of one point each for itself, and few others.

    They are slabs of some planes, small enough for the cache.

    Parameters
    ----------
    cell : (3, 3) array
        bohr.
    shape : three int
        Points of the grid along the lattice vectors.
    centre : (3,) array
        bohr.
    radius : float
        bohr.
    """
    fractional = centre @ np.linalg.inv(cell)
    height = 1 / np.linalg.norm(np.linalg.inv(cell)[:, 0])
    # In the plane of the other two vectors: how the foot of the centre moves with the height, the extent of a circle.
    in_plane = np.linalg.pinv(cell[1:])
    drift = -(cell[0] @ in_plane)
    extent = np.linalg.norm(in_plane, axis=0)
    counts = np.array(shape[1:])
    first = int(np.ceil((fractional[0] - radius / height) * shape[0]))
    last = int(np.floor((fractional[0] + radius / height) * shape[0]))
    planes = max(1, int(SLAB_POINTS / np.prod(2 * radius * extent * counts)))
    for start in range(first, last + 1, planes):
        stop = min(start + planes - 1, last)
        offsets = np.array([start, stop]) / shape[0] - fractional[0]
        nearest = 0.0 if offsets[0] * offsets[1] < 0 else np.abs(offsets).min() * height
        reach = np.sqrt(max(radius**2 - nearest**2, 0.0)) * extent
        feet = fractional[1:] + np.outer(offsets, drift)
        low = np.ceil((feet.min(axis=0) - reach) * counts).astype(int)
        high = np.floor((feet.max(axis=0) + reach) * counts).astype(int)
        if (high >= low).all():
            yield GridBox(cell, shape, fractional, (start, *low), (stop, *high))
