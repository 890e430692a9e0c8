"""Adding dense matrices between atoms and their images into the sparse blocks of a pattern."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from aiida_hamlr.electronic.blocks import BlockPattern

#: Images are numbered by three digits of this base, so that differences of images are differences of numbers.
IMAGE_BASE = 1024

#: Atoms whose rows are multiplied at once: small enough to skip most of the lower triangle, large enough for BLAS.
CHUNK = 8


@lru_cache(maxsize=256)
def _upper_triangle(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(n)


def _image_numbers(images: np.ndarray) -> np.ndarray:
    return (images[:, 0] * IMAGE_BASE + images[:, 1]) * IMAGE_BASE + images[:, 2]


class BlockAccumulator:
    """Sums symmetric matrices, each between the orbitals of a few atoms and images, into a pattern's entries.

    Only one block of every pair ``(A, B), (B, A)`` is added, the other follows by transposition at the end: the
    work is halved and the result is symmetric to the last bit. Blocks outside the pattern are dropped. Which block
    goes where is found on the CPU, the numbers stay on the device.

    Parameters
    ----------
    pattern : BlockPattern
    kinds : (N,) int array
        Species of every atom, 0, 1, ...; atoms of one kind have the same number of orbitals.
    n_operators : int
        How many matrices are summed at once, between the same orbitals.
    device : str
        Where the matrices are and the sums are kept.
    """

    def __init__(self, pattern: BlockPattern, kinds: np.ndarray, n_operators: int = 1, device: str = 'cpu'):
        self.pattern = pattern
        self.kinds = kinds
        self.n_orbitals = np.array([pattern.n_orbitals[kinds == kind][0] for kind in range(kinds.max() + 1)])
        self._device = device
        keys = self._row_keys(pattern.first, np.zeros_like(pattern.images))
        keys = keys + self._column_keys(pattern.second, pattern.images)
        order = np.argsort(keys)
        self._sorted_keys = keys[order]
        # position of every block within the sums of its pair of kinds, in the order of the sorted keys
        within = np.zeros(len(pattern), dtype=np.int64)
        self._members, self._sums = {}, {}
        for a, n_a in enumerate(self.n_orbitals):
            for b, n_b in enumerate(self.n_orbitals[a:], a):
                members = np.flatnonzero((kinds[pattern.first] == a) & (kinds[pattern.second] == b))
                within[members] = np.arange(len(members))
                self._members[a, b] = members
                self._sums[a, b] = [
                    torch.zeros(len(members), int(n_a * n_b), dtype=torch.float64, device=device)
                    for _ in range(n_operators)
                ]
        self._within = within[order]

    def _row_keys(self, atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        return atoms * (len(self.kinds) * IMAGE_BASE**3) - _image_numbers(images)

    def _column_keys(self, atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        return atoms * IMAGE_BASE**3 + _image_numbers(images) + IMAGE_BASE**3 // 2

    def add(self, atoms: np.ndarray, images: np.ndarray, lefts: list[torch.Tensor], right: torch.Tensor):
        """Add ``left @ right.T``, which must be symmetric, for the ``left`` of every operator.

        Parameters
        ----------
        atoms, images : (n,), (n, 3) int arrays
            In the order of the rows of ``left`` and ``right``; kinds ascending.
        lefts : list of (orbitals, contracted) tensors
        right : (orbitals, contracted) tensor
        """
        kinds = self.kinds[atoms]
        i, j = _upper_triangle(len(atoms))
        keys = self._row_keys(atoms, images)[i] + self._column_keys(atoms, images)[j]
        slots = np.searchsorted(self._sorted_keys, keys)
        slots[slots == len(self._sorted_keys)] = 0
        found = np.flatnonzero(self._sorted_keys[slots] == keys)
        i, j, slots = i[found], j[found], self._within[slots[found]]
        starts = np.searchsorted(kinds, np.arange(len(self.n_orbitals) + 1))
        offsets = np.concatenate([[0], np.cumsum(self.n_orbitals * np.diff(starts))])
        present = np.unique(kinds)
        for a in present:
            rows, n_a = slice(int(offsets[a]), int(offsets[a + 1])), int(self.n_orbitals[a])
            products = [self._upper_product(left, right, rows, n_a) for left in lefts]
            for b in present[present >= a]:
                columns, n_b = slice(int(offsets[b]) - rows.start, int(offsets[b + 1]) - rows.start), self.n_orbitals[b]
                chosen = np.flatnonzero((kinds[i] == a) & (kinds[j] == b))
                first, second = i[chosen] - starts[a], j[chosen] - starts[b]
                diagonal = np.flatnonzero(i[chosen] == j[chosen])
                indices = (first, second, slots[chosen], diagonal)
                first, second, target, diagonal = (torch.from_numpy(index).to(self._device) for index in indices)
                for sums, product in zip(self._sums[a, b], products, strict=True):
                    blocks = product[:, columns].unflatten(1, (-1, int(n_b))).unflatten(0, (-1, n_a))
                    values = blocks.permute(0, 2, 1, 3)[first, second].flatten(1)
                    if len(diagonal):
                        values[diagonal] *= 0.5
                    sums.index_add_(0, target, values)

    @staticmethod
    def _upper_product(left: torch.Tensor, right: torch.Tensor, rows: slice, n_orbitals: int) -> torch.Tensor:
        """``left[rows] @ right[rows.start:].T``, of its blocks below the diagonal only some."""
        result = left.new_empty(rows.stop - rows.start, len(right) - rows.start)
        step = CHUNK * n_orbitals
        for start in range(rows.start, rows.stop, step):
            chunk = slice(start, min(start + step, rows.stop))
            target = result[start - rows.start : chunk.stop - rows.start, start - rows.start :]
            torch.mm(left[chunk], right[start:].T, out=target)
        return result

    def entries(self) -> np.ndarray:
        """(n_operators, M) the sums as entries of the pattern."""
        n_operators = len(next(iter(self._sums.values())))
        half = np.zeros((n_operators, self.pattern.n_entries))
        for key, members in self._members.items():
            for row, sums in zip(half, self._sums[key], strict=True):
                row[self.pattern.chunk_boundaries[members, None] + np.arange(sums.shape[1])] = sums.cpu().numpy()
        return half + half[:, self.pattern.transpose_indices]
