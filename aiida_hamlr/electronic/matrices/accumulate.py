"""Adding dense matrices between atoms and their images into the sparse blocks of a pattern."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from aiida_hamlr.electronic.arrays import NumpyArrays, TorchArrays
from aiida_hamlr.electronic.matrices.blocks import BlockPattern

#: Images are numbered by three digits of this base, so that differences of images are differences of numbers.
IMAGE_BASE = 1024

#: Rows multiplied at once, about: few enough to skip most of the lower triangle, enough for BLAS.
ROWS = 104

#: Blocks brought into the storage of a pattern at once.
BLOCKS_AT_ONCE = 4000

#: Key of an empty place; no sum with it is the key of a block.
NOWHERE = np.iinfo(np.int64).min // 4


@lru_cache(maxsize=256)
def _upper_triangle(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(n)


def _image_numbers(images: np.ndarray) -> np.ndarray:
    return (images[:, 0] * IMAGE_BASE + images[:, 1]) * IMAGE_BASE + images[:, 2]


class BlockAccumulator:
    """Sums symmetric matrices, each between the orbitals of a group of atoms and images, into a pattern's entries.

    Of every pair ``(A, B), (B, A)`` one block is added, the other follows by transposition at the end: the work is
    halved and the result is symmetric to the last bit, or antisymmetric. Blocks outside the pattern are dropped. Which
    block goes where is found on the CPU, the numbers stay on the device.

    Groups come in batches. In a batch every group has the same number of places for atoms of every kind, kind after
    kind; places may be empty.

    Parameters
    ----------
    pattern : BlockPattern
    kinds : (N,) int array
        Kind of every atom, 0, 1, ...; atoms of one kind have the same number of orbitals.
    arrays : NumpyArrays or TorchArrays
        What the matrices and the sums are.
    n_operators : int
        How many matrices are summed at once, between the same orbitals.
    antisymmetric : bool
        Whether the matrices are antisymmetric instead.
    """

    def __init__(
        self,
        pattern: BlockPattern,
        kinds: np.ndarray,
        arrays: NumpyArrays | TorchArrays,
        n_operators: int = 1,
        *,
        antisymmetric: bool = False,
    ):
        self.pattern, self._sign = pattern, -1.0 if antisymmetric else 1.0
        self._n_operators, self._arrays, self._n_atoms = n_operators, arrays, len(kinds)
        #: Orbitals of an atom of every kind.
        self._sizes = [int(pattern.n_orbitals[kinds == kind][0]) for kind in range(kinds.max() + 1)]
        keys = self._row_keys(pattern.first, np.zeros_like(pattern.images))
        keys = keys + self._column_keys(pattern.second, pattern.images)
        order = np.argsort(keys)
        self._sorted_keys = keys[order]
        # row of every block within the sums of its pair of kinds; row 0 takes what is dropped
        rows = np.zeros(len(pattern), dtype=np.int64)
        self._members, self._sums = {}, {}
        for a, n_a in enumerate(self._sizes):
            for b, n_b in enumerate(self._sizes[a:], a):
                members = np.flatnonzero((kinds[pattern.first] == a) & (kinds[pattern.second] == b))
                self._members[a, b] = members
                rows[members] = 1 + np.arange(len(members))
                self._sums[a, b] = arrays.zeros(len(members) + 1, n_operators * n_a * n_b)
        self._sorted_rows = rows[order]

    def _row_keys(self, atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        return atoms * (self._n_atoms * IMAGE_BASE**3) - _image_numbers(images)

    def _column_keys(self, atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        return atoms * IMAGE_BASE**3 + _image_numbers(images) + IMAGE_BASE**3 // 2

    def places(self, atoms: np.ndarray, images: np.ndarray, groups: np.ndarray, slots: np.ndarray, shape):
        """Where the block between every two places of every group of a batch goes, for `add`.

        Parameters
        ----------
        atoms, images : (n,), (n, 3) int arrays
            Atom of every place that is filled, and the cell vectors of its image.
        groups, slots : (n,) int arrays
            Group and place of every atom.
        shape : two int
            Number of groups, and of places in each.

        Returns
        -------
        (groups, places, places) int array
            Only the upper triangles are meant.
        """
        row_keys = np.full(shape, NOWHERE)
        column_keys = np.full(shape, NOWHERE)
        row_keys[groups, slots] = self._row_keys(atoms, images)
        column_keys[groups, slots] = self._column_keys(atoms, images)
        i, j = _upper_triangle(shape[1])
        keys = row_keys[:, i] + column_keys[:, j]
        found = np.minimum(np.searchsorted(self._sorted_keys, keys), len(self._sorted_keys) - 1)
        result = np.zeros((*shape, shape[1]), dtype=np.int64)
        result[:, i, j] = np.where(self._sorted_keys[found] == keys, self._sorted_rows[found], 0)
        return self._arrays.array(result)

    def add(self, places, counts: list[int], left: Callable, right):
        """Add ``left[:, n] @ right.T``, which must have the symmetry of the sums, for every operator n and group.

        Parameters
        ----------
        places : array
            As `places` makes it.
        counts : list of int
            Places for atoms of every kind.
        left : callable
            ``left(rows)`` is the array (groups, n_operators, rows, contracted) of a slice of orbitals.
        right : (groups, orbitals, contracted) array
            Zero in empty places.
        """
        n_groups, offset, stops = len(right), 0, np.cumsum(counts).tolist()
        for a, n_a in enumerate(self._sizes):
            step = max(1, ROWS // (n_a * self._n_operators))
            for first in range(stops[a] - counts[a], stops[a], step):
                n_rows = min(step, stops[a] - first)
                rows = slice(offset, offset + n_rows * n_a)
                shape = n_groups, self._n_operators, n_rows, n_a
                factors = left(rows).reshape(n_groups, self._n_operators * n_rows * n_a, -1)
                product = self._arrays.products(factors, right[:, offset:].swapaxes(1, 2)).reshape(*shape, -1)
                low, column = first, 0
                for b, n_b in enumerate(self._sizes[a:], a):
                    width = (stops[b] - low) * n_b
                    blocks = product[..., column : column + width].reshape(*shape, stops[b] - low, n_b)
                    blocks = self._arrays.rows(blocks, (0, 2, 4, 1, 3, 5), self._sums[a, b].shape[1])
                    place = places[:, first : first + n_rows, low : stops[b]].reshape(-1)
                    self._arrays.add_rows(self._sums[a, b], place, blocks)
                    low, column = stops[b], column + width
                offset = rows.stop

    def entries(self) -> np.ndarray:
        """(n_operators, M) the sums as entries of the pattern. Call it once: the sums are released."""
        pattern, n_operators = self.pattern, self._n_operators
        in_place = n_operators == 1 and len(self._sizes) == 1
        result = None if in_place else np.empty((n_operators, pattern.n_entries))
        rows = np.empty(len(pattern), dtype=np.int64)
        for (a, b), members in self._members.items():
            sums = self._arrays.numpy(self._sums.pop((a, b)))[1:]
            sums = sums.reshape(-1, n_operators, self._sizes[a], self._sizes[b])
            if in_place:
                # the sums of the only kind of atoms are in the order of the pattern
                result = sums.reshape(1, -1)
            rows[members] = np.arange(len(members))
            half = members[members <= pattern.reverse[members]] if a == b else members
            for chosen in pattern.slices(half, BLOCKS_AT_ONCE):
                reverse = pattern.reverse[chosen]
                blocks = sums[rows[chosen]].swapaxes(0, 1)
                if a == b:
                    blocks = blocks + self._sign * sums[rows[reverse]].transpose(1, 0, 3, 2)
                    blocks[:, chosen == reverse] *= 0.5
                places, mirrored = pattern.places(chosen)
                result[:, mirrored] = self._sign * blocks
                result[:, places] = blocks
        return result
