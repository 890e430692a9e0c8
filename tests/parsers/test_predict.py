"""Tests of the parser of predictions."""

import json
from dataclasses import replace

import numpy as np
import pytest
from aiida import orm
from aiida.plugins import CalculationFactory
from ase import Atoms

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import set_species_labels
from aiida_hamlr.parsers.base import HamlrParser

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


def test_species_of_another_order_are_refused(make_hamiltonian):
    """Two species of one element that are exchanged make another structure; kinds need not be species."""
    atoms = Atoms('As2', positions=[[0, 0, 0], [0, 0, 2.5]], cell=5 * np.eye(3), pbc=True)
    hamiltonian = make_hamiltonian(atoms)
    orbitals = hamiltonian.basis['As']

    def check(labels, kinds):
        found, expected = atoms.copy(), atoms.copy()
        set_species_labels(found, labels)
        set_species_labels(expected, kinds)
        basis = Basis(dict.fromkeys(labels, orbitals))
        node = HamiltonianData.from_hamiltonian(replace(hamiltonian, atoms=found, basis=basis))
        hashes = dict.fromkeys(labels, orbitals.content_hash)
        HamlrParser.check_hamiltonian(node, 'reference', structure_from_atoms(expected), hashes)

    check(['As1', 'As2'], ['As1', 'As2'])
    check(['As', 'As'], ['As1', 'As2'])
    with pytest.raises(ValueError, match=r'another structure .* atom 0 \(counted from 0\) is As1 instead of As2'):
        check(['As1', 'As2'], ['As2', 'As1'])
