"""Rows of several structures, one after the other, as dense arrays with room for the largest structure."""

from __future__ import annotations

import torch


class Padding:
    """Change between rows of all structures of a batch and dense arrays with one axis for the structures.

    A single structure is never copied.

    Parameters
    ----------
    counts : (B,) int tensor
        Numbers of rows of the structures.
    """

    def __init__(self, counts: torch.Tensor):
        self.n_structures, self._index = len(counts), None
        if self.n_structures > 1:
            self._counts, self._size = counts, int(counts.max())
            structure, place = _within(counts)
            self._index = self._size * structure + place

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, n, ...) array of (N, ...) rows, zero where a structure has fewer than n."""
        if self._index is None:
            return rows[None]
        dense = rows.new_zeros(self.n_structures * self._size, *rows.shape[1:]).index_copy(0, self._index, rows)
        return dense.view(self.n_structures, self._size, *rows.shape[1:])

    def inverse(self, dense: torch.Tensor) -> torch.Tensor:
        """(N, ...) rows of such a (B, n, ...) array."""
        return dense[0] if self._index is None else dense.flatten(0, 1).index_select(0, self._index)

    def matrices(self, values: torch.Tensor) -> torch.Tensor:
        """(B, n, n, ...) array of (sum of N_b^2, ...) values, for each structure those of its rows with its rows."""
        if self._index is None:
            size = round(len(values) ** 0.5)
            return values.reshape(1, size, size, *values.shape[1:])
        structure, place = _within(self._counts**2)
        count = self._counts[structure]
        dense = values.new_zeros(self.n_structures, self._size, self._size, *values.shape[1:])
        dense[structure, place // count, place % count] = values
        return dense


def _within(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Structure of every row, and its place among the rows of that structure."""
    structure = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    start = counts.cumsum(0) - counts
    return structure, torch.arange(len(structure), device=counts.device) - start.index_select(0, structure)
