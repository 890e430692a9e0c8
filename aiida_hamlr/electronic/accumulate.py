"""Adding dense matrices between atoms and their images into the sparse blocks of a pattern."""

from __future__ import annotations

import numpy as np
import torch

from aiida_hamlr.electronic.blocks import BlockPattern


class BlockAccumulator:
    """Sums symmetric matrices, each between the orbitals of a few atoms and images, into a pattern's entries.

    Only one block of every pair ``(A, B), (B, A)`` is added, the other follows by transposition at the end: the
    work is halved and the result is symmetric to the last bit. Blocks outside the pattern are dropped.

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
        self.n_orbitals = [int(pattern.n_orbitals[kinds == kind][0]) for kind in range(kinds.max() + 1)]
        self._low = torch.from_numpy(pattern.images.min(axis=0)).to(device)
        self._extent = torch.from_numpy(np.ptp(pattern.images, axis=0) + 1).to(device)
        self._n_atoms = len(pattern.n_orbitals)
        kind_i, kind_j = kinds[pattern.first], kinds[pattern.second]
        keys = self._keys(
            *(torch.from_numpy(a.copy()).to(device) for a in (pattern.first, pattern.second, pattern.images))
        )
        self._keys_sorted, order = torch.sort(keys)
        # position of every block within the sums of its pair of kinds, in the order of the sorted keys
        within = np.zeros(len(pattern), dtype=np.int64)
        self._members, self._sums = {}, {}
        for a, n_a in enumerate(self.n_orbitals):
            for b, n_b in enumerate(self.n_orbitals[a:], a):
                members = np.flatnonzero((kind_i == a) & (kind_j == b))
                within[members] = np.arange(len(members))
                self._members[a, b] = members
                shape = n_operators, len(members), n_a * n_b
                self._sums[a, b] = torch.zeros(shape, dtype=torch.float64, device=device)
        self._within = torch.from_numpy(within).to(device)[order]

    def _keys(self, first, second, images):
        shifted = images - self._low
        cell = (shifted[..., 0] * self._extent[1] + shifted[..., 1]) * self._extent[2] + shifted[..., 2]
        return (first * self._n_atoms + second) * self._extent.prod() + cell

    def add(
        self, segments: list[tuple[int, torch.Tensor, torch.Tensor]], lefts: list[torch.Tensor], right: torch.Tensor
    ):
        """Add ``left @ right.T``, which must be symmetric, for the ``left`` of every operator.

        Parameters
        ----------
        segments : list of (kind, atoms, images)
            Atoms (n,) and images (n, 3) of one kind each, in the order of the rows of ``left`` and ``right``; kinds
            ascending.
        lefts : list of (orbitals, contracted) tensors
        right : (orbitals, contracted) tensor
        """
        starts = np.concatenate([[0], np.cumsum([self.n_orbitals[kind] * len(atoms) for kind, atoms, _ in segments])])
        for p, (kind, atoms, images) in enumerate(segments):
            rows = slice(int(starts[p]), int(starts[p + 1]))
            products = [left[rows] @ right[rows.start :].T for left in lefts]
            for q in range(p, len(segments)):
                other, other_atoms, other_images = segments[q]
                columns = slice(int(starts[q]) - rows.start, int(starts[q + 1]) - rows.start)
                i, j, slots = self._locate(atoms, images, other_atoms, other_images, p == q)
                shape = (len(atoms), self.n_orbitals[kind]), (len(other_atoms), self.n_orbitals[other])
                for sums, product in zip(self._sums[kind, other], products, strict=True):
                    blocks = product[:, columns].unflatten(1, shape[1]).unflatten(0, shape[0]).permute(0, 2, 1, 3)
                    chosen = blocks[i, j].flatten(1)
                    if p == q:
                        chosen[i == j] *= 0.5
                    sums.index_add_(0, slots, chosen)

    def _locate(self, atoms, images, other_atoms, other_images, same: bool):
        """Pairs of the two lists that are in the pattern, and which sums they belong to."""
        n_a, n_b, device = len(atoms), len(other_atoms), atoms.device
        if same:
            i, j = torch.triu_indices(n_a, n_b, device=device)
        else:
            i = torch.arange(n_a, device=device).repeat_interleave(n_b)
            j = torch.arange(n_b, device=device).repeat(n_a)
        difference = other_images[j] - images[i]
        keys = self._keys(atoms[i], other_atoms[j], difference)
        inside = ((difference >= self._low) & (difference < self._low + self._extent)).all(dim=1)
        position = torch.searchsorted(self._keys_sorted, keys).clamp_(max=len(self._keys_sorted) - 1)
        found = torch.nonzero(inside & (self._keys_sorted[position] == keys)).squeeze(1)
        return i[found], j[found], self._within[position[found]]

    def entries(self) -> np.ndarray:
        """(n_operators, M) the sums as entries of the pattern."""
        n_operators = len(next(iter(self._sums.values())))
        half = np.zeros((n_operators, self.pattern.n_entries))
        for key, members in self._members.items():
            sums = self._sums[key].cpu().numpy()
            half[:, self.pattern.chunk_boundaries[members, None] + np.arange(sums.shape[2])] = sums
        return half + half[:, self.pattern.transpose_indices]
