"""Blocks of a matrix in the flat storage to components in the bond frames, and back, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.model.irreps.shells import ShellSlots
from aiida_hamlr.model.irreps.wigner import bond_frame_wigner

#: Pairs of atoms in a group: few enough for the cache, so that memory does not grow with the cell.
PAIRS_AT_ONCE = 2_000


class BlockFrames:
    """The change of basis for one structure.

    Parameters
    ----------
    slots : ShellSlots
    species : list of str
        Species label of every atom.
    pattern : BlockPattern
    selection : PairSelection
    vectors : (P_all, 3) array
        Vector of every block of the pattern, Å.
    """

    def __init__(self, slots: ShellSlots, species: list[str], pattern: BlockPattern, selection, vectors: np.ndarray):
        self.slots, self.pattern, self.selection = slots, pattern, selection
        self.species, self.vectors = np.array(species), vectors

    @classmethod
    def of(cls, slots: ShellSlots, atoms: Atoms, pattern: BlockPattern, selection) -> BlockFrames:
        """Frames of a structure's matrices, with the vectors of its blocks."""
        vectors = pattern.vectors(np.asarray(atoms.cell), atoms.positions)
        return cls(slots, species_labels(atoms), pattern, selection, vectors)

    def entries(self, blocks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """(n, rows * columns) places of the elements of some blocks of one shape in the flat storage."""
        return self.pattern.chunk_boundaries[blocks, None] + np.arange(shape[0] * shape[1])

    def pair_groups(self) -> Iterator[tuple]:
        """Selected pairs, each group of one ordered pair of elements and of a bounded number of pairs.

        Yields
        ------
        members : (n,) int array
            Places in the selection.
        columns : (c,) int array
            Columns of the components that these elements have.
        tensors : (c, a, b) array
            Block in the bond frame that each of these columns stands for.
        rotations : pair of (n, a, a) and (n, b, b) arrays
            From the bond frame to the crystal.
        entries : (n, a * b) int array
            Places in the flat storage.
        """
        blocks = self.selection.blocks
        first, second = self.species[self.pattern.first[blocks]], self.species[self.pattern.second[blocks]]
        for one in self.slots.species:
            for other in self.slots.species:
                every = np.flatnonzero((first == one) & (second == other))
                for start in range(0, len(every), PAIRS_AT_ONCE):
                    members = every[start : start + PAIRS_AT_ONCE]
                    columns, tensors = self.slots.pairs.transform(one, other)
                    wigner = bond_frame_wigner(self.vectors[blocks[members]], self.slots.max_degree)
                    rotations = (self._orbital_rotation(one, wigner), self._orbital_rotation(other, wigner))
                    entries = self.entries(blocks[members], tensors.shape[1:])
                    yield members, columns, tensors, rotations, entries

    def _orbital_rotation(self, element: str, wigner: list[np.ndarray]) -> np.ndarray:
        size = self.slots.n_orbitals(element)
        rotation = np.zeros((len(wigner[0]), size, size))
        for l, orbitals in self.slots.shell_of_slot(element).values():
            rotation[:, orbitals, orbitals] = wigner[l]
        return rotation

    def mean_levels(self, matrix: np.ndarray) -> np.ndarray:
        """(N,) mean of the diagonal elements of a flat matrix over the orbitals of every atom."""
        result = np.empty(len(self.species))
        for element in np.unique(self.species):
            atoms, size = np.flatnonzero(self.species == element), self.slots.n_orbitals(str(element))
            diagonal = self.pattern.chunk_boundaries[self.pattern.onsite[atoms], None] + np.arange(size) * (size + 1)
            result[atoms] = matrix[diagonal].mean(axis=1)
        return result

    def pair_components(self, *matrices: np.ndarray) -> list[np.ndarray]:
        """(P, n_columns) components of the selected pairs of each flat matrix, 0 where a pair has none."""
        results = [np.zeros((len(self.selection.blocks), len(self.slots.pairs))) for _ in matrices]
        for members, columns, tensors, (left, right), entries in self.pair_groups():
            flat = tensors.reshape(len(tensors), -1)
            for matrix, result in zip(matrices, results, strict=True):
                blocks = matrix[entries].reshape(-1, *tensors.shape[1:])
                framed = left.transpose(0, 2, 1) @ blocks @ right
                result[np.ix_(members, columns)] = framed.reshape(len(members), -1) @ flat.T
        return results

    def onsite_components(self, *matrices: np.ndarray) -> list[np.ndarray]:
        """(N, n_onsite) components of the on-site blocks of each flat matrix."""
        results = [np.zeros((len(self.species), len(self.slots.onsite))) for _ in matrices]
        for element in np.unique(self.species):
            atoms = np.flatnonzero(self.species == element)
            columns, tensors = self.slots.onsite.transform(str(element))
            flat = tensors.reshape(len(tensors), -1)
            flat = flat / (flat**2).sum(axis=1, keepdims=True)
            entries = self.entries(self.pattern.onsite[atoms], tensors.shape[1:])
            for matrix, result in zip(matrices, results, strict=True):
                result[np.ix_(atoms, columns)] = matrix[entries] @ flat.T
        return results

    def assemble(self, onsite: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Flat symmetric matrix, float64, of on-site (N, n_onsite) and pair (P, n_columns) components of any precision.

        Both orientations of pairs of one element are averaged: the order of the atoms makes no difference.
        """
        result = np.zeros(self.pattern.n_entries)
        for element in np.unique(self.species):
            atoms = np.flatnonzero(self.species == element)
            columns, tensors = self.slots.onsite.transform(str(element))
            entries = self.entries(self.pattern.onsite[atoms], tensors.shape[1:])
            result[entries] = onsite[np.ix_(atoms, columns)].astype(float) @ tensors.reshape(len(tensors), -1)
        for members, columns, tensors, (left, right), entries in self.pair_groups():
            framed = pairs[np.ix_(members, columns)].astype(float) @ tensors.reshape(len(tensors), -1)
            framed = framed.reshape(-1, *tensors.shape[1:])
            result[entries] = (left @ framed @ right.transpose(0, 2, 1)).reshape(len(members), -1)
        return self._symmetrize(result)

    def _symmetrize(self, entries: np.ndarray) -> np.ndarray:
        """Half the sum with the transposed matrix where both orientations are given, the one given otherwise.

        In place and in slices: what a full matrix of transposed elements takes is more than all the rest.
        """
        pattern = self.pattern
        selected = np.zeros(len(pattern))
        selected[self.selection.blocks] = 1.0
        selected[pattern.onsite] = 1.0
        given = selected + selected[pattern.reverse]
        half = pattern.half
        for chosen in pattern.slices(half[given[half] > 0], PAIRS_AT_ONCE):
            places, mirrored = pattern.places(chosen)
            values = (entries[places] + entries[mirrored]) / given[chosen, None, None]
            entries[places] = entries[mirrored] = values
        return entries
