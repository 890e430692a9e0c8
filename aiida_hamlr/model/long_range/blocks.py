"""Blocks of the long-range Hamiltonian: what potentials and fields at the atoms do to the orbitals.

For charges of Mulliken's form, Q_i = Z_i - sum_mu (P S)_mumu, the derivative of the energy of :mod:`ewald` with respect
to the density matrix is H_mu,nu = -S_mu,nu (V_i + V_j) / 2 (Zhong, Li, Gong and Xiang, arXiv:2603.20007). Order 1 adds
the electron of charge -1 in the fields at both atoms:

    H_ij = w(d_ij) [ -S_ij (V_i + V_j) / 2 + (f_i.<r - tau_i> + f_j.<r - tau_j>) / 2 ],     f_i = gamma_i E_i.

The switch w takes the blocks to zero at the pair cutoff with those of the network: the potential at the atoms says
little about the place far from both where their orbitals meet, and there is no network to correct it.
Units: V, V/Å, Å, eV.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.model import keys
from aiida_hamlr.model.irreps.frames import PAIRS_AT_ONCE
from aiida_hamlr.model.irreps.normalisation import switch


@dataclass
class Action:
    """Action of the long range on the orbitals of every atom, float64.

    ``potential`` (N,), V; ``force`` (N, 3), V/Å: the field times the atom's factor; None at order 0.
    """

    potential: torch.Tensor
    force: torch.Tensor | None = None

    def of(self, atoms) -> Action:
        """Action on some atoms."""
        return Action(self.potential[atoms], None if self.force is None else self.force[atoms])

    def to(self, device) -> Action:
        """The same on a device."""
        return Action(self.potential.to(device), None if self.force is None else self.force.to(device))


def long_range_blocks(
    action: Action,
    index: torch.Tensor | None,
    overlap: torch.Tensor,
    dipole: torch.Tensor | None = None,
    vectors: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Blocks of the long-range Hamiltonian, eV, in the precision of the overlap.

    All is linear in the blocks of the overlap and of r - tau_i: these may be given by their matrix elements, by
    components in the bond frame, or in any other linear representation; the result has the same.

    Parameters
    ----------
    action : Action
        At the atoms of the structures.
    index : (2, P) int tensor or None
        Atoms i and j of the pairs; None: the on-site blocks of all atoms.
    overlap : (P, c) tensor
        Blocks of the overlap.
    dipole : (P, 3, c) tensor, optional
        Blocks of r - tau_i, Å; needed where the action has a force.
    vectors : (P, 3) tensor, optional
        From i to j, Å; None for on-site blocks.
    weight : (P,) tensor, optional
        Switch w; 1 by default.

    Returns
    -------
    (P, c) tensor
    """

    def mean(values):
        return values if index is None else 0.5 * (values[index[0]] + values[index[1]])

    scale, force = -mean(action.potential.to(overlap.dtype)), None
    if action.force is not None:
        each = action.force.to(overlap.dtype)
        force = mean(each)
        if vectors is not None:
            # <r - tau_j> = <r - tau_i> - (tau_j - tau_i) S
            scale = scale - 0.5 * (each[index[1]] * vectors).sum(1)
    if weight is not None:
        scale = weight * scale
        force = None if force is None else weight[:, None] * force
    blocks = scale[:, None] * overlap
    return blocks if force is None else blocks + torch.einsum('pa,pac->pc', force, dipole)


def component_blocks(action: Action, graph) -> tuple[torch.Tensor, torch.Tensor]:
    """Components of the on-site (N, n_onsite) and pair (P, n_columns) blocks, eV, of a graph that holds overlaps."""
    dipoles = (None, None) if action.force is None else (graph[keys.ONSITE_DIPOLE], graph[keys.PAIR_DIPOLE])
    onsite = long_range_blocks(action, None, graph[keys.ONSITE_OVERLAP], dipoles[0])
    pairs = (graph[keys.PAIR_OVERLAP], dipoles[1], graph[keys.PAIR_VECTOR], graph[keys.PAIR_SWITCH])
    return onsite, long_range_blocks(action, graph[keys.PAIR_INDEX], *pairs)


class StructureIntegrals:
    """Overlap and dipole blocks of a structure, for one orientation of every pair at a time.

    Tables of integrals are symmetric to their interpolation error only; here both orientations are averaged, so that
    ``S_ij = S_ji^T`` and ``D_ij = D_ji^T + S_ij (tau_j - tau_i)`` hold exactly.

    Parameters
    ----------
    atoms : Atoms
    pattern : BlockPattern
    overlap : (M,) array
        In the storage of the pattern.
    tables : TwoCentreTables or None
        For dipole blocks; None: there are none.
    """

    def __init__(self, atoms: Atoms, pattern: BlockPattern, overlap: np.ndarray, tables: TwoCentreTables | None):
        self.pattern, self._overlap, self._tables = pattern, overlap, tables
        self._species = np.array(species_labels(atoms))
        #: (P, 3) vectors of the blocks, Å.
        self.vectors = pattern.vectors(np.asarray(atoms.cell), atoms.positions)
        #: (P,) their lengths, Å.
        self.lengths = np.linalg.norm(self.vectors, axis=1)

    def slices(self, cutoff: float = np.inf) -> Iterator[tuple]:
        """Pairs shorter than a cutoff (Å), on-site blocks included, a few at a time.

        Yields
        ------
        chosen : (n,) int array
            Blocks of the pattern, of one ordered pair of elements.
        entries, reverse : (n, rows, columns) int arrays
            Places of their elements, and of the same elements of the reverse blocks, in the flat storage.
        overlap : (n, rows, columns) array
        dipole : (n, 3, rows, columns) array or None
            Å.
        """
        pattern = self.pattern
        half = pattern.half
        half = half[self.lengths[half] < cutoff]
        first, second = self._species[pattern.first[half]], self._species[pattern.second[half]]
        for one in np.unique(self._species):
            for other in np.unique(self._species):
                members = half[(first == one) & (second == other)]
                for start in range(0, len(members), PAIRS_AT_ONCE):
                    yield self._slice(str(one), str(other), members[start : start + PAIRS_AT_ONCE])

    def _slice(self, one: str, other: str, chosen: np.ndarray) -> tuple:
        entries, reverse = self.pattern.places(chosen)
        overlap = 0.5 * (self._overlap[entries] + self._overlap[reverse])
        dipole = None
        if self._tables is not None:
            vectors = self.vectors[chosen]
            dipole = self._tables.dipole_blocks(one, other, vectors)
            dipole += self._tables.dipole_blocks(other, one, -vectors).transpose(0, 1, 3, 2)
            dipole += vectors[:, :, None, None] * overlap[:, None]
            dipole *= 0.5
        return chosen, entries, reverse, overlap, dipole

    def flat_dipole(self) -> np.ndarray:
        """(3, M) elements of r - tau_i, Å, in the storage of the pattern."""
        result = np.empty((3, self.pattern.n_entries))
        for chosen, entries, reverse, overlap, dipole in self.slices():
            away = self.vectors[chosen][:, :, None, None] * overlap[:, None]
            for axis in range(3):
                result[axis, reverse] = dipole[:, axis] - away[:, axis]
                result[axis, entries] = dipole[:, axis]
        return result


def long_range_entries(
    action: Action, integrals: StructureIntegrals, pair_cutoff: float, onto: np.ndarray | None = None
) -> np.ndarray:
    """Elements of the long-range Hamiltonian of one structure in the flat storage (M,), eV, float64, exactly symmetric.

    Parameters
    ----------
    action : Action
        On the CPU.
    integrals : StructureIntegrals
        Of the structure.
    pair_cutoff : float
        Where the switch is zero, Å.
    onto : (M,) array, optional
        Symmetric matrix that they are added to in place, and that is returned.
    """
    pattern = integrals.pattern
    result = np.zeros(pattern.n_entries) if onto is None else onto
    for chosen, entries, reverse, overlap, dipole in integrals.slices(pair_cutoff):
        index = torch.from_numpy(np.stack([pattern.first[chosen], pattern.second[chosen]]))
        blocks = long_range_blocks(
            action,
            index,
            torch.from_numpy(overlap).flatten(1),
            None if dipole is None else torch.from_numpy(dipole).flatten(2),
            torch.from_numpy(integrals.vectors[chosen]),
            torch.from_numpy(switch(integrals.lengths[chosen], pair_cutoff)),
        ).numpy()
        result[reverse] = result[entries] = result[entries] + blocks.reshape(entries.shape)
    return result
