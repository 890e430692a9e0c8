"""Targets and errors of single structures and of batches."""

import numpy as np
import pytest
import torch

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.model import keys
from aiida_hamlr.model.graph import join_graphs
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.losses import ComponentErrors
from aiida_hamlr.model.training.start_values import prepare

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


@pytest.fixture
def example(reference, make_model):
    model = make_model(SHELLS, pair_cutoff=4.5)
    one = reference(0)
    made = make_example(model, one, TwoCentreTables(one.basis))
    prepare(model, [made])
    return model, one, made


def test_the_two_orientations_of_a_pair_have_transposed_targets(example):
    model, one, made = example
    selection = made.selection
    same = np.flatnonzero(selection.other != np.arange(selection.n_half))
    assert len(same)
    for position in same[:5]:
        there, back = (
            one.pattern.block(one.delta, int(selection.blocks[n])) for n in (position, selection.other[position])
        )
        assert np.abs(there - back.T).max() < 1e-12
    drawn = made.graph.with_pairs(torch.as_tensor(made.draw(np.random.default_rng(0))))
    assert drawn[keys.PAIR_INDEX].shape[1] == drawn[keys.PAIR_TARGET].shape[0] == selection.n_half
    assert drawn[keys.EDGE_INDEX].shape == made.graph[keys.EDGE_INDEX].shape


def test_errors_count_every_element_once_and_ignore_a_constant(example):
    """Components are a change of basis, so squares are those of the elements; here all errors are +- one constant."""
    model, one, made = example
    graph = made.graph.with_pairs(torch.arange(made.selection.n_half))
    errors = ComponentErrors(model.slots.onsite.multiplicity).double()
    with torch.no_grad():
        components, _ = model.short_range(graph)
        components.onsite = graph[keys.ONSITE_TARGET] + 0.7 * graph[keys.ONSITE_OVERLAP]
        components.pairs = graph[keys.PAIR_TARGET] + 0.7 * graph[keys.PAIR_OVERLAP]
        found = errors(components, graph)
    assert float(found.onsite.sum() + found.pairs.sum()) < 1e-6
    sizes = one.pattern.chunk_shapes.prod(axis=1)
    assert int(found.n_onsite) == sizes[one.pattern.onsite].sum()
    assert int(found.n_all) == one.pattern.n_entries
    assert int(found.n_onsite + found.n_pairs) < one.pattern.n_entries


def test_a_batch_gives_the_errors_of_its_members(reference, make_model):
    model = make_model(SHELLS, variant='lr', pair_cutoff=4.5)
    references = [reference(0), reference(1)]
    tables = TwoCentreTables(references[0].basis)
    examples = [make_example(model, one, tables) for one in references]
    prepare(model, examples)
    errors = ComponentErrors(model.slots.onsite.multiplicity).double()
    graphs = [
        one.graph.with_pairs(torch.as_tensor(one.draw(np.random.default_rng(n)))) for n, one in enumerate(examples)
    ]
    with torch.no_grad():
        singles = [errors(model(graph), graph) for graph in graphs]
        batch = join_graphs(graphs)
        together = errors(model(batch), batch)
    for name in ('onsite', 'pairs', 'n_all'):
        expected = torch.cat([getattr(one, name) for one in singles])
        assert torch.allclose(getattr(together, name), expected, rtol=1e-9)
