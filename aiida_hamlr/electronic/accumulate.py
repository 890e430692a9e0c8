"""Adding dense matrices between atoms and their images into the sparse blocks of a pattern."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from aiida_hamlr.electronic.blocks import BlockPattern

#: Images are numbered by three digits of this base, so that differences of images are differences of numbers.
IMAGE_BASE = 1024

#: Rows multiplied at once, about: few enough to skip most of the lower triangle, enough for BLAS.
ROWS = 104


@lru_cache(maxsize=256)
def _upper_triangle(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and flat indices of the upper triangle of a square matrix."""
    rows, columns = np.triu_indices(n)
    return rows, columns, rows * n + columns


def _image_numbers(images: np.ndarray) -> np.ndarray:
    return (images[:, 0] * IMAGE_BASE + images[:, 1]) * IMAGE_BASE + images[:, 2]


class BlockAccumulator:
    """Sums symmetric matrices, each between the orbitals of a group of atoms and images, into a pattern's entries.

    Of every pair ``(A, B), (B, A)`` one block is added, the other follows by transposition at the end: the work is
    halved and the result is symmetric to the last bit. Blocks outside the pattern are dropped. Which block goes where
    is found on the CPU, for many groups at once; the numbers stay on the device.

    Within a group, atoms must be ordered by their number of orbitals.

    Parameters
    ----------
    pattern : BlockPattern
    n_operators : int
        How many matrices are summed at once, between the same orbitals.
    device : str
        Where the matrices are and the sums are kept.
    """

    def __init__(self, pattern: BlockPattern, n_operators: int = 1, device: str = 'cpu'):
        self.pattern = pattern
        self._n_operators, self._device = n_operators, device
        #: Sizes of atoms, and the one of every atom.
        self._sizes, self._classes = np.unique(pattern.n_orbitals, return_inverse=True)
        keys = self._row_keys(pattern.first, np.zeros_like(pattern.images))
        keys = keys + self._column_keys(pattern.second, pattern.images)
        order = np.argsort(keys)
        self._sorted_keys = keys[order]
        # row of every block within the sums of its pair of classes; row 0 takes what is dropped
        rows = np.zeros(len(pattern), dtype=np.int64)
        self._members, self._sums = {}, {}
        for a, n_a in enumerate(self._sizes):
            for b, n_b in enumerate(self._sizes[a:], a):
                members = (self._classes[pattern.first] == a) & (self._classes[pattern.second] == b)
                self._members[a, b] = members = np.flatnonzero(members)
                rows[members] = 1 + np.arange(len(members))
                shape = len(members) + 1, n_operators * int(n_a * n_b)
                self._sums[a, b] = torch.zeros(shape, dtype=torch.float64, device=device)
        self._sorted_rows = rows[order]

    def _row_keys(self, atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        return atoms * (len(self._classes) * IMAGE_BASE**3) - _image_numbers(images)

    def _column_keys(self, atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        return atoms * IMAGE_BASE**3 + _image_numbers(images) + IMAGE_BASE**3 // 2

    def groups(self, atoms: np.ndarray, images: np.ndarray, sizes: np.ndarray) -> list[tuple[np.ndarray, torch.Tensor]]:
        """Prepare groups of atoms for `add`: ``(counts, places)`` of each.

        Parameters
        ----------
        atoms, images : (n,), (n, 3) int arrays
            Atoms of all groups, one group after the other.
        sizes : (g,) int array
            How many atoms each group has.
        """
        row_keys, column_keys = self._row_keys(atoms, images), self._column_keys(atoms, images)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        square_starts = np.concatenate([[0], np.cumsum(np.square(sizes))])
        triangles = [_upper_triangle(int(size)) for size in sizes]
        keys = [row_keys[start + i] + column_keys[start + j] for (i, j, _), start in zip(triangles, starts, strict=False)]
        targets = [start + flat for (_, _, flat), start in zip(triangles, square_starts, strict=False)]
        keys, targets = np.concatenate(keys), np.concatenate(targets)
        found = np.minimum(np.searchsorted(self._sorted_keys, keys), len(self._sorted_keys) - 1)
        places = np.zeros(square_starts[-1], dtype=np.int64)
        places[targets] = np.where(self._sorted_keys[found] == keys, self._sorted_rows[found], 0)
        places = torch.from_numpy(places).to(self._device)
        classes = self._classes[atoms]
        result = []
        for start, size, square in zip(starts, sizes, square_starts, strict=False):
            counts = np.bincount(classes[start : start + size], minlength=len(self._sizes))
            result.append((counts, places[square : square + size * size].view(int(size), int(size))))
        return result

    def add(self, group: tuple[np.ndarray, torch.Tensor], left: torch.Tensor, right: torch.Tensor):
        """Add ``left[:, n] @ right.T``, which must be symmetric, for every operator n.

        Parameters
        ----------
        group : tuple
            Of the atoms whose orbitals are the rows, as `groups` makes it.
        left : (orbitals, n_operators, contracted) tensor
        right : (orbitals, contracted) tensor
        """
        counts, places = group
        starts = [0, *np.cumsum(counts).tolist()]
        offset = 0
        for a, n_a in enumerate(self._sizes.tolist()):
            step = max(1, ROWS // (n_a * self._n_operators))
            for first in range(starts[a], starts[a + 1], step):
                n_rows = min(step, starts[a + 1] - first)
                stop = offset + n_rows * n_a
                product = torch.mm(left[offset:stop].flatten(0, 1), right[offset:].T)
                product = product.view(n_rows, n_a, self._n_operators, -1)
                column = 0
                for b, n_b in enumerate(self._sizes[a:].tolist(), a):
                    low, high = max(first, starts[b]), starts[b + 1]
                    if high <= low:
                        continue
                    width = (high - low) * n_b
                    blocks = product[..., column : column + width].unflatten(3, (high - low, n_b))
                    blocks = blocks.permute(0, 3, 2, 1, 4).reshape(n_rows * (high - low), -1)
                    place = places[first : first + n_rows, low:high].reshape(-1)
                    self._sums[a, b].index_add_(0, place, blocks)
                    column += width
                offset = stop

    def entries(self) -> np.ndarray:
        """(n_operators, M) the sums as entries of the pattern."""
        pattern = self.pattern
        result = np.empty((self._n_operators, pattern.n_entries))
        for (a, b), members in self._members.items():
            n_a, n_b = int(self._sizes[a]), int(self._sizes[b])
            sums = self._sums[a, b][1:].cpu().numpy().reshape(-1, self._n_operators, n_a, n_b)
            local = np.arange(n_a * n_b)
            starts = pattern.chunk_boundaries[members, None]
            if a == b:
                rows = np.empty(len(pattern), dtype=np.int64)
                rows[members] = np.arange(len(members))
                onsite = members == pattern.reverse[members]
                reverse = rows[pattern.reverse[members]]
            for operator, row in enumerate(result):
                blocks = sums[:, operator]
                if a == b:
                    blocks = blocks + blocks[reverse].transpose(0, 2, 1)
                    blocks[onsite] *= 0.5
                else:
                    reverse_starts = pattern.chunk_boundaries[pattern.reverse[members], None]
                    row[reverse_starts + local] = blocks.transpose(0, 2, 1).reshape(len(members), -1)
                row[starts + local] = blocks.reshape(len(members), -1)
        return result
