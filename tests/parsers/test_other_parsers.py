"""Tests of the parsers of bases, potentials, trainings and predictions."""

import json

import numpy as np
import pytest
from aiida import orm
from aiida.plugins import CalculationFactory

from aiida_hamlr.electronic.bands.band_structure import Bands

STATUS = {'hamlr.status': '0'}


def codes(name):
    """Return the exit codes of a calculation."""
    return CalculationFactory(f'hamlr.{name}').exit_codes


def test_basis(parse, make_hamiltonian, zincblende, al_as_pseudos, tmp_path):
    """The files of all elements make one node."""
    for element, species in make_hamiltonian(zincblende()).basis.items():
        species.write(tmp_path / f'{element}.basis.h5')
    files = {**STATUS, 'summary.json': '{"band_error_occupied_meV": 12.5}'}
    results, node = parse('hamlr.basis', files, inputs={'pseudos': al_as_pseudos})
    assert node.is_finished_ok, node.exit_message
    assert results['basis'].elements == ['Al', 'As']
    assert results['output_parameters'].get_dict() == {'band_error_occupied_meV': 12.5}
    (tmp_path / 'As.basis.h5').unlink()
    _, node = parse('hamlr.basis', files, inputs={'pseudos': al_as_pseudos})
    assert 'As.basis.h5' in node.exit_message


@pytest.mark.parametrize(
    ('stdout', 'label'),
    [
        ('     Program POST-PROC v.6.7MaX\n     Writing data to file  aiida.filplot\n   JOB DONE.\n', None),
        ('     Program POST-PROC v.6.7MaX\n   JOB DONE.\n', 'ERROR_POTENTIAL_NOT_WRITTEN'),
        ('     Program POST-PROC v.6.7MaX\n     Writing data to', 'ERROR_OUTPUT_STDOUT_INCOMPLETE'),
    ],
)
def test_potential(parse, stdout, label):
    """pp.x must have written the potential and come to its end."""
    _, node = parse('hamlr.potential', {'hamlr.out': stdout})
    assert node.exit_status == (0 if label is None else codes('potential')[label].status)


def test_train(parse, model_folder):
    """The model and the learning curve become nodes."""
    files = {**STATUS, 'summary.json': '{"mae_meV": 3.5}', 'metrics.csv': 'epoch,train_loss\n0,2.0\n1,1.0\n'}
    results, node = parse('hamlr.train', files)
    assert node.is_finished_ok, node.exit_message
    attributes = results['model'].base.attributes.all
    assert (attributes['species'], attributes['variant'], attributes['n_parameters']) == (['Al', 'As'], 'lr', 7)
    assert attributes['metrics'] == {'mae_meV': 3.5}
    np.testing.assert_array_equal(results['learning_curve'].get_array('train_loss'), [2.0, 1.0])
    results['model'].store()
    with results['model'].as_folder() as folder:
        assert (folder / 'model.json').read_bytes() == (model_folder / 'model.json').read_bytes()


def test_basis_hash_agrees(parse, model_folder, basis_node):
    """The model records the hash that the basis node has."""
    results, _ = parse('hamlr.train', {**STATUS, 'summary.json': '{}'})
    assert results['model'].base.attributes.get('basis_hash') == basis_node.content_hash


def test_train_walltime(parse):
    """A training that stopped in order keeps its curve and asks to be resumed."""
    results, node = parse('hamlr.train', {'hamlr.status': '3', 'metrics.csv': 'epoch,train_loss\n0,2.0\n'})
    assert node.exit_status == codes('train').ERROR_OUT_OF_WALLTIME.status
    assert 'learning_curve' in results


def test_train_not_a_model(parse, model_folder):
    """A folder without weights is no model."""
    (model_folder / 'model.safetensors').unlink()
    _, node = parse('hamlr.train', {**STATUS, 'summary.json': '{}'})
    assert node.exit_status == codes('train').ERROR_OUTPUT_FILE_READ.status


def _write_prediction(folder, hamiltonian):
    hamiltonian.write(folder / 'hamiltonian.h5')
    kpoints = np.array([[0.0, 0, 0], [0.25, 0, 0], [0.5, 0, 0]])
    Bands(kpoints, np.arange(12.0).reshape(1, 3, 4), ('GAMMA', '', 'X')).write(folder / 'bands.h5')


def test_predict(parse, make_hamiltonian, zincblende, structure, tmp_path):
    """Each structure has its Hamiltonian and bands; one that failed does not fail the job."""
    _write_prediction(tmp_path / 'predictions' / 'good', make_hamiltonian(zincblende()))
    summary = {'failed': [{'name': 'bad', 'reason': 'atoms too close'}]}
    results, node = parse(
        'hamlr.predict',
        {**STATUS, 'summary.json': json.dumps(summary)},
        inputs={'structures': {'good': structure, 'bad': structure.clone().store()}},
    )
    assert node.is_finished_ok, node.exit_message
    assert set(results['hamiltonians']) == {'good'}
    bands = results['bands']['good']
    np.testing.assert_array_equal(bands.get_bands(), np.arange(12.0).reshape(3, 4))
    assert bands.labels == [(0, 'GAMMA'), (2, 'X')]
    assert results['output_parameters'].get_dict()['failed'][0]['name'] == 'bad'


def test_predict_nothing(parse, structure):
    """A job without any prediction failed."""
    _, node = parse('hamlr.predict', {**STATUS, 'summary.json': '{}'}, inputs={'structures': {'a': structure}})
    assert node.exit_status == codes('predict').ERROR_ALL_STRUCTURES_FAILED.status


def test_predict_trajectory(parse, make_hamiltonian, zincblende, structure, tmp_path):
    """The frames of a trajectory are labelled by their index."""
    trajectory = orm.TrajectoryData(structurelist=[structure, structure]).store()
    for index in range(2):
        _write_prediction(tmp_path / 'predictions' / f'step_{index}', make_hamiltonian(zincblende()))
    results, node = parse('hamlr.predict', {**STATUS, 'summary.json': '{}'}, inputs={'trajectory': trajectory})
    assert node.is_finished_ok
    assert set(results['bands']) == {'step_0', 'step_1'}
