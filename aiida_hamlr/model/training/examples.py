"""Building examples: graphs of structures with their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.model import keys
from aiida_hamlr.model.config import LossConfig
from aiida_hamlr.model.graph import Graph
from aiida_hamlr.model.graph_builder import PairSelection
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.long_range.blocks import StructureIntegrals
from aiida_hamlr.model.training.band_loss import BandReference
from aiida_hamlr.model.training.labels import add_labels
from aiida_hamlr.model.training.references import Reference


@dataclass
class Example:
    """A structure with targets, ready for the network; pairs of one element in both orientations."""

    graph: Graph
    selection: PairSelection
    name: str
    bands: BandReference | None = None

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """(n_half,) one orientation of every pair, at random for pairs of one element."""
        n_half = self.selection.n_half
        return np.where(generator.random(n_half) < 0.5, self.selection.other, np.arange(n_half))


def add_long_range(model, graph, atoms: Atoms, frames: BlockFrames, overlap, tables: TwoCentreTables):
    """Store in a graph what the long-range channel needs to give components."""
    model.long_range.store(graph)
    if model.config.long_range.multipole_order:
        dipole = StructureIntegrals(atoms, frames.pattern, overlap, tables).flat_dipole()
        for name, parts in (
            (keys.PAIR_DIPOLE, frames.pair_components(*dipole)),
            (keys.ONSITE_DIPOLE, frames.onsite_components(*dipole)),
        ):
            graph[name] = torch.as_tensor(np.stack(parts, axis=1), dtype=model.dtype)


def make_example(model, reference: Reference, tables: TwoCentreTables, loss: LossConfig | None = None) -> Example:
    """Return graph and targets of one file; two-body parts and scales are not yet on it.

    With a loss that has terms at k points, the example also holds the matrices of the structure.
    """
    tensors, selection = model.builder.build(reference.atoms, reference.pattern)
    graph = Graph(**tensors)
    frames = BlockFrames.of(model.slots, reference.atoms, reference.pattern, selection)
    overlap = reference.pattern.symmetrize(reference.overlap)
    pairs = frames.pair_components(reference.delta, overlap)
    onsite = frames.onsite_components(reference.delta, overlap)
    for name, values in (
        (keys.PAIR_TARGET, pairs[0]),
        (keys.PAIR_OVERLAP, pairs[1]),
        (keys.ONSITE_TARGET, onsite[0]),
        (keys.ONSITE_OVERLAP, onsite[1]),
    ):
        graph[name] = torch.as_tensor(values, dtype=model.dtype)
    sizes = reference.pattern.chunk_shapes.prod(axis=1)
    n_onsite = int(sizes[reference.pattern.onsite].sum())
    half = selection.blocks[: selection.n_half]
    neglected = np.ones(len(sizes), dtype=bool)
    neglected[np.concatenate([half, reference.pattern.reverse[half], reference.pattern.onsite])] = False
    rest = np.add.reduceat(np.abs(reference.delta), reference.pattern.chunk_boundaries[:-1])[neglected].sum()
    graph[keys.N_ONSITE] = torch.tensor([n_onsite])
    graph[keys.N_PAIRS] = torch.tensor([int(2 * sizes[half].sum())])
    graph[keys.N_ALL] = torch.tensor([reference.pattern.n_entries])
    graph[keys.NEGLECTED] = torch.tensor([rest], dtype=model.dtype)
    if model.long_range is not None:
        add_long_range(model, graph, reference.atoms, frames, overlap, tables)
        add_labels(graph, reference.labels)
    bands = None
    n_orbitals = int(frames.pattern.n_orbitals.sum())
    if loss is not None and loss.needs_bands and n_orbitals <= loss.band_max_orbitals:
        bands = BandReference(frames, reference, loss)
    return Example(graph, selection, reference.path, bands)
