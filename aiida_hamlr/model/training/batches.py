"""Which structures make a step, in which order, and what they are together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from aiida_hamlr.model.graph import Graph, join_graphs
from aiida_hamlr.model.hamiltonian_model import Components
from aiida_hamlr.model.training.band_loss import BandErrors, BandReference
from aiida_hamlr.model.training.examples import Example
from aiida_hamlr.model.training.processes import Processes


@dataclass
class BandTask:
    """Bands of one structure of a batch: of which of its pairs there are components, and at which k points."""

    reference: BandReference
    chosen: torch.Tensor
    kpoints: np.ndarray


@dataclass
class Batch:
    """Structures of one step.

    Parameters
    ----------
    graph : Graph
    sizes : list of (int, int)
        Atoms and pairs of every structure; the two spins of a magnetic one count as two.
    bands : list of BandTask or None
        For every structure, None where its bands do not count.
    """

    graph: Graph
    sizes: list[tuple[int, int]]
    bands: list[BandTask | None]

    def to(self, device) -> Batch:
        """The batch on a device."""
        bands = [
            task and replace(task, reference=task.reference.to(device), chosen=task.chosen.to(device))
            for task in self.bands
        ]
        return Batch(self.graph.to(device), self.sizes, bands)

    def band_errors(self, components: Components, shift: torch.Tensor) -> list[BandErrors]:
        """Errors of the structures whose bands count; ``shift`` (B,) is the fitted constant of every structure, eV."""
        atoms, pairs = (
            torch.split(x, list(n))
            for x, n in zip((components.onsite, components.pairs), zip(*self.sizes, strict=True), strict=True)
        )
        return [
            task.reference.errors(task.reference.flat(atoms[n], pairs[n], task.chosen), shift[n], task.kpoints)
            for n, task in enumerate(self.bands)
            if task is not None
        ]


class ExampleDataset(Dataset):
    """Batches by lists of (index, epoch).

    The epoch decides, with the seed, how pairs of one element are oriented, and at which k points bands are compared.
    """

    def __init__(self, examples: Sequence[Example], seed: int, n_kpoints: int = 1):
        self.examples, self.seed, self.n_kpoints = examples, seed, n_kpoints

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, items) -> Batch:
        graphs, sizes, tasks = [], [], []
        for index, epoch in items:
            example = self.examples[index]
            chosen = torch.as_tensor(example.draw(np.random.default_rng([self.seed, epoch, index, 1])))
            graphs.append(example.one_way(chosen))
            n_spin = example.n_spin
            sizes += [(graphs[-1].n_atoms // n_spin, graphs[-1].n_pairs // n_spin)] * n_spin
            kpoints = np.random.default_rng([self.seed, epoch, index, 2]).random((self.n_kpoints, 3))
            tasks += [BandTask(bands, chosen, kpoints) for bands in example.bands] or [None] * n_spin
        return Batch(join_graphs(graphs), sizes, tasks)


class BatchSampler(Sampler):
    """Random batches that depend on seed and epoch only, so that a resumed training goes on in the same order.

    With several processes they take turns: together, n processes with batches of b structures see in a step what one
    process sees with batches of n b. Each gets the same number of batches; where they do not come out even, some of
    the epoch's first are used again.

    Parameters
    ----------
    edges : sequence of int
        Edges and pairs of every structure.
    seed : int
        Decides, with the epoch, on the order.
    batch_size : int
        Structures in a batch.
    max_edges : int, optional
        Largest sum of ``edges`` in a batch of several structures; ``batch_size`` is not used then.
    processes : Processes, optional
        The processes that train together, and which of them this is.
    n_parts : int
        Parts of an epoch; the trainer takes each for an epoch of its own.
    """

    def __init__(
        self,
        edges: Sequence[int],
        seed: int,
        batch_size: int = 1,
        max_edges: int | None = None,
        processes: Processes | None = None,
        n_parts: int = 1,
    ):
        self.edges, self.seed, self.epoch, self.part, self.n_parts = list(edges), seed, 0, 0, n_parts
        self.batch_size, self.max_edges = batch_size, max_edges
        self.processes = processes or Processes()

    def set_epoch(self, part: int):
        """Called by the trainer before every part of an epoch, with the number of parts before it."""
        self.epoch, self.part = divmod(part, self.n_parts)

    def batches(self, epoch: int) -> list[list[int]]:
        """Structures of the batches of this process."""
        order = np.random.default_rng([self.seed, epoch, 0]).permutation(len(self.edges))
        result: list[list[int]] = []
        filled = 0
        for index in order.tolist():
            if self.max_edges is None:
                fits = bool(result) and len(result[-1]) < self.batch_size
            else:
                filled += self.edges[index]
                fits = bool(result) and filled <= self.max_edges
            if fits:
                result[-1].append(index)
            else:
                result.append([index])
                filled = self.edges[index]
        missing = -len(result) % self.processes.size
        result += [result[n % len(result)] for n in range(missing)]
        return result[self.processes.rank :: self.processes.size]

    def __len__(self):
        """Number of batches of this part and process; with ``max_edges`` it differs between epochs."""
        return len(self._of_part())

    def __iter__(self):
        # A generator: the trainer makes it before it tells the epoch, and asks it afterwards.
        for batch in self._of_part():
            yield [(index, self.epoch) for index in batch]

    def _of_part(self) -> list[list[int]]:
        batches = self.batches(self.epoch)
        first, last = (n * len(batches) // self.n_parts for n in (self.part, self.part + 1))
        return batches[first:last]
