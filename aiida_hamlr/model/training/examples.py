"""Building examples: graphs of structures with their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.model import keys
from aiida_hamlr.model.config import LossConfig
from aiida_hamlr.model.graph import Graph
from aiida_hamlr.model.graph_builder import PairSelection, join_spins
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.long_range.blocks import StructureIntegrals
from aiida_hamlr.model.structure_graph import structure_graph
from aiida_hamlr.model.training.band_loss import BandReference
from aiida_hamlr.model.training.labels import add_labels
from aiida_hamlr.model.training.references import Reference


@dataclass
class Example:
    """A structure with targets, ready for the network; pairs of one element in both orientations.

    The graph of a magnetic structure is that of both spins, one after the other.
    """

    graph: Graph
    selection: PairSelection
    name: str
    #: Of every spin in the graph; empty if bands do not count.
    bands: tuple[BandReference, ...] = ()

    @property
    def n_spin(self) -> int:
        """2 if the graph is that of both spins, see `join_spins`, else 1."""
        return len(self.graph[keys.N_ATOMS])

    def one_way(self, chosen: np.ndarray | None = None) -> Graph:
        """What the network needs of the graph of all spins, with one orientation of every pair.

        As :meth:`draw` gives them, or the first ones.
        """
        chosen = torch.arange(self.selection.n_half) if chosen is None else torch.as_tensor(chosen)
        n_pairs = len(self.selection.blocks)
        chosen = torch.cat([chosen + spin * n_pairs for spin in range(self.n_spin)])
        return self.graph.with_pairs(chosen, leave_out=keys.H0_COMPONENTS)

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
    graph, selection = structure_graph(model, reference)
    frames = BlockFrames.of(model.slots, reference.atoms, reference.pattern, selection)
    overlap = reference.pattern.symmetrize(reference.overlap)
    if model.long_range is not None:
        add_long_range(model, graph, reference.atoms, frames, overlap, tables)
        add_labels(graph, reference.labels)
    spins = [{**graph, **_targets(model, reference.pattern, frames, delta, overlap)} for delta in reference.spins]
    graph = Graph(**(spins[0] if len(spins) == 1 else join_spins(*spins)))
    bands = ()
    n_orbitals = int(frames.pattern.n_orbitals.sum())
    if loss is not None and loss.needs_bands and n_orbitals <= loss.band_max_orbitals:
        bands = tuple(BandReference(frames, reference, loss, spin) for spin in range(len(spins)))
    return Example(graph, selection, reference.path, bands)


def _targets(model, pattern: BlockPattern, frames: BlockFrames, delta: np.ndarray, overlap: np.ndarray) -> dict:
    """Components of H - H0 of one spin and of the overlap, and what is known of their numbers."""
    targets = {}
    pairs = frames.pair_components(delta, overlap)
    onsite = frames.onsite_components(delta, overlap)
    for name, values in (
        (keys.PAIR_TARGET, pairs[0]),
        (keys.PAIR_OVERLAP, pairs[1]),
        (keys.ONSITE_TARGET, onsite[0]),
        (keys.ONSITE_OVERLAP, onsite[1]),
    ):
        targets[name] = torch.as_tensor(values, dtype=model.dtype)
    sizes = pattern.chunk_shapes.prod(axis=1)
    half = frames.selection.blocks[: frames.selection.n_half]
    neglected = np.ones(len(sizes), dtype=bool)
    neglected[np.concatenate([half, pattern.reverse[half], pattern.onsite])] = False
    rest = np.add.reduceat(np.abs(delta), pattern.chunk_boundaries[:-1])[neglected].sum()
    targets[keys.N_ONSITE] = torch.tensor([int(sizes[pattern.onsite].sum())])
    targets[keys.N_PAIRS] = torch.tensor([int(2 * sizes[half].sum())])
    targets[keys.N_ALL] = torch.tensor([pattern.n_entries])
    targets[keys.NEGLECTED] = torch.tensor([rest], dtype=model.dtype)
    return targets
