"""Matrices in an orbital basis of a periodic crystal, stored as one flat array of atom-pair blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class BlockPattern:
    """Which blocks of a crystal's matrices are stored, and where.

    Block ``p`` couples the orbitals of atom ``i`` in the home cell (rows) with those of atom ``j`` in the cell
    displaced by ``R`` lattice vectors (columns): ``M_p = <phi_i(0)| M |phi_j(R)>``. Blocks lie row-major, one after the
    other, in a flat array. Both directions of every pair are stored.

    Parameters
    ----------
    atom_pairs : (P, 5) int array
        Rows ``Rx, Ry, Rz, i, j``, atoms counted from 0. Each row occurs once, and so does its reverse.
    n_orbitals : (N,) int array
        Number of orbitals of each atom.

    Raises
    ------
    ValueError
        If a pair names an atom that is not there, occurs twice, or has no reverse.
    """

    atom_pairs: np.ndarray
    n_orbitals: np.ndarray
    #: (P,) index of the block (j, i, -R) for every block (i, j, R).
    reverse: np.ndarray = field(init=False)

    def __post_init__(self):
        pairs = np.ascontiguousarray(self.atom_pairs, dtype=np.int64).reshape(-1, 5)
        n_orbitals = np.ascontiguousarray(self.n_orbitals, dtype=np.int64)
        object.__setattr__(self, 'atom_pairs', pairs)
        object.__setattr__(self, 'n_orbitals', n_orbitals)
        atoms = pairs[:, 3:]
        if len(pairs) and (atoms.min() < 0 or atoms.max() >= len(n_orbitals)):
            raise ValueError(f'atom_pairs names atom {atoms.max()}, but the structure has {len(n_orbitals)} atoms')
        mirrored = np.concatenate([-pairs[:, :3], pairs[:, 4:5], pairs[:, 3:4]], axis=1)
        order, order_mirrored = np.lexsort(pairs.T), np.lexsort(mirrored.T)
        if not np.array_equal(pairs[order], mirrored[order_mirrored]):
            raise ValueError('atom_pairs must hold the reverse (-R, j, i) of every pair (R, i, j)')
        if len(pairs) and not np.any(np.diff(pairs[order], axis=0), axis=1).all():
            raise ValueError('atom_pairs holds a pair twice')
        reverse = np.empty(len(pairs), dtype=np.int64)
        reverse[order_mirrored] = order
        object.__setattr__(self, 'reverse', reverse)

    def __len__(self):
        return len(self.atom_pairs)

    @property
    def images(self) -> np.ndarray:
        """(P, 3) lattice vectors R of the blocks, in units of the cell."""
        return self.atom_pairs[:, :3]

    @property
    def first(self) -> np.ndarray:
        """(P,) atom i of every block."""
        return self.atom_pairs[:, 3]

    @property
    def second(self) -> np.ndarray:
        """(P,) atom j of every block."""
        return self.atom_pairs[:, 4]

    @cached_property
    def chunk_shapes(self) -> np.ndarray:
        """(P, 2) rows and columns of every block."""
        return np.stack([self.n_orbitals[self.first], self.n_orbitals[self.second]], axis=1)

    @cached_property
    def chunk_boundaries(self) -> np.ndarray:
        """(P + 1,) where every block starts in the flat array, and the total length."""
        return np.concatenate([[0], np.cumsum(self.chunk_shapes.prod(axis=1))])

    @property
    def n_entries(self) -> int:
        """Length of the flat array."""
        return int(self.chunk_boundaries[-1])

    @cached_property
    def orbital_offsets(self) -> np.ndarray:
        """(N + 1,) index of the first orbital of every atom, and the total."""
        return np.concatenate([[0], np.cumsum(self.n_orbitals)])

    @property
    def dimension(self) -> int:
        """Number of orbitals of the cell: rows of the matrices at a k-point."""
        return int(self.orbital_offsets[-1])

    @cached_property
    def onsite(self) -> np.ndarray:
        """(N,) index of the block (i, i, R = 0) of every atom.

        Raises
        ------
        ValueError
            If an atom has no such block.
        """
        selected = np.flatnonzero((self.images == 0).all(axis=1) & (self.first == self.second))
        if len(selected) != len(self.n_orbitals):
            raise ValueError(f'{len(self.n_orbitals) - len(selected)} atoms have no on-site block')
        return selected[np.argsort(self.first[selected])]

    def find(self, atom_pairs: np.ndarray) -> np.ndarray:
        """Find blocks by cell and atoms.

        Parameters
        ----------
        atom_pairs : (n, 5) int array
            Rows ``Rx, Ry, Rz, i, j``.

        Returns
        -------
        (n,) int array
            Index of the block of every row; -1 if the pattern has no such block.
        """
        if not len(self) or not len(atom_pairs):
            return np.full(len(atom_pairs), -1)
        both = np.concatenate([self.atom_pairs, atom_pairs])
        low = both.min(axis=0)
        keys = np.ravel_multi_index((both - low).T, both.max(axis=0) - low + 1)
        known, wanted = keys[: len(self)], keys[len(self) :]
        order = np.argsort(known)
        found = order[np.searchsorted(known, wanted, sorter=order).clip(max=len(self) - 1)]
        return np.where(known[found] == wanted, found, -1)

    def vectors(self, cell: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """(P, 3) vectors from atom i to atom j + R, in the unit of ``cell`` and ``positions``."""
        return positions[self.second] + self.images @ np.asarray(cell) - positions[self.first]

    @property
    def half(self) -> np.ndarray:
        """Indices of one block of every pair (i, j, R) and (j, i, -R), on-site blocks included."""
        return np.flatnonzero(np.arange(len(self)) <= self.reverse)

    def slices(self, chosen: np.ndarray, at_once: int) -> Iterator[np.ndarray]:
        """Some blocks (n,), of one shape and at most ``at_once`` at a time: no index is as long as a matrix then."""
        kinds = np.unique(self.chunk_shapes[chosen], axis=0, return_inverse=True)[1].ravel()
        for kind in range(kinds.max(initial=-1) + 1):
            members = chosen[kinds == kind]
            for start in range(0, len(members), at_once):
                yield members[start : start + at_once]

    def places(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of some blocks (n,) of one shape, and of their reverses, in the flat array.

        Returns
        -------
        entries, mirrored : (n, rows, columns) int arrays
            Of ``M_ij(R)`` and of ``M_ji(-R)^T``.
        """
        rows, columns = self.chunk_shapes[chosen[0]]
        entries = self.chunk_boundaries[chosen, None, None] + np.arange(rows * columns).reshape(rows, columns)
        reverse = self.chunk_boundaries[self.reverse[chosen], None, None] + np.arange(rows * columns).reshape(
            columns, rows
        )
        return entries, reverse.transpose(0, 2, 1)

    def groups(self) -> list[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
        """Blocks of equal shape, for vectorised work: ``(shape, pair_indices, entry_indices)``.

        ``entry_indices`` is (n, rows * columns): ``flat[entry_indices].reshape(n, rows, columns)`` are the blocks.
        """
        shapes, member = np.unique(self.chunk_shapes, axis=0, return_inverse=True)
        result = []
        for index, (rows, columns) in enumerate(shapes):
            pairs = np.flatnonzero(member.ravel() == index)
            entries = self.chunk_boundaries[pairs, None] + np.arange(rows * columns)
            result.append(((int(rows), int(columns)), pairs, entries))
        return result

    @cached_property
    def orbital_indices(self) -> tuple[np.ndarray, np.ndarray]:
        """(M,) row and column orbital of every entry of the flat array."""
        rows = np.empty(self.n_entries, dtype=np.int64)
        columns = np.empty(self.n_entries, dtype=np.int64)
        for (n_rows, n_columns), pairs, entries in self.groups():
            row = self.orbital_offsets[self.first[pairs], None] + np.repeat(np.arange(n_rows), n_columns)
            column = self.orbital_offsets[self.second[pairs], None] + np.tile(np.arange(n_columns), n_rows)
            rows[entries], columns[entries] = row, column
        return rows, columns

    @cached_property
    def transpose_indices(self) -> np.ndarray:
        """(M,) permutation with ``flat[transpose_indices]`` the entries of the transposed matrix."""
        result = np.empty(self.n_entries, dtype=np.int64)
        for (n_rows, n_columns), pairs, entries in self.groups():
            local = np.arange(n_rows * n_columns).reshape(n_columns, n_rows).T.ravel()
            result[entries] = self.chunk_boundaries[self.reverse[pairs], None] + local
        return result

    def block(self, entries: np.ndarray, pair: int) -> np.ndarray:
        """Block number ``pair`` of the flat array ``entries``, a view of shape (..., rows, columns)."""
        start, stop = self.chunk_boundaries[pair : pair + 2]
        return entries[..., start:stop].reshape(*entries.shape[:-1], *self.chunk_shapes[pair])

    def symmetrize(self, entries: np.ndarray) -> np.ndarray:
        """Half the sum of a matrix and its transpose: exactly ``M_ij(R) = M_ji(-R)^T``."""
        return 0.5 * (entries + entries[..., self.transpose_indices])

    def asymmetry(self, entries: np.ndarray) -> float:
        """Largest ``|M_ij(R) - M_ji(-R)^T|``."""
        return float(np.abs(entries - entries[..., self.transpose_indices]).max(initial=0.0))
