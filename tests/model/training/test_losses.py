"""Penalties of errors."""

import numpy as np
import pytest
import torch

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.model import keys
from aiida_hamlr.model.config import LossConfig
from aiida_hamlr.model.graph import join_graphs
from aiida_hamlr.model.hamiltonian_model import Components
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.losses import ComponentErrors, irrep_weights
from aiida_hamlr.model.training.references import Reference

ERRORS = torch.tensor([-3.0, -0.5, 0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ('loss', 'expected'),
    [
        ('mae', [3.0, 0.5, 0.0, 1.0, 2.0]),
        ('mse', [9.0, 0.25, 0.0, 1.0, 4.0]),
        # delta = 2: e^2 / 4 up to there, |e| - 1 beyond.
        ('huber', [2.0, 0.0625, 0.0, 0.25, 1.0]),
    ],
)
def test_penalties(loss, expected):
    assert ComponentErrors([1.0], loss, huber_delta=2.0).penalty(ERRORS).tolist() == pytest.approx(expected)


def test_components_of_one_angular_momentum_count_alone(tmp_path, make_reference, make_model, rattled):
    """The penalties of L = 0, 1 and 2 add up to the whole, each with its weight."""
    shells = {'Al': [0, 1], 'As': [0, 1, 1]}
    make_reference(rattled(0), shells).write(tmp_path / 'one.h5')
    reference, model = Reference.read(tmp_path / 'one.h5'), make_model(shells)
    example = make_example(model, reference, TwoCentreTables(reference.basis))
    graph = example.graph.with_pairs(torch.arange(example.selection.n_half))
    generator = torch.Generator().manual_seed(0)
    onsite, pairs = (
        graph[key] + torch.randn(graph[key].shape, generator=generator)
        for key in (keys.ONSITE_TARGET, keys.PAIR_TARGET)
    )
    penalties = []
    for weights in ([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [2, 3]):
        errors = ComponentErrors(
            model.slots.onsite.multiplicity, 'mse', 1.0, *irrep_weights(model.slots, weights)
        ).double()
        found = errors(Components(onsite, pairs), graph)
        penalties.append([float(found.onsite_penalty), float(found.pair_penalty)])
    penalties = np.array(penalties)
    assert penalties[:3].min() > 0
    assert penalties[3] == pytest.approx(penalties[:3].sum(axis=0))
    assert penalties[4] == pytest.approx(np.array([2, 3, 1]) @ penalties[:3])


def test_weights_go_with_the_angular_momentum(make_model):
    slots = make_model({'Al': [0, 1]}).slots
    onsite, pairs = irrep_weights(slots, [0.0, 1.0, 2.0])
    # On site: ss, pp of L = 0 (one each), sp of L = 1 (three) and pp of L = 2 (five).
    assert sorted(onsite) == [0.0] * 2 + [1.0] * 3 + [2.0] * 5
    # Between two atoms also ps of L = 1 and pp of L = 1.
    assert sorted(pairs) == [0.0] * 2 + [1.0] * 9 + [2.0] * 5


@pytest.fixture
def mixed(tmp_path, make_magnetic_reference, make_reference, make_model, rattled):
    """A model that sees moments, and examples of a magnetic structure and of one without moments."""
    shells = {'Al': [0, 1], 'As': [0, 1, 1]}
    model = make_model(shells, magnetic=True)
    make_magnetic_reference(rattled(0), [2.0, 0.0], shells=shells).write(tmp_path / 'spin.h5')
    make_reference(rattled(1), shells).write(tmp_path / 'none.h5')
    references = [Reference.read(tmp_path / name) for name in ('spin.h5', 'none.h5')]
    tables = TwoCentreTables(references[0].basis)
    return model, [make_example(model, one, tables) for one in references]


def test_magnetic_structure_counts_once_in_a_mixed_batch(mixed):
    """The loss of a batch is the mean of those of its structures, however they are divided into batches."""
    model, examples = mixed
    errors = ComponentErrors.of(model.slots, LossConfig()).double()

    def losses(chosen):
        graph = join_graphs([example.one_way() for example in chosen])
        found = errors(Components(1.1 * graph[keys.ONSITE_TARGET], 0.7 * graph[keys.PAIR_TARGET]), graph)
        return np.array([float(found.loss(3.0)), *found.summary().values()])

    alone = [losses([example]) for example in examples]
    assert np.abs(alone[0] / alone[1] - 1).min() > 0.01
    np.testing.assert_allclose(losses(examples), np.mean(alone, axis=0), rtol=1e-12)


def test_both_spins_have_one_constant(mixed):
    """What moves both alike is no error; a splitting of the spins is, though each alone could be shifted away."""
    model, examples = mixed
    assert [example.n_spin for example in examples] == [2, 1]
    graph = join_graphs([example.one_way() for example in examples])
    assert graph[keys.BATCH].tolist() == [0, 0, 1, 1, 2, 2]
    assert graph[keys.OTHER_SPIN].tolist() == [2, 3, 0, 1, 4, 5]
    errors = ComponentErrors.of(model.slots, LossConfig()).double()
    structure = graph[keys.BATCH]
    for constants, expected in (([0.3, 0.3, -0.2], [0.0, 0.0, 0.0]), ([0.4, 0.2, 0.0], [1.0, 1.0, 0.0])):
        shift = torch.tensor(constants, dtype=torch.float64)
        components = Components(
            graph[keys.ONSITE_TARGET] + shift[structure][:, None] * graph[keys.ONSITE_OVERLAP],
            graph[keys.PAIR_TARGET] + shift[structure[graph[keys.PAIR_INDEX][0]]][:, None] * graph[keys.PAIR_OVERLAP],
        )
        found = errors(components, graph)
        sums = found.onsite + found.pairs
        scale = 100.0 * (errors.multiplicity * graph[keys.ONSITE_OVERLAP].abs()).sum(1)[:2].sum()
        scale += 100.0 * 2 * graph[keys.PAIR_OVERLAP].abs().sum(1)[: examples[0].selection.n_half].sum()
        np.testing.assert_allclose(sums / scale, expected, atol=1e-9)
