"""The grid cut into boxes, and the atoms and images whose orbitals reach each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

#: Boxes whose neighbours are searched at once.
SEARCHED_AT_ONCE = 2000

#: Pairs of an atom and a box that are checked point by point at once.
CHECKED_AT_ONCE = 1000


def images_near_cell(positions: np.ndarray, cell: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Atoms (n,) and images (n, 3) that come within ``reach`` of the home cell."""
    inverse = np.linalg.inv(cell)
    fractional = positions @ inverse
    margin = reach * np.linalg.norm(inverse, axis=0)
    low = np.floor(-margin - fractional.max(axis=0)).astype(int)
    high = np.ceil(1 + margin - fractional.min(axis=0)).astype(int)
    images = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing='ij'), -1)
    images = images.reshape(-1, 3)
    found_atoms, found_images = [], []
    for image in images:
        shifted = fractional + image
        inside = np.flatnonzero(((shifted >= -margin) & (shifted <= 1 + margin)).all(axis=1))
        found_atoms.append(inside)
        found_images.append(np.broadcast_to(image, (len(inside), 3)))
    return np.concatenate(found_atoms), np.concatenate(found_images)


@dataclass(frozen=True)
class Batch:
    """Boxes of a batch and the atoms that reach them.

    Parameters
    ----------
    chosen : (n,) int array
        Which boxes.
    atoms, blocks, slots : (pairs,) int array
        Atom or image, box within the batch, and place within the box.
    counts : list of int
        Places for atoms of every kind, the same for all boxes.
    """

    chosen: np.ndarray
    atoms: np.ndarray
    blocks: np.ndarray
    slots: np.ndarray
    counts: list[int]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of boxes, and of places of each."""
        return len(self.chosen), sum(self.counts)


class PointBlocks:
    """Boxes of grid points of one shape, and the atoms whose orbitals reach them.

    Parameters
    ----------
    starts : (n, 3) int array
        First grid point of every box along the axes.
    shape : three int
        Points of a box along the axes.
    steps : (3, 3) array
        Vectors between neighbouring grid points, bohr.
    """

    def __init__(self, starts: np.ndarray, shape: np.ndarray, steps: np.ndarray):
        self.starts, self.shape = starts, shape
        indices = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing='ij'), -1).reshape(-1, 3)
        self.corners = starts @ steps
        #: Points of a box relative to its corner, (points, 3).
        self.points = indices @ steps

    def regions(self, chosen: np.ndarray) -> list[tuple[slice, ...]]:
        """Slices of the grid of some of the boxes."""
        return [
            tuple(slice(int(a), int(a + n)) for a, n in zip(start, self.shape, strict=True))
            for start in self.starts[chosen]
        ]

    def batches(self, tree: cKDTree, radii: np.ndarray, kinds: np.ndarray, size: int) -> Iterator[Batch]:
        """Batches of boxes with similar numbers of atoms that reach them; boxes that none reaches are left out.

        Parameters
        ----------
        tree : cKDTree
            Of the atoms and images, ordered by kind.
        radii : (atoms,) array
            Of their orbitals, bohr.
        kinds : (atoms,) int array
            Kind of every atom or image, 0, 1, ...
        size : int
            Points of all atoms of a batch, about.
        """
        parts = [
            self._neighbours(tree, radii, np.arange(start, min(start + SEARCHED_AT_ONCE, len(self.starts))))
            for start in range(0, len(self.starts), SEARCHED_AT_ONCE)
        ]
        atoms, boxes = (np.concatenate(each) for each in zip(*parts, strict=True))
        counts = np.zeros((len(self.starts), kinds.max() + 1), dtype=np.int64)
        np.add.at(counts, (boxes, kinds[atoms]), 1)
        bounds = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
        order = np.lexsort(counts.T)
        order = order[counts[order].any(axis=1)]
        start = 0
        while start < len(order):
            n_boxes = int(max(1, size // (counts[order[start]].sum() * len(self.points))))
            chosen = order[start : start + n_boxes]
            start += n_boxes
            n_places = counts[chosen].max(axis=0)
            pairs = np.concatenate([np.arange(bounds[box], bounds[box + 1]) for box in chosen])
            blocks = np.repeat(np.arange(len(chosen)), counts[chosen].sum(axis=1))
            pair_kinds = kinds[atoms[pairs]]
            # atoms of a box are ordered by kind: count from the first of the kind in the box
            firsts = np.cumsum(counts[chosen], axis=1) - counts[chosen]
            within = np.arange(len(pairs)) - np.searchsorted(blocks, blocks) - firsts[blocks, pair_kinds]
            slots = (np.cumsum(n_places) - n_places)[pair_kinds] + within
            yield Batch(chosen, atoms[pairs], blocks, slots, n_places.tolist())

    def _neighbours(self, tree: cKDTree, radii: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Atoms that reach the chosen boxes, one box after the other, and the box of each."""
        middle = self.points.mean(axis=0)
        centred = self.points - middle
        squares = (centred**2).sum(axis=1)
        outer, inner = np.sqrt(squares.max()), np.sqrt(squares.min())
        middles = self.corners[chosen] + middle
        found = tree.query_ball_point(middles, radii.max() + outer, return_sorted=True)
        counts = np.array([len(each) for each in found])
        atoms = np.fromiter(chain.from_iterable(found), dtype=np.int64, count=counts.sum())
        boxes = np.repeat(np.arange(len(found)), counts)
        offsets = tree.data[atoms] - middles[boxes]
        distances = (offsets**2).sum(axis=1)
        near = np.sqrt(distances) < radii[atoms] - inner
        unclear = np.flatnonzero(~near)
        for start in range(0, len(unclear), CHECKED_AT_ONCE):
            part = unclear[start : start + CHECKED_AT_ONCE]
            smallest = (squares - 2.0 * (offsets[part] @ centred.T)).min(axis=1)
            near[part] = smallest + distances[part] < radii[atoms[part]] ** 2
        return atoms[near], chosen[boxes[near]]


def point_blocks(shape: tuple[int, int, int], cell: np.ndarray, edge: float) -> Iterator[PointBlocks]:
    """The grid cut into boxes with edges of about ``edge``, those of equal shape together."""
    steps = cell / np.array(shape)[:, None]
    counts = [
        min(n, max(1, round(float(np.linalg.norm(vector)) / edge))) for n, vector in zip(shape, cell, strict=True)
    ]
    bounds = [np.linspace(0, n, count + 1).round().astype(int) for n, count in zip(shape, counts, strict=True)]
    starts = np.stack(np.meshgrid(*(b[:-1] for b in bounds), indexing='ij'), -1).reshape(-1, 3)
    sizes = np.stack(np.meshgrid(*(np.diff(b) for b in bounds), indexing='ij'), -1).reshape(-1, 3)
    shapes, member = np.unique(sizes, axis=0, return_inverse=True)
    for index, box in enumerate(shapes):
        yield PointBlocks(starts[member.ravel() == index], box, steps)
