"""Predictions of models whose charges polarise the atoms or come with dipoles, and of large cells on the mesh."""

import numpy as np
import pytest
import torch
from ase.build import make_supercell
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.model.files import write_model
from aiida_hamlr.model.graph import join_graphs
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.references import Reference

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


@pytest.fixture
def make_predictor(make_model, make_basis):
    def make(response=True, **config):
        model = make_model(SHELLS, pair_cutoff=4.5, variant='lr', response=response, **config)
        if response:
            model.long_range.start_from(8.0)
        if model.long_range.dipole_weights is not None:
            model.long_range.dipole_weights.data.normal_(generator=torch.Generator().manual_seed(0))
        return Predictor(model, {}, make_basis(SHELLS), {})

    return make


def correction(predictor, reference):
    return predictor.correction(reference)[0]


def test_sources_are_stored(make_predictor, make_reference, rattled):
    reference = make_reference(rattled(0))
    attributes = make_predictor().predict_from(reference).attributes
    assert sum(attributes.long_range_charges) == pytest.approx(0.0, abs=1e-12)
    assert len(attributes.long_range_polarisabilities) == 2
    assert min(attributes.long_range_polarisabilities) > 0.01
    without_response = make_predictor(response=False).predict_from(reference).attributes
    assert without_response.long_range_polarisabilities is None


def test_polarisabilities_change_the_hamiltonian(make_predictor, make_reference, rattled):
    atoms = rattled(0).repeat((3, 1, 1))
    atoms.rattle(0.3, seed=1)
    reference, predictor = make_reference(atoms), make_predictor()
    expected = correction(predictor, reference)
    assert reference.pattern.asymmetry(expected) < 1e-14
    predictor.model.long_range.identified.zero_()
    fixed = correction(predictor, reference)
    assert np.abs(fixed - expected).max() > 1e-2


@pytest.mark.parametrize(('response', 'dipoles'), [(True, False), (False, True), (True, True)])
def test_supercell_translation_and_order(make_predictor, make_reference, rattled, response, dipoles):
    atoms, predictor = rattled(0), make_predictor(response, permanent_dipoles=dipoles)
    double = make_supercell(atoms, np.diag([2, 1, 1]))
    double.positions += [0.2, 0.5, -0.4]
    double = double[[2, 0, 3, 1]]
    levels = []
    for one in (atoms, double):
        reference = make_reference(one)
        matrix = correction(predictor, reference)
        blocks = [reference.pattern.block(matrix, int(p)) for p in reference.pattern.onsite]
        levels.append([np.sort(np.linalg.eigvalsh(block)) for block in blocks])
    for found in levels[1]:
        expected = levels[0][0] if len(found) == len(levels[0][0]) else levels[0][1]
        assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize('config', [{}, {'response': False, 'permanent_dipoles': True}, {'field_features': True}])
def test_stored_model_predicts_the_same(tmp_path, make_predictor, make_reference, rattled, config):
    reference, predictor = make_reference(rattled(0)), make_predictor(**config)
    write_model(tmp_path, predictor.model, predictor.model.state_dict(), predictor.basis, {}, {})
    assert np.array_equal(correction(load_model(tmp_path), reference), correction(predictor, reference))


@pytest.mark.parametrize(
    ('response', 'more'), [(False, None), (True, None), (False, 'permanent_dipoles'), (False, 'field_features')]
)
def test_large_cells_on_a_mesh_agree_with_direct_sums(
    make_predictor, make_reference, rattled, monkeypatch, response, more
):
    """To the accuracy that the model asks for."""
    # With random weights H0 multiplies what a network makes of an error of the field that it sees.
    config = {'response': response, 'h0_features': more != 'field_features'} | ({more: True} if more else {})
    reference = make_reference(rattled(0).repeat((2, 1, 1)))
    expected = correction(make_predictor(**config), reference)
    monkeypatch.setattr('aiida_hamlr.model.long_range.particle_mesh.DIRECT_SIZE', 0)
    found = correction(make_predictor(**config), reference)
    assert 0.0 < np.abs(found - expected).max() < 2e-5
    assert np.array_equal(correction(make_predictor(**config, long_range_accuracy=None), reference), expected)


@pytest.mark.parametrize('response', [False, True])
def test_batches_of_training_see_the_same_fields(tmp_path, make_predictor, make_reference, rattled, response):
    predictor = make_predictor(response, field_features=True)
    model, graphs, references = predictor.model, [], [make_reference(rattled(seed)) for seed in range(2)]
    tables = TwoCentreTables(predictor.basis)
    for n, reference in enumerate(references):
        reference.write(tmp_path / f'{n}.h5')
        example = make_example(model, Reference.read(tmp_path / f'{n}.h5'), tables)
        model.normalise(example.graph)
        graphs.append(example.graph)
    with torch.no_grad():
        found = model(join_graphs(graphs)).onsite
        alone = torch.cat([model(graph).onsite for graph in graphs])
        model.network.field_weights.zero_()
        without = model(join_graphs(graphs)).onsite
    assert torch.allclose(found, alone, atol=1e-9)
    assert (found - without).abs().max() > 1e-3


@pytest.mark.parametrize('response', [False, True])
def test_permanent_dipoles_turn_with_the_crystal(make_predictor, make_reference, rattled, response):
    predictor = make_predictor(response, permanent_dipoles=True)
    atoms = rattled(0)
    expected = predictor.predict_from(make_reference(atoms))
    without = make_predictor(response).predict_from(make_reference(atoms))
    dipoles = np.array(expected.attributes.long_range_permanent_dipoles)
    assert np.abs(dipoles).max() > 0.1
    assert np.abs(expected.hamiltonian - without.hamiltonian).max() > 1e-3
    rotation = Rotation.random(random_state=0).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell[:] @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    found = predictor.predict_from(make_reference(turned))
    assert np.allclose(found.attributes.long_range_permanent_dipoles, dipoles @ rotation.T, atol=1e-6)
    for one, other in zip(found.pattern.onsite, expected.pattern.onsite, strict=True):
        blocks = (h.pattern.block(h.hamiltonian, int(p)) for h, p in ((found, one), (expected, other)))
        levels = [np.linalg.eigvalsh(block) for block in blocks]
        assert np.allclose(*levels, atol=1e-5)
