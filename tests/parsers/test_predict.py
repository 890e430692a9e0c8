"""Tests of the parser of predictions."""

import json
from dataclasses import replace

import numpy as np
from aiida import orm
from aiida.plugins import CalculationFactory

from aiida_hamlr.electronic.bands.band_structure import Bands

STATUS = {'hamlr.status': '0'}
CODES = CalculationFactory('hamlr.predict').exit_codes


def _write_prediction(folder, hamiltonian):
    hamiltonian.attributes = replace(hamiltonian.attributes, origin='predicted')
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
    assert node.exit_status == CODES.ERROR_ALL_STRUCTURES_FAILED.status


def test_predict_trajectory(parse, make_hamiltonian, zincblende, structure, tmp_path):
    """The frames of a trajectory are labelled by their index."""
    trajectory = orm.TrajectoryData(structurelist=[structure, structure]).store()
    for index in range(2):
        _write_prediction(tmp_path / 'predictions' / f'step_{index}', make_hamiltonian(zincblende()))
    results, node = parse('hamlr.predict', {**STATUS, 'summary.json': '{}'}, inputs={'trajectory': trajectory})
    assert node.is_finished_ok
    assert set(results['bands']) == {'step_0', 'step_1'}


TABLE = 'label,status,n_atoms,gap_eV,reason,inputs_sha256\na,done,2,1.25,,0f\nb,failed,,,atoms too close,\nc,done,2,1.'


def test_predict_numbers(parse, structure):
    """Each structure that was done has a node of its numbers; a line that was cut off is none."""
    inputs = {'structures': {label: structure.clone().store() for label in 'abc'}}
    results, node = parse('hamlr.predict', {**STATUS, 'summary.json': '{}', 'results.csv': TABLE}, inputs=inputs)
    assert node.is_finished_ok, node.exit_message
    assert {label: each.get_dict() for label, each in results['results'].items()} == {
        'a': {'n_atoms': 2, 'gap_eV': 1.25}
    }


def test_predict_interrupted(parse, structure):
    """What was done when the scheduler ended the job is kept; the job has failed all the same."""
    status = CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME.status
    results, node = parse(
        'hamlr.predict', {'results.csv': TABLE}, inputs={'structures': {'a': structure}}, exit_status=status
    )
    assert node.exit_status == status
    assert results['results']['a']['gap_eV'] == 1.25


def test_predict_damaged_table(parse, structure):
    """A table that cannot be read is named."""
    _, node = parse(
        'hamlr.predict',
        {**STATUS, 'summary.json': '{}', 'results.csv': 'gap\n1\n'},
        inputs={'structures': {'a': structure}},
    )
    assert node.exit_status == CODES.ERROR_OUTPUT_FILE_READ.status
    assert 'results.csv' in node.exit_message
