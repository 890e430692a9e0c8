"""Graphs and their batches: declared tensors only, the same in all structures, and each joined along its axis."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from aiida_hamlr.model import keys
from aiida_hamlr.model.graph import Graph, join_graphs
from aiida_hamlr.model.graph_builder import geometry
from aiida_hamlr.model.structure_graph import structure_graph

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


def small(n_atoms, **more):
    atoms = bulk('AlAs', 'zincblende', a=5.6).repeat((n_atoms // 2, 1, 1))
    return Graph(**geometry(atoms), species=torch.arange(n_atoms) % 2, **more)


@pytest.fixture
def graphs(make_model, make_reference, rattled):
    """All tensors of the graphs of two and of four atoms, with attention and long range."""
    model = make_model(SHELLS, variant='lr+ea', pair_cutoff=4.5, response=True)
    made = []
    for repetitions in (1, 2):
        atoms = rattled(repetitions).repeat((repetitions, 1, 1))
        graph, _ = structure_graph(model, make_reference(atoms, SHELLS))
        model.normalise(graph)
        model.long_range.store(graph)
        made.append(Graph(**graph))
    return made


def test_names_that_are_not_declared_are_refused():
    graph = small(2)
    with pytest.raises(ValueError, match=r"'charges' is no tensor of a graph; declare it in .*keys\.py"):
        graph['charges'] = torch.zeros(2)
    with pytest.raises(ValueError, match="'charges' is no tensor"):
        graph.charges = torch.zeros(2)
    with pytest.raises(ValueError, match="'charges' is no tensor"):
        Graph(charges=torch.zeros(2))
    assert 'charges' not in graph


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        (keys.POSITION, torch.zeros(2, 2).double(), r'position: has shape \(2, 2\), declared is \(N, 3\)'),
        (keys.POSITION, torch.zeros(2, 3), r'position: has torch.float32, declared is torch.float64'),
        (keys.EDGE_LENGTH, torch.zeros(2, 1), r'edge_length: has shape \(2, 1\), declared is \(E,\)'),
        (keys.N_ATOMS, 2, 'n_atoms: a graph holds tensors, not int'),
    ],
)
def test_tensors_of_another_shape_or_dtype_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        small(2)[name] = value


def test_structures_of_a_batch_need_the_same_tensors():
    complete, without = small(2, field=torch.zeros(2, 3).double()), small(4)
    for graphs, number in (([complete, without], 1), ([without, complete], 0)):
        with pytest.raises(ValueError, match=f'field: structure {number} of the batch'):
            join_graphs(graphs)


def test_one_structure_is_a_batch_of_one():
    graph = small(4)
    assert join_graphs([graph]) is graph
    assert graph[keys.BATCH].tolist() == [0] * 4 and graph[keys.N_ATOMS].tolist() == [4]


def test_batches_join_every_tensor_along_its_axis(graphs):
    batch = join_graphs(graphs)
    names = set(graphs[0].keys())
    assert len(names) > 20 and set(batch.keys()) == names | {'ptr'}
    assert batch[keys.BATCH].tolist() == [0] * 2 + [1] * 4
    for name in names - {keys.BATCH}:
        key = keys.REGISTRY[name]
        parts = batch[name].split([graph[name].shape[key.cat_dim] for graph in graphs], dim=key.cat_dim)
        assert torch.equal(parts[0], graphs[0][name])
        assert torch.equal(parts[1] - 2 if key.counts_atoms else parts[1], graphs[1][name])
    # Bonds, edges and pairs stay inside their structure.
    for name in (keys.EDGE_INDEX, keys.PAIR_INDEX, keys.BOND_INDEX):
        first, second = batch[keys.BATCH][batch[name]]
        assert torch.equal(first, second) and len(first.unique()) == 2


def test_a_graph_with_some_of_its_pairs(graphs):
    graph = graphs[0]
    chosen = torch.tensor([3, 0, 5])
    fewer = graph.with_pairs(chosen)
    of_pairs = {name for name in graph.keys() if keys.REGISTRY[name].pair_dim is not None}
    assert {keys.PAIR_INDEX, keys.PAIR_WIGNER, keys.PAIR_SWITCH} <= of_pairs
    assert fewer.n_pairs == 3 < graph.n_pairs
    for name in graph.keys():
        expected = graph[name]
        if name in of_pairs:
            expected = expected[:, chosen] if name == keys.PAIR_INDEX else expected[chosen]
        assert torch.equal(fewer[name], expected)


def test_declarations_are_complete():
    constants = {value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)}
    assert constants == set(keys.REGISTRY)
    for name, key in keys.REGISTRY.items():
        assert key.name == name
        assert key.counts_atoms == name.endswith('_index')
        # Pairs are columns of two atoms; a list of atoms is joined along its only axis.
        assert not key.counts_atoms or key.cat_dim == len(key.shape) - 1


def test_numbers_of_rows_follow_the_declared_letters(graphs):
    """Axes of one letter have one length in a graph."""
    for graph in graphs:
        lengths = {}
        for name, value in graph.to_dict().items():
            for axis, size in zip(keys.REGISTRY[name].shape, value.shape, strict=True):
                if isinstance(axis, str):
                    lengths.setdefault(axis, set()).add(size)
        assert all(len(found) == 1 for found in lengths.values())
        assert lengths['M'] == {int(np.square(graph.n_atoms))} and lengths['B'] == {1}
