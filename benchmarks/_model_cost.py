"""Time and memory of a training step and of a prediction, on one thread."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.model import keys
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.graph import Graph, join_graphs
from aiida_hamlr.model.graph_builder import message_edges
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.inference import Predictor
from aiida_hamlr.model.structure_graph import structure_graph
from aiida_hamlr.model.training.batches import BatchSampler
from aiida_hamlr.model.training.examples import Example, make_example
from aiida_hamlr.model.training.module import TrainingModule
from aiida_hamlr.model.training.references import Reference
from aiida_hamlr.model.training.start_values import prepare

#: Cutoffs of messages and pairs, Å, and the edges and half pairs that they give in most cells.
CUTOFFS, COUNTS = (6.0, 6.5), (284, 184)

#: Cells of the batch whose memory is measured.
N_MEMORY = 48

#: Largest seconds of a step and of a forward pass, and kB per message edge or pair.
STEP, FORWARD, MEMORY = 0.06, 0.015, 35.0

#: Dense graph: radius of the orbitals, bohr, and cutoff of messages and pairs, Å, to which they reach.
DENSE_RADIUS, DENSE_CUTOFF = 6.0, 6.35

VARIANTS = ('lr', 'sr')


def cost(paths: Sequence[Path]) -> dict:
    """Time and memory; ``limits`` has values and limits of what is gated, those of the default network."""
    torch.set_num_threads(1)
    before = matrix_product()
    path = _usual_cell(paths)
    cells = {variant: cell_cost(variant, path) for variant in VARIANTS}
    without = cell_cost(VARIANTS[0], path, h0_features=False)
    dense = {variant: dense_cost(variant) for variant in VARIANTS}
    after = matrix_product()
    for variant in VARIANTS:
        cells[variant]['memory_kB_per_edge'] = in_own_process(memory_per_edge, variant, list(paths[:N_MEMORY]))
        dense[variant]['peak_memory_GB'] = in_own_process(dense_peak, variant)
    usual = cells[VARIANTS[0]]
    limits = {
        'step_s': (usual['step']['cpu_s'], STEP),
        'forward_s': (usual['forward']['cpu_s'], FORWARD),
        'memory_kB_per_edge': (usual['memory_kB_per_edge'], MEMORY),
    }
    product = {'before': before, 'after': after}
    found = {'cell': cells, 'cell_without_h0': without, 'dense': dense}
    return {'matrix_product_600_float32': product, **found, 'limits': limits}


def timed(function: Callable, repetitions: int) -> dict:
    """Median and least CPU seconds and median wall seconds of a call, after two that do not count."""
    function(), function()
    times = []
    for _ in range(repetitions):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = np.transpose(times)
    return {'cpu_s': float(np.median(cpu)), 'least_cpu_s': float(cpu.min()), 'wall_s': float(np.median(wall))}


def matrix_product() -> dict:
    """Time of one product of two float32 matrices of 600 rows."""
    matrix = torch.ones(600, 600)
    return timed(lambda: matrix @ matrix, 50)


class Step:
    """Steps of a training: forward, backward, clipping, optimiser, running average.

    Parameters
    ----------
    model : HamiltonianModel
    graph : Graph
        Of one structure, or of a batch.
    """

    def __init__(self, model: HamiltonianModel, graph: Graph):
        self.model, self.graph = model, graph
        self.settings = TrainingConfig()
        self.module = TrainingModule(model, self.settings, BatchSampler([1], 0), {})
        self.optimizer = self.module.configure_optimizers()

    def __call__(self):
        errors = self.module.errors(self.model(self.graph), self.graph)
        self.optimizer.zero_grad()
        errors.loss(self.settings.loss.onsite_weight).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.optimizer.clip)
        self.optimizer.step()
        with torch.no_grad():
            averages, parameters = list(self.module.average.parameters()), list(self.model.parameters())
            torch._foreach_lerp_(averages, parameters, 1 - self.settings.optimizer.ema_decay)


def one_way(example: Example) -> Graph:
    """The graph with one orientation of every pair, as in a step of a training."""
    return example.graph.with_pairs(torch.arange(example.selection.n_half))


def _usual_cell(paths: Sequence[Path]) -> Path:
    """The cell whose numbers of edges and pairs come closest to `COUNTS`."""

    def distance(path):
        atoms = Reference.read(path).atoms
        found = [len(message_edges(atoms, cutoff)[1]) for cutoff in CUTOFFS]
        return abs(found[0] - COUNTS[0]) + abs(found[1] / 2 - COUNTS[1])

    return min(paths, key=distance)


def cell_network(variant: str, references: Sequence[Reference], **more) -> tuple[HamiltonianModel, list[Example]]:
    """Default network of a variant with fixed cutoffs, and structures that are prepared for it.

    ``more`` are settings of the short range.
    """
    fixed = {'message_cutoff': CUTOFFS[0], 'pair_cutoff': CUTOFFS[1]}
    config = ModelConfig(variant=variant, short_range=fixed | more)
    basis, atoms = references[0].basis, references[0].atoms
    shells = {element: list(species.angular_momenta) for element, species in basis.items()}
    torch.manual_seed(0)
    model = HamiltonianModel(shells, config, CUTOFFS[1], len(message_edges(atoms, CUTOFFS[0])[1]) / len(atoms))
    tables = TwoCentreTables(basis)
    examples = [make_example(model, reference, tables) for reference in references]
    prepare(model, examples)
    return model, examples


def cell_cost(variant: str, path: Path, **more) -> dict:
    """Step and forward pass of one cell of AlAs."""
    model, (example,) = cell_network(variant, [Reference.read(path)], **more)
    graph = one_way(example)
    with torch.no_grad():
        forward = timed(lambda: model(graph), 50)
    return {
        'file': path.name,
        'message_edges': len(graph[keys.EDGE_LENGTH]),
        'half_pairs': graph.n_pairs,
        'parameters': sum(parameter.numel() for parameter in model.parameters()),
        'step': timed(Step(model, graph), 50),
        'forward': forward,
    }


def compiled_cost(paths: Sequence[Path]) -> dict:
    """Forward pass of one cell before and after ``torch.compile``, and what the first call costs."""
    torch.set_num_threads(1)
    model, (example,) = cell_network('lr', [Reference.read(_usual_cell(paths))])
    graph = one_way(example)
    with torch.no_grad():
        forward = timed(lambda: model(graph), 50)
        model.network = torch.compile(model.network, dynamic=True)
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        model(graph)
        first = {'wall_s': time.perf_counter() - wall, 'cpu_s': sum(os.times()[:4]) - cpu}
        return {'forward': forward, 'first_call': first, 'compiled_forward': timed(lambda: model(graph), 50)}


def memory_per_edge(variant: str, paths: Sequence[Path]) -> float:
    """Memory that a step on a batch takes beyond the graphs, by message edges and pairs, kB."""
    torch.set_num_threads(1)
    model, examples = cell_network(variant, [Reference.read(path) for path in paths])
    step = Step(model, one_way(examples[0]))
    # Gradients and moments of the optimiser are there before the batch.
    step()
    graph = step.graph = join_graphs([one_way(example) for example in examples])
    Path('/proc/self/clear_refs').write_text('5')
    before = _peak_memory()
    step()
    return (_peak_memory() - before) / (len(graph[keys.EDGE_LENGTH]) + graph.n_pairs)


def _peak_memory() -> int:
    """Largest resident memory since it was last reset, kB."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith('VmHWM')))


def dense_network(variant: str) -> tuple[HamiltonianModel, Reference, Example]:
    """Diamond of eight atoms, displaced by 0.05 Å, with 13 orbitals on each and random targets.

    Messages and blocks are along the same edges: all that orbitals of 6 bohr reach.
    """
    pseudos = {'C': make_pseudopotential('C')}
    basis = Basis({'C': generate_basis(pseudos['C'], 'dzp', DENSE_RADIUS)})
    atoms = bulk('C', 'diamond', a=3.567, cubic=True)
    atoms.rattle(0.05, seed=0)
    pattern, tables = overlap_pattern(atoms, basis), TwoCentreTables(basis)
    overlap = TwoCentreTables(basis, pseudos).overlap_and_kinetic(atoms, pattern)[0]
    delta = pattern.symmetrize(np.random.default_rng(0).normal(scale=0.01, size=pattern.n_entries))
    reference = Reference('C8', atoms, basis, {}, {}, {}, pattern, delta, overlap, np.zeros_like(delta))
    config = ModelConfig(variant=variant, short_range={'message_cutoff': DENSE_CUTOFF, 'pair_cutoff': DENSE_CUTOFF})
    torch.manual_seed(0)
    n_neighbours = len(message_edges(atoms, DENSE_CUTOFF)[1]) / len(atoms)
    model = HamiltonianModel({'C': list(basis['C'].angular_momenta)}, config, DENSE_CUTOFF, n_neighbours)
    example = make_example(model, reference, tables)
    prepare(model, [example])
    return model, reference, example


def dense_cost(variant: str) -> dict:
    """Times on the dense graph.

    ``prediction`` is all from the positions to H - H0, assembled and with long range; ``graph_of_prediction`` the part
    of it that makes the graph.
    """
    model, reference, example = dense_network(variant)
    graph = one_way(example)
    predictor = Predictor(model, {}, reference.basis, {})
    with torch.no_grad():
        forward = timed(lambda: model(example.graph), 10)
    prediction = timed(lambda: predictor.correction(reference), 10)

    def make_graph():
        made, _ = structure_graph(model, reference)
        model.normalise(made)

    graph_alone = timed(make_graph, 10)
    model.train()
    return {
        'message_edges': len(graph[keys.EDGE_LENGTH]),
        'directed_pairs': example.graph.n_pairs,
        'forward_all_directed_pairs': forward,
        'prediction': prediction,
        'graph_of_prediction': graph_alone,
        'step_all_directed_pairs': timed(Step(model, example.graph), 10),
        'step_half_pairs': timed(Step(model, graph), 10),
    }


def dense_peak(variant: str) -> float:
    """Largest memory of a process that takes steps on the dense graph with all directed pairs, GB."""
    torch.set_num_threads(1)
    model, _, example = dense_network(variant)
    step = Step(model, example.graph)
    for _ in range(3):
        step()
    return _peak_memory() / 1e6


def in_own_process(function: Callable, *arguments):
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
        return pool.submit(function, *arguments).result()
