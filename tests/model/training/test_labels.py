"""Labels of the response to a field: what the loss makes of them, and what training starts from."""

import numpy as np
import pytest
import torch

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model import keys
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.graph import join_graphs
from aiida_hamlr.model.inference import load_model
from aiida_hamlr.model.long_range.field_response import screened_charges
from aiida_hamlr.model.training.batches import Batch
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.training.loss_terms import Prediction, make_terms
from aiida_hamlr.model.training.losses import ComponentErrors
from aiida_hamlr.model.training.references import Reference

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}
SMALL = {
    'scalar_channels': 8,
    'natural_channels': 6,
    'unnatural_channels': 4,
    'hidden_channels': 24,
    'pair_channels': 24,
}
TENSOR = np.array([[7.0, 0.1, 0.0], [0.1, 7.5, -0.2], [0.0, -0.2, 8.0]])
CHARGES = np.array([[[2.0, 0.1, 0.0], [0.0, 2.1, 0.2], [0.0, 0.0, 2.2]]]) * np.array([1.0, -1.0])[:, None, None]


def label(path, **labels):
    hamiltonian = Hamiltonian.read(path)
    hamiltonian.labels = labels
    hamiltonian.write(path)


@pytest.fixture
def labelled_files(training_files):
    """Six files, of which the second has both labels and the third only a dielectric tensor."""
    label(training_files[1], dielectric_tensor=TENSOR, born_charges=CHARGES)
    label(training_files[2], dielectric_tensor=1.1 * TENSOR)
    return training_files


def loss_of(model, graphs, **weights):
    graph = join_graphs(graphs)
    components, settings = model(graph), TrainingConfig(labels=weights)
    errors = ComponentErrors.of(model.slots, settings.loss).to(model.dtype)(components, graph)
    prediction = Prediction(components, errors, model.long_range, Batch(graph, [], []))
    # Without the first, the elements.
    terms = make_terms(settings, model.config)[1:]
    return sum(term.weight * term(prediction) for term in terms), components.sources


@pytest.fixture
def make_graphs(labelled_files):
    def make(model):
        references = [Reference.read(path) for path in labelled_files[:4]]
        tables = TwoCentreTables(references[0].basis)
        graphs = [make_example(model, reference, tables).graph for reference in references]
        for graph in graphs:
            model.normalise(graph)
        return graphs

    return make


@pytest.mark.parametrize('extra', [{}, {'permanent_dipoles': True}, {'long_range_accuracy': None}])
def test_loss_of_a_batch_is_the_mean_over_its_structures(make_model, make_graphs, extra):
    model = make_model(SHELLS, variant='lr', response=True, pair_cutoff=4.0, **extra)
    graphs, weights = make_graphs(model), {'dielectric_weight': 2.0, 'born_weight': 3.0}
    apart = [loss_of(model, [graph], **weights)[0] for graph in graphs]
    assert [float(one.detach()) > 0 for one in apart] == [False, True, True, False]
    together, _ = loss_of(model, graphs, **weights)
    assert float(together.detach()) == pytest.approx(float(sum(apart).detach()) / 4, rel=1e-9)
    gradients = [
        torch.autograd.grad(loss, model.long_range.species_root)[0] for loss in (together, (apart[1] + apart[2]) / 4)
    ]
    assert torch.allclose(*gradients, rtol=1e-7) and gradients[0].abs().min() > 0


def test_loss_is_the_weighted_mean_of_all_elements(make_model, make_graphs):
    model = make_model(SHELLS, variant='lr', response=True, pair_cutoff=4.0)
    graph = make_graphs(model)[1]
    found, sources = loss_of(model, [graph], dielectric_weight=2.0, born_weight=3.0)
    tensor, charges = model.long_range.field_response(sources, graph[keys.CELL][0], graph[keys.POSITION])
    deviations = [np.abs(one.detach().numpy() - label).mean() for one, label in ((tensor, TENSOR), (charges, CHARGES))]
    expected = 2 * deviations[0] + 3 * deviations[1]
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)


def test_charges_without_response_are_drawn_to_screened_ones(make_model, make_graphs):
    model = make_model(SHELLS, variant='lr', pair_cutoff=4.0)
    graphs = make_graphs(model)
    found, sources = loss_of(model, graphs, born_weight=3.0)
    screened = np.einsum('ab,nba->n', np.linalg.inv(TENSOR), CHARGES) / 3
    assert np.allclose(screened_charges(torch.tensor(TENSOR), torch.tensor(CHARGES)), screened)
    deviation = np.abs(sources.charge.detach().numpy()[2:4] - screened).mean()
    # Of four structures one has both labels.
    assert float(found.detach()) == pytest.approx(3 * deviation / 4, rel=1e-9)


def settings(files, model, **training):
    return {
        'data': {'train': files[:4]},
        'model': {'variant': 'lr', **SMALL, **model},
        'training': {'max_epochs': 5, 'device': 'cpu', 'warmup_steps': 5, **training},
    }


def test_response_learns_from_a_bulk_crystal_with_labels(labelled_files, tmp_path):
    """From one file of four; the others have neither slabs nor labels."""
    label(labelled_files[2])
    chosen = settings(labelled_files, {'response': True}, dielectric_weight=5.0, born_weight=5.0)
    summary = train(chosen, tmp_path / 'run')
    assert summary['response'] == 'identified' and summary['response_elements'] == ['Al', 'As']
    assert summary['response_reason'] == 'dielectric constant of 1.h5'
    predictor = load_model(tmp_path / 'run')
    tensor, charges = predictor.field_response(Hamiltonian.read(labelled_files[1]))
    assert np.trace(tensor) / 3 == pytest.approx(np.trace(TENSOR) / 3, rel=0.05)
    assert np.trace(charges[0]) / 3 == pytest.approx(np.trace(CHARGES[0]) / 3, rel=0.05)
    found = evaluate(predictor, labelled_files[:2], bands=False)
    assert found['dielectric_mae'] == pytest.approx(np.abs(tensor - TENSOR).mean())
    assert found['born_mae_e'] == pytest.approx(np.abs(charges - CHARGES).mean())


@pytest.mark.parametrize('response', [True, False])
def test_labels_from_the_cache(labelled_files, tmp_path, response):
    label(labelled_files[2])
    weights = {'dielectric_weight': 1.0 * response, 'born_weight': 1.0, 'max_epochs': 2, 'batch_size': 2}
    for name, more in (('memory', {}), ('disk', {'cache': str(tmp_path / 'cache')})):
        train(settings(labelled_files, {'response': response}, **weights, **more), tmp_path / name)
    predictors = [load_model(tmp_path / name) for name in ('memory', 'disk')]
    states = [predictor.model.state_dict() for predictor in predictors]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    found = evaluate(predictors[0], labelled_files[:2], bands=False)
    assert found['born_mae_e'] > 0 and ('dielectric_mae' in found) == response
    assert 'born_mae_e' not in found['structures'][0]


@pytest.mark.parametrize(
    ('model', 'key', 'words'),
    [
        ({'variant': 'sr'}, 'born_weight', 'variant sr has no charges'),
        ({}, 'dielectric_weight', r'dielectric_weight needs model\.long_range\.response: true'),
        ({'response': True}, 'dielectric_weight', r'data\.train: no file has dielectric_tensor, .*key phonon'),
        ({}, 'born_weight', r'data\.train: no file has born_charges and dielectric_tensor'),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(training_files, tmp_path, model, key, words):
    with pytest.raises(ValueError, match=words):
        train(settings(training_files, model, **{key: 1.0}), tmp_path / 'run')


@pytest.mark.filterwarnings('ignore:response. unidentified')
def test_born_charges_alone_do_not_tell_the_polarisability(labelled_files, tmp_path):
    with pytest.raises(ValueError, match='born_weight: no training file tells polarisabilities from charges'):
        train(settings(labelled_files, {'response': True}, born_weight=1.0), tmp_path / 'run')


def test_screened_charges_need_a_dielectric_tensor(labelled_files, tmp_path):
    label(labelled_files[3], born_charges=CHARGES)
    with pytest.raises(ValueError, match=r'3\.h5: has born_charges but no dielectric_tensor'):
        train(settings(labelled_files, {}, born_weight=1.0), tmp_path / 'run')
