"""Grid sums over half of the points, where the other half tells nothing new.

A sum over a grid differs from the integral by the Fourier components of the integrand at the reciprocal vectors of the
grid. Half of the points form a lattice too: in a cubic grid every other one, like the squares of one colour of a
chessboard. Its shortest reciprocal vectors are hardly shorter than those of the whole grid (13 % in the cubic one), so
that its sum is nearly as exact. What it misses are the components at the vectors that the whole grid lacks. These come
from the surroundings of the nuclei, where orbitals and potential change fastest, and from the orbitals of an atom and
its neighbours there. In smooth windows around the nuclei, the difference of both sums is added for these orbitals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import fft
from scipy.spatial import cKDTree
from scipy.special import erfc

from aiida_hamlr.electronic.integrals.point_blocks import Batch, batches_of
from aiida_hamlr.electronic.lattice import reciprocal

#: Shortest reciprocal vector of the half grid over ``2 sqrt(ecutrho)``, the least one of the whole grid.
SHORTEST = 0.86

#: Radius of a window at half its height, and up to which neighbours of its atom count, bohr.
WINDOW_RADIUS, NEIGHBOUR_RADIUS = 1.5, 6.0

#: Width of the edge of a window times the shortest reciprocal vector that the half grid lacks, and how many widths
#: beyond its radius it ends. The Fourier transform of the edge is 1e-7 of its height there, what is cut off 1e-4.
EDGE, END = 8.0, 2.6


@dataclass(frozen=True)
class HalfGrid:
    """The points of a grid whose indices along some axes add up to an even number.

    Parameters
    ----------
    axes : three int
        1 for the axes whose indices count, else 0.
    shortest : float
        Length of the shortest reciprocal vector that the half has besides those of the whole, 1/bohr.
    """

    axes: tuple[int, int, int]
    shortest: float

    @property
    def steps(self) -> tuple[int, int, int]:
        """Points of the whole grid along each edge of a cell of the half."""
        return tuple(1 + axis for axis in self.axes)

    @property
    def motif(self) -> np.ndarray:
        """(m, 3) indices of the points of the half grid in one of its cells."""
        points = np.array(list(product(*(range(1 + axis) for axis in self.axes))))
        return points[points.sum(axis=1) % 2 == 0]

    def cells(self, values: np.ndarray) -> np.ndarray:
        """(k, n1, n2, n3, m) values at the points of the half grid, from those of the whole (k, n1, n2, n3)."""
        strides = (tuple(slice(p, None, n) for p, n in zip(point, self.steps, strict=True)) for point in self.motif)
        return np.stack([values[(slice(None), *each)] for each in strides], axis=-1)

    def signs(self, indices: np.ndarray) -> np.ndarray:
        """1 for points of the whole grid that are not in the half, -1 for the others: whole minus twice the half."""
        return 2.0 * (indices @ np.array(self.axes) % 2) - 1.0


def halve(shape: tuple[int, int, int], cell: np.ndarray, ecutrho: float) -> HalfGrid | None:
    """The best half of a grid that is dense enough for a density cutoff, or None.

    Parameters
    ----------
    shape : three int
        Points along the axes; an odd number of them is taken as one more, see `with_even_axes`.
    cell : (3, 3) array
        Lattice vectors in rows, bohr.
    ecutrho : float
        Ry.
    """
    vectors = reciprocal(cell) * np.array(shape)[:, None]
    around = np.array(list(product(range(-2, 3), repeat=3)))
    halves = []
    for axes in product(range(2), repeat=3):
        if any(axes):
            lengths = np.linalg.norm((around + 0.5 * np.array(axes)) @ vectors, axis=1)
            halves.append(HalfGrid(axes, float(lengths.min())))
    best = max(halves, key=lambda half: half.shortest)
    return best if best.shortest >= SHORTEST * 2.0 * np.sqrt(ecutrho) else None


def with_even_axes(values: np.ndarray, axes: tuple[int, int, int]) -> np.ndarray:
    """Periodic functions (k, n1, n2, n3) with one more point along axes of odd length, by Fourier interpolation.

    Parameters
    ----------
    values : (k, n1, n2, n3) array
        Values on a grid.
    axes : three int
        Axes with a zero stay as they are.
    """
    for axis, needed in enumerate(axes, 1):
        n = values.shape[axis]
        if needed and n % 2:
            values = fft.irfft(fft.rfft(values, axis=axis), n + 1, axis=axis) * ((n + 1) / n)
    return values


class Windows:
    """Points around the nuclei, and the atoms next to each, as boxes of points for `grid`.

    Parameters
    ----------
    positions : (n, 3) array
        Nuclei, bohr; their images in the home cell are meant.
    grid : (k, n1, n2, n3) array
        Potentials on the whole grid.
    cell : (3, 3) array
        Lattice vectors in rows, bohr.
    half : HalfGrid
        Whose sum is corrected.
    """

    def __init__(self, positions: np.ndarray, grid: np.ndarray, cell: np.ndarray, half: HalfGrid):
        self._centres = centres = positions @ np.linalg.inv(cell) % 1.0 @ cell
        self._grid, self._half = grid.reshape(len(grid), -1), half
        self._shape = np.array(grid.shape[1:])
        self._width = EDGE / half.shortest
        steps = cell / self._shape[:, None]
        self._nearest = np.rint(centres @ np.linalg.inv(steps)).astype(int)
        self.corners = self._nearest @ steps
        radius = WINDOW_RADIUS + END * self._width
        reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(steps), axis=0)).astype(int) + 1
        indices = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing='ij'), -1).reshape(-1, 3)
        shift = np.linalg.norm(self.corners - centres, axis=1).max(initial=0.0)
        self._indices = indices[np.linalg.norm(indices @ steps, axis=1) < radius + shift]
        #: Points of a window relative to the grid point next to its nucleus, (points, 3).
        self.points = self._indices @ steps

    def batches(self, tree: cKDTree, radii: np.ndarray, kinds: np.ndarray, size: int) -> Iterator[Batch]:
        """Batches of windows; see `PointBlocks.batches`. The atoms of a window are its own and its neighbours."""
        found = tree.query_ball_point(self._centres, NEIGHBOUR_RADIUS, return_sorted=True)
        counts = [len(each) for each in found]
        atoms = np.concatenate(found).astype(np.int64)
        return batches_of(atoms, np.repeat(np.arange(len(found)), counts), kinds, max(1, size // len(self.points)))

    def values(self, chosen: np.ndarray) -> np.ndarray:
        """(windows, k, points) potentials times window and sign."""
        indices = self._nearest[chosen, None] + self._indices
        distances = np.linalg.norm(self.points + (self.corners - self._centres)[chosen, None], axis=-1)
        window = 0.5 * erfc((distances - WINDOW_RADIUS) / self._width) * self._half.signs(indices)
        i, j, k = np.moveaxis(indices % self._shape, -1, 0)
        flat = (i * self._shape[1] + j) * self._shape[2] + k
        return np.moveaxis(self._grid[:, flat], 0, 1) * window[:, None]
