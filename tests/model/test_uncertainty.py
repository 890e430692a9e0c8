"""Uncertainties: their definitions agree with each other, and exact cases come out exactly."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.reference_matrices import fitted_shift
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.training.references import Reference
from aiida_hamlr.model.uncertainty import Rigidity, atom_errors, atom_rms, committee_spread, fit_rigidity, level_spread

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


@pytest.fixture
def example_of(tmp_path, make_reference, rattled):
    """Return a function that gives a Hamiltonian, and the example that a model learns from."""

    def make(model, seed=0):
        hamiltonian = make_reference(rattled(seed), strength=2.0)
        hamiltonian.write(tmp_path / f'{seed}.h5')
        predictor = Predictor(model, {}, hamiltonian.basis, {})
        example = make_example(model, Reference.read(tmp_path / f'{seed}.h5'), predictor._tables)
        model.normalise(example.graph)
        return hamiltonian, example

    return make


@pytest.mark.parametrize('variant', ['sr', 'lr'])
def test_errors_in_components_are_those_of_the_matrices(make_model, example_of, variant):
    """Both ways to the error of an atom, by irreducible components and by elements, give the same."""
    model = make_model(SHELLS, pair_cutoff=5.0, variant=variant)
    hamiltonian, example = example_of(model)
    predicted = Predictor(model, {}, hamiltonian.basis, {}).predict_from(hamiltonian)
    error = predicted.hamiltonian - hamiltonian.hamiltonian
    lengths = np.linalg.norm(
        hamiltonian.pattern.vectors(hamiltonian.atoms.cell[:], hamiltonian.atoms.positions), axis=1
    )
    # The constant is fitted to the blocks within the cutoff.
    near = np.repeat(lengths < model.pair_cutoff, hamiltonian.pattern.chunk_shapes.prod(axis=1))
    error += fitted_shift(error[near], hamiltonian.overlap[near]) * hamiltonian.overlap
    expected = 1e3 * atom_rms(error, hamiltonian, model.pair_cutoff)
    # Pairs of one element are averaged over both orientations in the matrix, which changes less than 20 %.
    assert atom_errors(model, example) == pytest.approx(expected, rel=0.2)


def test_rigidity_of_few_features():
    """The variance of a linear model with orthogonal features is known: f^2 over the sum of squares."""
    inverse = {'Al': np.diag([1 / 4.0, 1 / 9.0, 1 / 16.0])}
    rigidity = Rigidity(inverse, 2.0, 0.0, 'validation')
    found = rigidity(np.array([[2.0, 0.0], [0.0, 3.0]]), ['Al', 'Al'])
    assert found == pytest.approx(2.0 * np.sqrt([1.0 + 1 / 16, 1.0 + 1 / 16]))
    again = Rigidity.from_dict(json.loads(json.dumps(rigidity.to_dict())))
    assert again(np.array([[2.0, 0.0]]), ['Al']) == pytest.approx(found[:1])
    assert np.isinf(rigidity(np.array([[2.0, 0.0]]), ['Ga'])).all()
    with pytest.raises(ValueError, match='not an entry'):
        Rigidity.from_dict({'inverse': {'Al': [1.0]}})


def test_the_factor_makes_the_errors_normal(make_model, example_of):
    """Over the files to calibrate on, the mean square of actual over expected errors is one."""
    model = make_model(SHELLS)
    examples = [example_of(model, seed)[1] for seed in range(4)]
    rigidity = fit_rigidity(model, examples[:2], examples[2:])
    assert rigidity.calibrated_on == 'validation'
    ratios = []
    for example in examples[2:]:
        with torch.no_grad():
            invariants = model.invariants(example.graph).numpy()
        labels = np.array(model.slots.species)[example.graph['species'].numpy()]
        ratios.append(atom_errors(model, example) / rigidity(invariants, labels))
    assert np.mean(np.square(ratios)) == pytest.approx(1.0)
    assert fit_rigidity(model, examples[:2]).calibrated_on == 'train'


def test_spread_of_a_committee(make_reference, rattled):
    """Constants do not count; a deviation of one of two models has the spread of two numbers."""
    one, other = (make_reference(rattled(0)) for _ in range(2))
    other.matrices['hamiltonian'] = other.hamiltonian + 0.7 * other.overlap
    assert committee_spread([one, other], 5.0) == pytest.approx(np.zeros(2), abs=1e-9)
    deviation = np.random.default_rng(0).normal(size=len(one.overlap)) * 1e-3
    deviation -= (deviation @ one.overlap) / (one.overlap @ one.overlap) * one.overlap
    other.matrices['hamiltonian'] = one.hamiltonian + deviation
    expected = 1e3 * atom_rms(deviation, one, 5.0) / np.sqrt(2)
    assert committee_spread([one, other], 5.0) == pytest.approx(expected)


def test_spread_of_levels():
    """A common shift does not count; a level that one of two models has elsewhere spreads by the root of a half."""
    levels = np.zeros((2, 1, 8))
    levels[:, 0] = np.arange(8.0)
    levels[1] += 3.0
    weights = np.ones(1)
    assert level_spread(levels, weights, 2) == pytest.approx(0.0, abs=1e-9)
    levels[1, 0, 4] += 0.01
    # One of the two occupied and four empty bands.
    assert level_spread(levels, weights, 2) == pytest.approx(10.0 / np.sqrt(2) / np.sqrt(6))
    levels[1, 0, 6] += 1.0
    assert level_spread(levels, weights, 2) == pytest.approx(10.0 / np.sqrt(12))
    spins = np.stack([levels, levels], axis=1)
    assert level_spread(spins, weights, 2) == pytest.approx(10.0 / np.sqrt(12))
    # Points count by their weights.
    two = np.concatenate([levels, np.stack([levels[0], levels[0] + 3.0])], axis=1)
    assert level_spread(two, np.array([0.25, 0.75]), 2) == pytest.approx(0.5 * 10.0 / np.sqrt(12))


def test_a_trained_model_expects_larger_errors_of_what_is_unlike_its_data(
    training_files, make_reference, rattled, tmp_path
):
    config = {
        'data': {'train': training_files[:4], 'validation': training_files[4:]},
        'model': {'variant': 'sr', 'short_range': {'layers': 1, 'scalar_channels': 8, 'natural_channels': 6}},
        'training': {'max_steps': 60, 'device': 'cpu'},
    }
    train(config, tmp_path / 'run')
    predictor = load_model(tmp_path / 'run')
    expected, actual = [], []
    for amplitude in (0.05, 0.2, 0.35, 0.5):
        reference = make_reference(rattled(11, amplitude), strength=2.0)
        predicted = predictor.predict_from(reference)
        expected.append(np.mean(predicted.attributes.uncertainty))
        actual.append(np.abs(predicted.hamiltonian - reference.hamiltonian).mean())
    assert spearmanr(expected, actual)[0] > 0.5
    predicted.write(tmp_path / 'predicted.h5')
    stored = type(predicted).read(tmp_path / 'predicted.h5').attributes
    assert stored.uncertainty == pytest.approx(predicted.attributes.uncertainty)
