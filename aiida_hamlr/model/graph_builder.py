"""From a structure to its graph: atoms that exchange messages, pairs that get a block, and their bond frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import vesin
from ase import Atoms

from aiida_hamlr.electronic.magnetism import starting_moments
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.model import keys
from aiida_hamlr.model.irreps.wigner import bond_frame_wigner, flatten
from aiida_hamlr.model.long_range.neutrality import bond_weights, longest_bond
from aiida_hamlr.model.network.attention import add_waves

#: Atoms closer than this are a mistake in the structure, Å.
SHORTEST_DISTANCE = 0.3


@dataclass(frozen=True)
class PairSelection:
    """The off-site blocks of a pattern that the network predicts, and how they tie to each other.

    One orientation of every pair comes first (the species that is first in the model's list gives the rows); the other
    orientation of pairs of one species follows, so that both can be averaged, or one be drawn.

    Parameters
    ----------
    blocks : (P,) int array
        Index of every pair's block in the pattern.
    n_half : int
        Number of pairs in the first part.
    other : (n_half,) int array
        Where the other orientation stands in ``blocks``; the pair itself for two different species.
    """

    blocks: np.ndarray
    n_half: int
    other: np.ndarray

    @classmethod
    def of(cls, pattern: BlockPattern, lengths: np.ndarray, species: np.ndarray, cutoff: float) -> PairSelection:
        """Select the off-site blocks shorter than the cutoff (Å); ``species`` is the index of every atom's species."""
        first, second = species[pattern.first], species[pattern.second]
        offsite = (lengths > 0) & (lengths < cutoff)
        canonical = (first < second) | ((first == second) & (np.arange(len(pattern)) < pattern.reverse))
        half = np.flatnonzero(offsite & canonical)
        same = first[half] == second[half]
        other = np.arange(len(half))
        other[same] = len(half) + np.arange(same.sum())
        return cls(np.concatenate([half, pattern.reverse[half[same]]]), len(half), other)


def species_index(labels, species) -> np.ndarray:
    """Index of every atom's species in a list of labels.

    Raises
    ------
    ValueError
        If a label is not in the list.
    """
    unknown = sorted(set(labels) - set(species))
    if unknown:
        raise ValueError(f'the model never saw {", ".join(unknown)}; it was trained on {", ".join(species)}')
    return np.array([species.index(label) for label in labels], dtype=np.int64)


def message_edges(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Directed edges i <- j within the cutoff (Å) of the crystal, periodic in three dimensions.

    Returns
    -------
    index : (2, E) int array
        Receiving and sending atoms.
    vectors : (E, 3) array
        From i to the image of j, Å.

    Raises
    ------
    ValueError
        If two atoms lie on each other.
    """
    neighbours = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    first, second, vectors, lengths = neighbours.compute(
        points=atoms.positions, box=np.asarray(atoms.cell), periodic=True, quantities='ijDd'
    )
    if len(lengths) and lengths.min() < SHORTEST_DISTANCE:
        closest = int(lengths.argmin())
        raise ValueError(
            f'atoms {first[closest]} and {second[closest]} (counted from 0) are only {lengths[closest]:.3f} Å apart'
        )
    return np.stack([first, second]).astype(np.int64), vectors


def geometry(atoms: Atoms) -> dict[str, torch.Tensor]:
    """Tensors that say where the atoms of one structure are."""
    n_atoms = len(atoms)
    return {
        keys.BATCH: torch.zeros(n_atoms, dtype=torch.int64),
        keys.N_ATOMS: torch.tensor([n_atoms]),
        keys.CELL: torch.as_tensor(np.array(atoms.cell, dtype=np.float64))[None],
        keys.POSITION: torch.tensor(atoms.positions, dtype=torch.float64),
    }


def join_tensors(graphs: Sequence[Mapping[str, torch.Tensor]]) -> Mapping[str, torch.Tensor]:
    """Tensors of several structures as those of one graph without edges between them, as :mod:`keys` declares.

    What `aiida_hamlr.model.graph.join_graphs` does for stored graphs, without torch_geometric.
    """
    if len(graphs) == 1:
        return graphs[0]
    before = np.cumsum([0, *(len(graph[keys.SPECIES]) for graph in graphs[:-1])]).tolist()
    joined = {}
    for name in graphs[0]:
        key = keys.REGISTRY[name]
        tensors = [graph[name] for graph in graphs]
        if key.counts_atoms:
            tensors = [tensor + first for tensor, first in zip(tensors, before, strict=True)]
        joined[name] = torch.cat(tensors, dim=key.cat_dim)
    joined[keys.BATCH] = batch_of(joined[keys.N_ATOMS])
    return joined


def batch_of(n_atoms: torch.Tensor) -> torch.Tensor:
    """(N,) the structure of every atom, from the numbers of atoms (B,) of the structures."""
    return torch.repeat_interleave(torch.arange(len(n_atoms), device=n_atoms.device), n_atoms)


def scaled_moments(atoms: Atoms) -> np.ndarray:
    """(N,) starting moments m, Bohr magnetons, as ``m / sqrt(1 + m^2)``: large ones differ by their signs alone."""
    moments = starting_moments(atoms)
    return np.zeros(len(atoms)) if moments is None else moments / np.sqrt(1.0 + moments**2)


def join_spins(up: Mapping[str, torch.Tensor], down: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One graph of a magnetic structure from that of spin up and what spin down has for targets.

    A spin sees the moments of the atoms relative to itself: both are the same structure with opposite moments, which
    the network treats alike. Reversing all moments thus exchanges the spins, exactly.

    Parameters
    ----------
    up, down : mapping of str to tensor
        Graphs of one structure with the same moments; two structures of a batch in the result.
    """
    joined = join_tensors([up, {**down, keys.MOMENT: -up[keys.MOMENT]}])
    n_atoms = len(up[keys.SPECIES])
    joined[keys.OTHER_SPIN] = torch.arange(2 * n_atoms).roll(n_atoms)
    return joined


@dataclass(frozen=True)
class GraphBuilder:
    """Makes graphs for one model.

    Parameters
    ----------
    species : tuple of str
        Species labels of the model, in its order.
    max_degree : int
        Highest l of the hidden features.
    message_cutoff, pair_cutoff : float
        Å.
    dtype : torch.dtype
        Of the tensors; the geometry is float64 until then.
    wave_cutoff : float or None
        Largest wave number of the attention, 1/Å; None without attention.
    bonds : bool
        Whether charges pass along bonds.
    magnetic : bool
        Whether the network sees the starting moments of the atoms.
    """

    species: tuple[str, ...]
    max_degree: int
    message_cutoff: float
    pair_cutoff: float
    dtype: torch.dtype = torch.float32
    wave_cutoff: float | None = None
    bonds: bool = False
    magnetic: bool = False

    def build(
        self, atoms: Atoms, pattern: BlockPattern, edges: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[dict[str, torch.Tensor], PairSelection]:
        """Tensors of a structure's graph by the names of :mod:`keys`, and which blocks of the pattern its pairs are.

        ``edges`` are what `message_edges` gives for the message cutoff, searched here if they are not known.
        """
        species = species_index(species_labels(atoms), self.species)
        edge_index, edge_vectors = message_edges(atoms, self.message_cutoff) if edges is None else edges
        vectors = pattern.vectors(np.asarray(atoms.cell), atoms.positions)
        onsite = (pattern.images == 0).all(axis=1) & (pattern.first == pattern.second)
        lengths = np.where(onsite, 0.0, np.linalg.norm(vectors, axis=1))
        selection = PairSelection.of(pattern, lengths, species, self.pair_cutoff)
        pairs = selection.blocks
        graph = geometry(atoms)
        graph[keys.SPECIES] = torch.as_tensor(species)
        graph[keys.EDGE_INDEX] = torch.as_tensor(edge_index)
        graph[keys.PAIR_INDEX] = torch.as_tensor(np.stack([pattern.first[pairs], pattern.second[pairs]]))
        for name, values in (
            (keys.EDGE_LENGTH, np.linalg.norm(edge_vectors, axis=1)),
            (keys.EDGE_WIGNER, flatten(bond_frame_wigner(edge_vectors, self.max_degree))),
            (keys.PAIR_LENGTH, lengths[pairs]),
            (keys.PAIR_VECTOR, vectors[pairs]),
            (keys.PAIR_WIGNER, flatten(bond_frame_wigner(vectors[pairs], self.max_degree))),
        ):
            graph[name] = torch.as_tensor(values, dtype=self.dtype)
        if self.magnetic:
            graph[keys.MOMENT] = torch.as_tensor(scaled_moments(atoms), dtype=self.dtype)
            graph[keys.OTHER_SPIN] = torch.arange(len(atoms))
        if self.wave_cutoff is not None:
            add_waves(graph, self.wave_cutoff)
        if self.bonds:
            index, vectors = message_edges(atoms, longest_bond(atoms.numbers))
            bonds, weights = bond_weights(atoms.numbers, index, np.linalg.norm(vectors, axis=1))
            graph[keys.BOND_INDEX], graph[keys.BOND_WEIGHT] = torch.as_tensor(bonds), torch.as_tensor(weights)
        return graph, selection
